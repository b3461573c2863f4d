"""Fitness shaping by ranks, which makes a strategy invariant to monotone transformations of the reward."""

import torch
from jaxtyping import Float
from torch import Tensor


def centred_ranks(fitness: Float[Tensor, "population"]) -> Float[Tensor, "population"]:
    """Ranks scaled to [-0.5, 0.5], the best at 0.5; ties get their mean rank (Salimans et al. 2017, section 2.1)."""
    _, inverse, counts = torch.unique(fitness, return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    mean_rank = last - (counts + 1) / 2
    return (mean_rank / (len(fitness) - 1) - 0.5)[inverse].to(fitness.dtype)
