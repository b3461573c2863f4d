"""The mathematics of random network distillation (Burda et al. 2018, arXiv 1810.12894), as URLB (Laskin et al. 2021, arXiv 2110.15191) runs it.

B samples, D numbers of a prediction.
"""

from jaxtyping import Float
from torch import Tensor

CLIP = 5.0
"""largest normalised observation (section 2.4)"""
EPSILON = 1e-5


def whitened(obs: Float[Tensor, "B *shape"]) -> Float[Tensor, "B *shape"]:
    """Observations less their mean, in units of their standard deviation, clipped to [-5, 5] (section 2.4).

    Mean and variance are those of the batch, of each number of a state, or of each channel of an image [B, C, height, width].
    """
    axes = [0] if obs.dim() == 2 else [0, 2, 3]
    mean, variance = obs.mean(axes, keepdim=True), obs.var(axes, correction=0, keepdim=True)
    return ((obs - mean) / (variance + EPSILON).sqrt()).clamp(-CLIP, CLIP)


def prediction_error(prediction: Float[Tensor, "B D"], target: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
    """Mean squared distance between the predictor's output and the random network's: the loss, and the reward (section 2.2)."""
    return ((prediction - target) ** 2).mean(1)


def running_moments(
    mean: Float[Tensor, ""], variance: Float[Tensor, ""], count: Float[Tensor, ""], values: Float[Tensor, "B"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean, variance and count of a stream after B more values (Chan et al. 1979); a batch's own variance is the unbiased one, as in URLB."""
    total, delta = count + len(values), values.mean() - mean
    spread = variance * count + values.var() * len(values) + delta**2 * count * len(values) / total
    return mean + delta * len(values) / total, spread / total, total


def intrinsic_reward(error: Float[Tensor, "B"], variance: Float[Tensor, ""]) -> Float[Tensor, "B"]:
    """The error in units of the standard deviation of all errors so far (section 2.4)."""
    return error / (variance.sqrt() + 1e-8)
