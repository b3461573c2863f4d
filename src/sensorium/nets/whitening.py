"""Gradient descent preconditioned by the covariance of per-row gradients, a full matrix: for small models.

After full-matrix AdaGrad (Duchi, Hazan & Singer 2011), with a moving average instead of the sum and the second moment taken over the
rows of a batch. Per-row gradients are clipped first (Abadi et al. 2016, algorithm 1), to a quantile of their norms (Andrew et al. 2021).
"spread" is the second-moment matrix.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.errors import Failure
from sensorium.core.stage import State

MOMENTUM = 0.9
"""decay of the mean gradient"""
MEMORY = 0.99
"""decay of the spread"""
DAMPING = 0.01
"""added to the eigenvalues of the spread, as a share of their mean"""


def limited(gradients: Float[Tensor, "rows n"], quantile: float) -> Float[Tensor, "rows n"]:
    """Per-row gradients with norms clipped to a quantile of the norms; rows that are not finite become zero.

    Errors: core.errors.Failure where no row is finite.
    """
    lengths = gradients.norm(dim=1, keepdim=True)
    finite = lengths.isfinite()
    if not bool(finite.any()):
        raise Failure("no gradient is finite; use a smaller learning rate or a shorter window")
    gradients, lengths = torch.where(finite, gradients, 0.0), torch.where(finite, lengths, 0.0)
    return gradients * (lengths.quantile(quantile) / lengths.clamp(min=1e-12)).clamp(max=1.0)


def inverse_root(spread: Float[Tensor, "n n"], damping: float) -> Float[Tensor, "n n"]:
    """(S + damping tr(S) / n I)^(-1/2), for a positive semidefinite S."""
    values, vectors = torch.linalg.eigh(spread)
    values = values.clamp(min=0.0)
    return (vectors * (values + damping * values.mean() + 1e-12).rsqrt()) @ vectors.mT


def init_vector(weights: Float[Tensor, "n"]) -> State:
    """The initial state: weights, mean gradient, spread, and `agent`, the moving average of the weights."""
    count = torch.zeros((), dtype=torch.int64)
    return {
        "agent": weights.clone(),
        "weights": weights,
        "mean": torch.zeros_like(weights),
        "spread": weights.new_zeros(len(weights), len(weights)),
        "updates": count,
        "measured": count.clone(),
    }


@torch.no_grad()
def measure(state: State, gradients: Float[Tensor, "rows n"]) -> None:
    """Update the spread, in place, with an estimate for the mean gradient of a batch from its rows."""
    state["spread"].mul_(MEMORY).addmm_(gradients.mT, gradients, alpha=(1 - MEMORY) / len(gradients) ** 2)
    state["measured"] += 1


@torch.no_grad()
def whitener(state: State) -> Float[Tensor, "n n"]:
    """The preconditioner: the inverse square root of the bias-corrected spread."""
    return inverse_root(state["spread"] / (1 - MEMORY ** int(state["measured"]) or 1.0), DAMPING)


@torch.no_grad()
def update_vector(
    state: State, gradients: Float[Tensor, "rows n"], whiten: Float[Tensor, "n n"], learning_rate: float, half_life: int, ema_decay: float
) -> None:
    """One descent step on the mean of the rows' gradients, then one update of the moving average, in place.

    The learning rate halves every `half_life` updates. The whitened gradient's norm is at most sqrt(n), its expected size for pure noise.
    """
    t, weights = int(state["updates"]) + 1, state["weights"].detach()
    state["updates"] += 1
    gradient, limit = gradients.mean(0), len(weights) ** 0.5
    gradient = gradient * (limit / (whiten @ gradient).norm().clamp(min=1e-12)).clamp(max=1.0)
    state["mean"].lerp_(gradient, 1 - MOMENTUM)
    step = learning_rate * 0.5 ** (t / half_life) * (whiten @ state["mean"]) / (1 - MOMENTUM**t)
    state["weights"] = weights - step
    # a smaller decay at the beginning of training
    state["agent"].lerp_(state["weights"], 1 - min(ema_decay, t / (t + 10)))
