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
SATURATED = 9.1
"""from here on tanh is 1 in float32"""
NUMERATOR = (1.31773447e-08, 2.04810536e-05, 0.00348780286, 0.133744683, 0.999999977)
DENOMINATOR = (7.70397181e-07, 0.000327290685, 0.0258473574, 0.467077821, 1.0)
"""coefficients of tanh(x) / x as a ratio of polynomials in x^2, highest power first: least largest relative error in [-9.1, 9.1], 2e-8"""


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
    return 0.5 * _rational(0.5 * x) + 0.5 if approximated(x) else torch.sigmoid(x)


def tanh(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """tanh(x), exact to 5e-7."""
    return _rational(x) if approximated(x) else torch.tanh(x)


def _rational(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """tanh(x) as x times a ratio of polynomials in x^2. Unlike 2^x it does not reinterpret bits, which torch's compiler does not vectorise."""
    x = x.clamp(-SATURATED, SATURATED)
    square = x * x
    above, below = NUMERATOR[0] * square + NUMERATOR[1], DENOMINATOR[0] * square + DENOMINATOR[1]
    for a, b in zip(NUMERATOR[2:], DENOMINATOR[2:], strict=True):
        above, below = above * square + a, below * square + b
    return (x * above / below).clamp(-1, 1)


def approximated(x: Tensor) -> bool:
    """Whether x is computed in float32 on the CPU by compiled code, without gradients and not for an export."""
    compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    return compiling and x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad
