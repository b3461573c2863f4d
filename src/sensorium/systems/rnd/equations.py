"""Equations of random network distillation (Burda et al. 2018, arXiv 1810.12894), as URLB (Laskin et al. 2021, arXiv 2110.15191) uses them.

B samples, D outputs of a network.
"""

from jaxtyping import Float
from torch import Tensor

CLIP = 5.0
"""largest normalised observation (section 2.4)"""
EPSILON = 1e-5


def whitened(obs: Float[Tensor, "B *shape"]) -> Float[Tensor, "B *shape"]:
    """Observations minus their mean, divided by their standard deviation, clipped to [-5, 5] (section 2.4).

    Mean and variance are computed over the batch: per dimension of a state, or per channel of an image [B, C, height, width].
    """
    axes = [0] if obs.dim() == 2 else [0, 2, 3]
    mean, variance = obs.mean(axes, keepdim=True), obs.var(axes, correction=0, keepdim=True)
    return ((obs - mean) / (variance + EPSILON).sqrt()).clamp(-CLIP, CLIP)


def prediction_error(prediction: Float[Tensor, "B D"], target: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
    """Mean squared error between the outputs of predictor and random network: the loss and the reward (section 2.2)."""
    return ((prediction - target) ** 2).mean(1)


def intrinsic_reward(error: Float[Tensor, "B"], variance: Float[Tensor, ""]) -> Float[Tensor, "B"]:
    """The error divided by the standard deviation of all errors so far (section 2.4)."""
    return error / (variance.sqrt() + 1e-8)
