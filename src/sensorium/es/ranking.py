"""Scores to utilities: strategies that look only at the order do not care about the scale of a reward."""

import torch
from jaxtyping import Float
from torch import Tensor


def centred_ranks(fitness: Float[Tensor, "population"]) -> Float[Tensor, "population"]:
    """Ranks spread evenly over [-0.5, 0.5], the best at 0.5; equal scores share their mean rank (Salimans et al. 2017, section 2.1)."""
    _, inverse, counts = torch.unique(fitness, return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    mean_rank = last - (counts + 1) / 2
    return (mean_rank / (len(fitness) - 1) - 0.5)[inverse].to(fitness.dtype)
