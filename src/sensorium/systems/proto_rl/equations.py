"""The mathematics of Proto-RL (Yarats et al. 2021, arXiv 2102.11271) as pure functions.

b of B samples, m of M prototypes, d of D dimensions. P is the paper; its code (denisyarats/proto) fixes what the paper leaves open.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize


def scores(points: Float[Tensor, "B D"], prototypes: Float[Tensor, "M D"]) -> Float[Tensor, "B M"]:
    """Cosines between points of any length and prototypes of length 1 (P section 3.1)."""
    return normalize(points, dim=1) @ prototypes.T


def sinkhorn(scores: Float[Tensor, "B M"], *, temperature: float, iterations: int) -> Float[Tensor, "B M"]:
    """Soft assignments of samples to prototypes that use all prototypes alike (P section 3.1, after Caron et al. 2020, SwAV).

    Every row sums to 1. An iteration scales prototypes first, then samples; the last word is the samples'.
    """
    samples, prototypes = scores.shape
    least = torch.finfo(scores.dtype).tiny  # a prototype so far from all samples that its share vanishes keeps none
    q = torch.exp((scores - scores.max()) / temperature)
    q = q / q.sum()
    for _ in range(iterations):
        q = q / (prototypes * q.sum(0, keepdim=True)).clamp(min=least)
        q = q / (samples * q.sum(1, keepdim=True)).clamp(min=least)
    return q / q.sum(1, keepdim=True).clamp(min=least)


def prototype_loss(scores: Float[Tensor, "B M"], assignments: Float[Tensor, "B M"], temperature: float) -> Float[Tensor, ""]:
    """Cross-entropy between what prototypes say of an observation and the assignment of the one that follows it (P equation 4)."""
    return -(assignments * torch.log_softmax(scores / temperature, 1)).sum(1).mean()


def candidates(scores: Float[Tensor, "B M"], uniforms: Float[Tensor, "M"], ratio: bool = False) -> Int[Tensor, "M"]:
    """For each prototype the index of a sample drawn from the batch, near ones more often, by inverting its distribution (P section 3.2).

    The code's weights are a softmax of the cosines at temperature 1; `ratio` takes the paper's, a cosine's share of their sum, where
    cosines below zero count as zero.
    """
    weights = (scores.clamp(min=0) + 1e-12 if ratio else torch.softmax(scores, 0)).T
    shares = weights.cumsum(1)
    return torch.searchsorted(shares, (uniforms[:, None] * shares[:, -1:]).contiguous())[:, 0].clamp(max=scores.shape[0] - 1)


def enqueue(
    queue: Float[Tensor, "T D"], pointer: Int[Tensor, ""], points: Float[Tensor, "M D"], *, frozen_pointer: bool = False
) -> tuple[Float[Tensor, "T D"], Int[Tensor, ""]]:
    """The queue with M new points in the place of its oldest, and where the next are to go (P section 3.2).

    With `frozen_pointer` the pointer does not move: what URLB's first public code did, and with it probably URLB's published numbers.
    """
    places = (pointer + torch.arange(len(points), device=queue.device)) % len(queue)
    return queue.index_copy(0, places, points), pointer if frozen_pointer else (pointer + len(points)) % len(queue)


def particle_reward(z: Float[Tensor, "B D"], queue: Float[Tensor, "T D"], nearest: int) -> Float[Tensor, "B"]:
    """Distance of each unit vector to its k-th nearest point of the queue, k = `nearest` (P equation 6)."""
    squares = (z**2).sum(1)[:, None] + (queue**2).sum(1) - 2 * z @ queue.T
    chosen = squares.topk(nearest, 1, largest=False).indices[:, -1]
    # once more, by differences: a point that is in the queue is at distance 0 from itself, not nearly so
    return (z - queue[chosen]).norm(dim=1)


def usage(scores: Float[Tensor, "B M"], temperature: float) -> Float[Tensor, ""]:
    """How many prototypes are in use: the exponential of the entropy of their mean probability, from 1 to M. Ours, for reports."""
    mean = torch.softmax(scores / temperature, 1).mean(0)
    return torch.exp(-(mean * torch.log(mean.clamp(min=1e-12))).sum())
