"""Measurements of cart-pole agents: scores with altered senses, linear probes of the code, recovery time after a reshuffle."""

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
    """Result of `evaluate` on the hard cart-pole with a senses specification."""
    world, policy = wrapped(CartPole(), policy, senses)
    return evaluate(world, policy, episodes, seed)


def codes(policy: SensoryPolicy, episodes: int, seed: int) -> tuple[Tensor, Tensor]:
    """The code [samples, M] and the observation [samples, 5] at each step before the end of some episodes."""
    world = CartPole()
    rollout = play(world.open(), policy, row_seeds(seed, episodes), keep=("observations", "memory"))
    steps, rows = rollout.observations.shape[:2]
    alive = torch.arange(steps)[:, None] < rollout.lengths
    hidden = rollout.memory[0].flatten(0, 1)
    with torch.no_grad():
        code = policy.encode(rollout.observations.flatten(0, 1), hidden).view(steps, rows, -1)
    return code[alive], rollout.observations[alive]


def r_squared(code: Tensor, state: Tensor) -> Tensor:
    """R^2 of a least-squares regression, with intercept, from the code to each state variable; on the data of the fit."""
    x = torch.cat([code.double(), torch.ones(len(code), 1, dtype=torch.float64)], 1)
    y = state.double()
    residual = y - x @ torch.linalg.lstsq(x, y).solution
    return 1 - (residual**2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)


@dataclass(frozen=True)
class Recovery:
    """Reward rate around a reshuffle, relative to the rate before it; one value per step from `first` on."""

    first: int
    """step of the first value relative to the reshuffle; negative before it"""
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    steps: float
    """steps until the share, averaged over 25 steps, stays at or above 90 %; infinite if it does not"""
    interval: tuple[float, float]
    """95 % bootstrap interval of `steps` over episodes"""
    episodes: int
    """number of episodes in which the agent balances before the reshuffle; only these count"""


WINDOW = 25
"""steps over which a reward rate is averaged"""


def recovery(policy: Policy, episodes: int = 1000, seed: int = 0, at: int = 500, before: int = 100, samples: int = 400) -> Recovery:
    """Recovery of an agent from one reshuffle of its sensors at step `at`, while it balances.

    An episode counts if its mean reward in the `before` steps before the reshuffle is at least 0.5. After the end of an episode the reward is 0.
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
        """Steps from the reshuffle to the end of the last window below 90 %; infinite if that is the last window."""
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
    """(number of exchanges of two inputs, mean score, 95 % interval) for each count."""
    found = []
    for count in counts:
        result = under(policy, f"swap:{count}" if count else "", episodes)
        found.append((count, result["mean"], bootstrap_interval(result["returns"])))
    return found
