"""Mean and variance of a stream of numbers, batch by batch."""

from jaxtyping import Float
from torch import Tensor


def running_moments(
    mean: Float[Tensor, ""], variance: Float[Tensor, ""], count: Float[Tensor, ""], values: Float[Tensor, "B"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean, variance and count of a stream after B more values (Chan et al. 1979). A batch's variance is unbiased."""
    total, delta = count + len(values), values.mean() - mean
    squares = variance * count + values.var() * len(values) + delta**2 * count * len(values) / total
    return mean + delta * len(values) / total, squares / total, total
