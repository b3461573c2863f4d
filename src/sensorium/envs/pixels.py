"""Image preprocessing."""

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import interpolate

SIZE = 64


def small(frames: UInt8[Tensor, "rows height width 3"], keep: int) -> UInt8[Tensor, "rows 64 64 3"]:
    """The upper `keep` rows of each image, resized to 64 x 64: bilinear with antialiasing, as in Pillow."""
    cropped = frames[:, :keep].permute(0, 3, 1, 2)
    if cropped.shape[2:] != (SIZE, SIZE):
        cropped = interpolate(cropped, (SIZE, SIZE), mode="bilinear", antialias=True)
    return cropped.permute(0, 2, 3, 1).contiguous()


def legacy(frames: UInt8[Tensor, "rows height width 3"], keep: int) -> UInt8[Tensor, "rows 64 64 3"]:
    """Images preprocessed as in the code of Ha & Schmidhuber 2018, for their weights only.

    The contrast of each image is stretched to 0 to 255, the image is resized, and 1 is subtracted modulo 256: their
    `(1 - picture) * 255` was applied to bytes and overflowed.
    """
    cropped = frames[:, :keep].double() / 255
    low, high = cropped.amin((1, 2, 3), keepdim=True), cropped.amax((1, 2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    stretched = ((cropped - low) * 255 / span).clamp(0, 255).add(0.5).to(torch.uint8)
    return small(stretched, keep) - 1
