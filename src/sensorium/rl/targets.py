"""Targets of critics, schedules and target networks."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Noise = Callable[[str], Tensor]
"""name -> standard normal numbers [rows, actions], for one update"""


class Batch(NamedTuple):
    """Transitions with observations encoded."""

    code: Float[Tensor, "rows n"]
    action: Float[Tensor, "rows a"]
    reward: Float[Tensor, "rows"]
    """discounted sum of the next n rewards"""
    discount: Float[Tensor, "rows"]
    """discount of the value of `next_code`; 0 where the episode has terminated"""
    next_code: Float[Tensor, "rows n"]


def n_step(
    rewards: Float[Tensor, "rows n"], terminated: Bool[Tensor, "rows n"], discount: float
) -> tuple[Float[Tensor, "rows"], Float[Tensor, "rows"]]:
    """The discounted sum of n rewards and the discount of the bootstrap value, both 0 after a termination (Sutton 1988)."""
    powers = discount ** torch.arange(rewards.shape[1] + 1, dtype=rewards.dtype, device=rewards.device)
    over = torch.cat([torch.zeros_like(terminated[:, :1]), terminated], 1).cummax(1).values
    alive = (~over).to(rewards.dtype)
    return (rewards * powers[:-1] * alive[:, :-1]).sum(1), powers[-1] * alive[:, -1]


def lambda_returns(
    rewards: Float[Tensor, "T rows"], values: Float[Tensor, "T rows"], terminated: Bool[Tensor, "T rows"], discount: float, trace: float
) -> Float[Tensor, "T rows"]:
    """TD(lambda) targets G_t = r_t + discount ((1 - trace) V_{t+1} + trace G_{t+1}), cut at terminations (Sutton & Barto 2018, eq. 12.2).

    values[t] is the value after reward t, terminated[t] whether the episode had ended by then.
    """
    targets, target = [], values[-1]
    for reward, value, over in zip(rewards.flip(0), values.flip(0), terminated.flip(0), strict=True):
        target = reward + discount * torch.where(over, 0.0, (1 - trace) * value + trace * target)
        targets.append(target)
    return torch.stack(targets[::-1])


def linear_schedule(start: float, end: float, steps: int, step: int) -> float:
    """Linear from `start` to `end` over `steps` steps, then constant."""
    return start + (end - start) * min(step / max(steps, 1), 1.0)


@torch.no_grad()
def ema_update(target: Iterable[Tensor], online: Iterable[Tensor], tau: float) -> None:
    """Exponential moving average of parameters, in place: target += tau (online - target)."""
    for slow, fast in zip(target, online, strict=True):
        slow.lerp_(fast, tau)
