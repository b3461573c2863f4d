"""Nearest-neighbour entropy estimate, for reports of state coverage."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def particle_entropy(points: Float[Tensor, "N D"], nearest: int, dimension: int | None = None) -> Float[Tensor, ""]:
    """Entropy in nats of the points' density, from distances to the `nearest`-th neighbours (Singh et al. 2003).

    `dimension` is that of the manifold of the points, by default D.
    """
    n, d = len(points), dimension or points.shape[1]
    # nearest + 1: the first neighbour of a point is itself
    distances = torch.cdist(points, points).topk(nearest + 1, 1, largest=False).values[:, -1]
    ball = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
    volumes = d * torch.log(distances.clamp(min=1e-12)) + ball + math.log(n) - math.log(nearest)
    return volumes.mean() + math.log(nearest) - torch.digamma(torch.tensor(float(nearest)))
