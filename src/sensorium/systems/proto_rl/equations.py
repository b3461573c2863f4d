"""Equations of Proto-RL (Yarats et al. 2021, arXiv 2102.11271) as pure functions.

B samples, M prototypes, D dimensions, T queue entries. P is the paper. Where P is silent, these functions follow its code (denisyarats/proto).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize


def scores(points: Float[Tensor, "B D"], prototypes: Float[Tensor, "M D"]) -> Float[Tensor, "B M"]:
    """Cosine similarity of points, which need no normalisation, and prototypes of length 1 (P section 3.1)."""
    return normalize(points, dim=1) @ prototypes.T


def sinkhorn(scores: Float[Tensor, "B M"], *, temperature: float, iterations: int) -> Float[Tensor, "B M"]:
    """Soft assignments of samples to prototypes that use all prototypes equally (P section 3.1, after Caron et al. 2020, SwAV).

    Every row sums to 1. An iteration normalises columns (prototypes), then rows (samples).
    """
    samples, prototypes = scores.shape
    least = torch.finfo(scores.dtype).tiny  # avoids division by zero for a prototype whose total weight underflows
    q = torch.exp((scores - scores.max()) / temperature)
    q = q / q.sum()
    for _ in range(iterations):
        q = q / (prototypes * q.sum(0, keepdim=True)).clamp(min=least)
        q = q / (samples * q.sum(1, keepdim=True)).clamp(min=least)
    return q / q.sum(1, keepdim=True).clamp(min=least)


def prototype_loss(scores: Float[Tensor, "B M"], assignments: Float[Tensor, "B M"], temperature: float) -> Float[Tensor, ""]:
    """Cross-entropy of the softmax of an observation's scores and the assignment of the next observation (P equation 4)."""
    return -(assignments * torch.log_softmax(scores / temperature, 1)).sum(1).mean()


def candidates(scores: Float[Tensor, "B M"], uniforms: Float[Tensor, "M"], ratio: bool = False) -> Int[Tensor, "M"]:
    """For each prototype the index of one sample, drawn by inverse transform sampling from `uniforms` in [0, 1) (P section 3.2).

    The weights are a softmax of the cosines at temperature 1, as in the code. With `ratio` they are proportional to the cosines, as in the
    paper; negative cosines count as zero.
    """
    weights = (scores.clamp(min=0) + 1e-12 if ratio else torch.softmax(scores, 0)).T
    shares = weights.cumsum(1)
    return torch.searchsorted(shares, (uniforms[:, None] * shares[:, -1:]).contiguous())[:, 0].clamp(max=scores.shape[0] - 1)


def enqueue(
    queue: Float[Tensor, "T D"], pointer: Int[Tensor, ""], points: Float[Tensor, "M D"], *, frozen_pointer: bool = False
) -> tuple[Float[Tensor, "T D"], Int[Tensor, ""]]:
    """The queue with its oldest M entries replaced, and the pointer to the next entry to replace (P section 3.2).

    With `frozen_pointer` the pointer does not advance, as in URLB's first public code and probably in URLB's published results.
    """
    places = (pointer + torch.arange(len(points), device=queue.device)) % len(queue)
    return queue.index_copy(0, places, points), pointer if frozen_pointer else (pointer + len(points)) % len(queue)


def particle_reward(z: Float[Tensor, "B D"], queue: Float[Tensor, "T D"], nearest: int) -> Float[Tensor, "B"]:
    """Euclidean distance of each z to its k-th nearest queue entry, k = `nearest` (P equation 6)."""
    squares = (z**2).sum(1)[:, None] + (queue**2).sum(1) - 2 * z @ queue.T
    chosen = squares.topk(nearest, 1, largest=False).indices[:, -1]
    # recomputed by differences, so that a z that is in the queue has distance exactly 0 from itself
    return (z - queue[chosen]).norm(dim=1)


def usage(scores: Float[Tensor, "B M"], temperature: float) -> Float[Tensor, ""]:
    """Effective number of prototypes in use, 1 to M: the exponential of the entropy of their mean probability. Not in the paper."""
    mean = torch.softmax(scores / temperature, 1).mean(0)
    return torch.exp(-(mean * torch.log(mean.clamp(min=1e-12))).sum())
