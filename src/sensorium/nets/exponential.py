"""2^x, sigmoid and tanh for compiled code on CPUs, where they take a third to a fifth of the time of torch's own."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LOG2_E = 1 / math.log(2)
LARGEST = 126.0
"""the largest exponent, and its negative the smallest, of a normal number in float32"""
TAYLOR = tuple(math.log(2) ** n / math.factorial(n) for n in range(6, -1, -1))
"""coefficients of 2^x, highest power first"""


def power_of_two(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """2^x in float32 with a relative error below 1e-6; x is limited to [-126, 126].

    2^x = 2^n 2^f: the integer n is written into the exponent's bits, and 2^f with |f| <= 1/2 is a polynomial.
    """
    x = x.clamp(-LARGEST, LARGEST)
    whole = torch.round(x)
    rest, power = x - whole, torch.full_like(x, TAYLOR[0])
    for coefficient in TAYLOR[1:]:
        power = power * rest + coefficient
    return power * ((whole.to(torch.int32) + 127) << 23).view(torch.float32)


def sigmoid(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The logistic function, exact to 2e-7."""
    return 1 / (1 + power_of_two(-LOG2_E * x)) if _approximated(x) else torch.sigmoid(x)


def tanh(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """tanh(x), exact to 5e-7."""
    return 2 * sigmoid(2 * x) - 1 if _approximated(x) else torch.tanh(x)


def _approximated(x: Tensor) -> bool:
    """Whether x is computed in float32 on the CPU by compiled code, without gradients and not for an export."""
    compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    return compiling and x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad
