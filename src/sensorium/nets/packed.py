"""Products in bfloat16 on CPUs with weights that are stored once in the layout of oneDNN's kernels.

From plain weights oneDNN makes this layout in every product, which for few rows takes longer than the product itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.weak import WeakTensorKeyDictionary

MULTIPLE = 32
"""inputs and outputs are padded with zeros to a multiple of this number: other sizes take up to three times as long"""
OPERATORS = torch.ops.mkldnn
AVAILABLE = (
    torch.backends.mkldnn.is_available()
    and hasattr(OPERATORS, "_linear_pointwise")
    and hasattr(OPERATORS, "_reorder_linear_weight")
    and OPERATORS._is_mkldnn_bf16_supported()
)
"""whether torch's build and the processor have the operators, which torch's own compiler uses"""


def _packable(weight: Tensor) -> bool:
    return AVAILABLE and weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and not torch.compiler.is_exporting()


def product(weight: Float[Tensor, "n m"]) -> Callable[[Float[Tensor, "rows n"]], Float[Tensor, "rows m"]]:
    """x @ weight as a function of x, for many products with the same weights, in their dtype and without gradients."""
    if not _packable(weight) or any(size % MULTIPLE for size in weight.shape):
        return lambda x: x @ weight
    packed = OPERATORS._reorder_linear_weight(weight.T.contiguous(), None)
    return lambda x: OPERATORS._linear_pointwise(x, packed, None, "none", [], "")


class Packed(NamedTuple):
    """Weights and bias in oneDNN's layout, and what identifies the tensors they were made of."""

    origin: tuple[int, ...]
    weight: Tensor
    bias: Tensor


_kept = WeakTensorKeyDictionary()


def _packed(weight: Tensor, bias: Tensor) -> Packed:
    """The packed layer, made anew where the weights or the bias have changed since."""
    origin = (weight._version, weight.data_ptr(), bias._version, bias.data_ptr())
    found = _kept.get(weight)
    if found is None or found.origin != origin:
        inputs, outputs = (-size % MULTIPLE for size in weight.shape)
        rearranged = OPERATORS._reorder_linear_weight(pad(weight.detach(), (0, outputs, 0, inputs)).T.contiguous(), None)
        _kept[weight] = found = Packed(origin, rearranged, pad(bias.detach(), (0, outputs)))
    return found


def _multiply(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    layer = _packed(weight, bias)
    return OPERATORS._linear_pointwise(x, layer.weight, layer.bias, "none", [], "")


def _multiply_shape(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    outputs = weight.shape[1]
    return x.new_empty(x.shape[0], outputs + -outputs % MULTIPLE)


_LIBRARY = torch.library.Library("sensorium", "DEF")
_LIBRARY.define("packed_affine(Tensor x, Tensor weight, Tensor bias) -> Tensor")
_LIBRARY.impl("packed_affine", _multiply, "CPU")
torch.library.register_fake("sensorium::packed_affine", _multiply_shape, lib=_LIBRARY)


def affine(x: Float[Tensor, "rows n"], weight: Float[Tensor, "n m"], bias: Float[Tensor, "m"]) -> Float[Tensor, "rows m"]:
    """x @ weight + bias in the weights' dtype. Where nothing needs a gradient, the packed weights are kept as long as `weight` exists."""
    x = x.to(weight.dtype)
    gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or bias.requires_grad)
    if gradient or not _packable(weight):
        return torch.addmm(bias, x, weight)
    outputs = weight.shape[1]
    return torch.ops.sensorium.packed_affine(pad(x, (0, -x.shape[1] % MULTIPLE)), weight, bias)[:, :outputs]
