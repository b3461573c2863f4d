"""What one can ask a cart-pole agent: its score under other senses, what its code knows, how fast it recovers from a reshuffle."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.core.evaluate import evaluate
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.core.stats import bootstrap_interval
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.wrappers import wrapped
from sensorium.systems.attention_neuron.model import SensoryPolicy


def under(policy: Policy, senses: str, episodes: int, seed: int = 0) -> dict[str, Any]:
    """Scores on the hard cart-pole under a treatment of the senses."""
    world, policy = wrapped(CartPole(), policy, senses)
    return evaluate(world.open(), policy, episodes, seed)


def codes(policy: SensoryPolicy, episodes: int, seed: int) -> tuple[Tensor, Tensor]:
    """The agent's code [samples, M] and what it had observed [samples, 5] at every living step of some episodes."""
    world = CartPole()
    rollout = play(world.open(), policy, row_seeds(seed, episodes), keep=("observations", "memory"))
    steps, rows = rollout.observations.shape[:2]
    alive = torch.arange(steps)[:, None] < rollout.lengths
    hidden = rollout.memory[0].flatten(0, 1)
    with torch.no_grad():
        listened = policy.listen(rollout.observations.flatten(0, 1), hidden).view(steps, rows, -1)
    return listened[alive], rollout.observations[alive]


def r_squared(code: Tensor, state: Tensor) -> Tensor:
    """Share of each state variable's variance that a linear function of the code explains (least squares with an intercept)."""
    x = torch.cat([code.double(), torch.ones(len(code), 1, dtype=torch.float64)], 1)
    y = state.double()
    residual = y - x @ torch.linalg.lstsq(x, y).solution
    return 1 - (residual**2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)


@dataclass(frozen=True)
class Recovery:
    """Reward rate around a reshuffle, as a share of the rate before it; one value a step from `first` on."""

    first: int
    """step, counted from the reshuffle, of the first value (negative: before it)"""
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    steps: float
    """steps after which the share (the mean of a window of 25 steps) is at 90 % and stays there; infinite where it never does"""
    interval: tuple[float, float]
    """its 95 % bootstrap interval over episodes"""
    episodes: int
    """episodes in which the agent balanced before the reshuffle, the only ones that count"""


WINDOW = 25
"""steps over which a reward rate is averaged"""


def recovery(policy: Policy, episodes: int = 1000, seed: int = 0, at: int = 500, before: int = 100, samples: int = 400) -> Recovery:
    """How an agent comes back after its senses are reshuffled once, at step `at`, while it balances.

    An episode counts if its mean reward in the `before` steps up to the reshuffle was at least 0.5; one that ends earns 0 from then on.
    """
    world, policy = wrapped(CartPole(), policy, f"shuffle:every={at}")
    rewards = play(world.open(), policy, row_seeds(seed, episodes), keep=("rewards",)).rewards.numpy()
    padded = np.zeros((2 * at, episodes), np.float32)
    padded[: len(rewards)] = rewards[: 2 * at]
    counted = padded[at - before : at].mean(0) >= 0.5
    chosen = padded[at - before :, counted].astype(np.float64)
    if not counted.any():
        nothing = np.zeros(0)
        return Recovery(0, nothing, nothing, nothing, np.inf, (np.inf, np.inf), 0)
    kernel = np.ones(WINDOW) / WINDOW

    def curve(columns: np.ndarray) -> np.ndarray:
        mean = chosen[:, columns].mean(1)
        return np.convolve(mean, kernel, "valid") / mean[:before].mean()

    def back(share: np.ndarray) -> float:
        """Steps from the reshuffle to the end of the last window that is below 90 %."""
        below = np.flatnonzero(share[before - WINDOW + 1 :] < 0.9)
        if len(below) == 0:
            return 0.0
        return np.inf if below[-1] == len(share) - (before - WINDOW + 1) - 1 else float(below[-1] + 1)

    n, draw = chosen.shape[1], np.random.default_rng(seed)
    curves = np.stack([curve(draw.integers(0, n, n)) for _ in range(samples)])
    low, high = np.percentile(curves, [2.5, 97.5], axis=0)
    times = np.sort([back(share) for share in curves])
    whole = curve(np.arange(n))
    interval = (float(times[int(0.025 * samples)]), float(times[int(0.975 * samples)]))
    return Recovery(WINDOW - before - 1, whole, low, high, back(whole), interval, n)


def swaps(
    policy: Policy, episodes: int = 1000, counts: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8)
) -> list[tuple[int, float, tuple[float, float]]]:
    """(exchanges of two inputs, mean score, 95 % interval)."""
    found = []
    for count in counts:
        result = under(policy, f"swap:{count}" if count else "", episodes)
        found.append((count, result["mean"], bootstrap_interval(result["returns"])))
    return found
