"""Distributions of actions in [-1, 1]."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus


def bounded_log_sd(raw: Float[Tensor, "*rows a"], low: float, high: float) -> Float[Tensor, "*rows a"]:
    """Log standard deviations in [low, high] from unbounded numbers, by tanh."""
    return low + 0.5 * (high - low) * (torch.tanh(raw) + 1)


def squashed(
    mean: Float[Tensor, "*rows a"], sd: Float[Tensor, "*rows a"], noise: Float[Tensor, "*rows a"]
) -> tuple[Float[Tensor, "*rows a"], Float[Tensor, "*rows"]]:
    """Actions tanh(mean + sd noise) and their log density (Haarnoja et al. 2018, appendix C, equation 21)."""
    before = mean + sd * noise
    normal = -0.5 * noise**2 - torch.log(sd) - 0.5 * math.log(2 * math.pi)
    # log(1 - tanh^2), stable for large values
    slope = 2 * (math.log(2) - before - softplus(-2 * before))
    return torch.tanh(before), (normal - slope).sum(-1)


def truncated(
    mean: Float[Tensor, "*rows a"], sd: float, noise: Float[Tensor, "*rows a"], clip: float | None = None, edge: float = 1e-6
) -> Float[Tensor, "*rows a"]:
    """Actions mean + sd noise, with sd noise clipped to `clip` and actions to [-1, 1]; straight-through gradient (DrQ-v2's code)."""
    disturbance = sd * noise
    action = mean + (disturbance if clip is None else disturbance.clamp(-clip, clip))
    return action + (action.clamp(-1 + edge, 1 - edge) - action).detach()
