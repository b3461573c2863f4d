"""Faster equivalents of torch convolutions on CPUs."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad


def conv_transpose_stride2(
    x: Float[Tensor, "rows i h w"], weight: Float[Tensor, "i o k k"], bias: Float[Tensor, "o"]
) -> Float[Tensor, "rows o h2 w2"]:
    """Transposed convolution of stride 2: equals `conv_transpose2d(x, weight, bias, stride=2)`.

    Outputs at even and odd rows and columns are ordinary convolutions with every second row and column of the kernel. All four are
    computed as one convolution and interleaved, which on CPUs is several times faster than torch's transposed kernel.
    """
    inputs, outputs, size, _ = weight.shape
    half, (height, width) = -(-size // 2), ((side - 1) * 2 + size for side in x.shape[2:])
    even = pad(weight, (0, 2 * half - size, 0, 2 * half - size))
    # [i, o, a, row, b, column] -> [row, column, o, i, a, b], flipped: torch's convolution is a cross-correlation
    lines = even.view(inputs, outputs, half, 2, half, 2).permute(3, 5, 1, 0, 2, 4).flip(4, 5)
    phases = conv2d(x, lines.reshape(4 * outputs, inputs, half, half), bias.repeat(4), padding=half - 1).permute(0, 2, 3, 1)
    tall, wide = phases.shape[1:3]
    image = phases.reshape(-1, tall, wide, 2, 2, outputs).transpose(2, 3).reshape(-1, 2 * tall, 2 * wide, outputs)
    return image[:, :height, :width].permute(0, 3, 1, 2)
