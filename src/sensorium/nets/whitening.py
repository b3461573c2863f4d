"""Gradient descent in a space in which the gradients of single rows scatter alike in all directions. For models small enough for a full matrix.

After full-matrix AdaGrad (Duchi, Hazan & Singer 2011), with a running mean for its sum, and the spread taken over the rows of a batch. Long gradients of single rows are
shortened first (Abadi et al. 2016, algorithm 1), to a quantile of their lengths (Andrew et al. 2021).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.errors import Failure
from sensorium.core.stage import State

MOMENTUM = 0.9
"""share of itself that the mean gradient keeps at an update"""
MEMORY = 0.99
"""share of itself that the spread keeps when it is measured anew"""
DAMPING = 0.01
"""added to the spread in every direction, as a share of its mean over the directions"""


def limited(gradients: Float[Tensor, "rows n"], quantile: float) -> Float[Tensor, "rows n"]:
    """Rows that are longer than a quantile of their lengths are shortened to it; one whose length is not finite counts as zero."""
    lengths = gradients.norm(dim=1, keepdim=True)
    sound = lengths.isfinite()
    if not bool(sound.any()):
        raise Failure("no gradient is finite; a smaller learning rate or a shorter window keeps them tame")
    gradients, lengths = torch.where(sound, gradients, 0.0), torch.where(sound, lengths, 0.0)
    return gradients * (lengths.quantile(quantile) / lengths.clamp(min=1e-12)).clamp(max=1.0)


def inverse_root(spread: Float[Tensor, "n n"], damping: float) -> Float[Tensor, "n n"]:
    """(S + damping tr(S) / n I)^(-1/2), for a symmetric S without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(spread)
    values = values.clamp(min=0.0)
    return (vectors * (values + damping * values.mean() + 1e-12).rsqrt()) @ vectors.mT


def taught(weights: Float[Tensor, "n"]) -> State:
    """The state of parameters that are learned so: themselves, the mean gradient, the spread, and the running average of them that is the agent."""
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
    """Take the spread of a batch's mean gradient, as its rows tell it, into the state's."""
    state["spread"].mul_(MEMORY).addmm_(gradients.mT, gradients, alpha=(1 - MEMORY) / len(gradients) ** 2)
    state["measured"] += 1


@torch.no_grad()
def whitener(state: State) -> Float[Tensor, "n n"]:
    """What turns gradients into steps, until the spread has changed."""
    return inverse_root(state["spread"] / (1 - MEMORY ** int(state["measured"]) or 1.0), DAMPING)


@torch.no_grad()
def teach(
    state: State, gradients: Float[Tensor, "rows n"], whiten: Float[Tensor, "n n"], learning_rate: float, half_life: int, ema_decay: float
) -> None:
    """One step down the mean of the rows' gradients, at a rate that halves every `half_life` updates, and one of the average.

    No gradient counts for more than one of pure chance would, nor is a step longer than one of Adam's.
    """
    t, weights = int(state["updates"]) + 1, state["weights"].detach()
    state["updates"] += 1
    gradient, chance = gradients.mean(0), len(weights) ** 0.5
    gradient = gradient * (chance / (whiten @ gradient).norm().clamp(min=1e-12)).clamp(max=1.0)
    state["mean"].lerp_(gradient, 1 - MOMENTUM)
    step = learning_rate * 0.5 ** (t / half_life) * (whiten @ state["mean"]) / (1 - MOMENTUM**t)
    state["weights"] = weights - step
    # at first the average is young, and keeps less of itself
    state["agent"].lerp_(state["weights"], 1 - min(ema_decay, t / (t + 10)))
