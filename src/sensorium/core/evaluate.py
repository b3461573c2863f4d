"""Evaluation of a policy over many episodes."""

import sys
import time
from typing import Any

import numpy as np

from sensorium.core.env import Env
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.core.stats import summary

PROGRESS_EVERY = 2.0
"""seconds between two lines of progress"""


def evaluate(env: Env, policy: Policy, episodes: int = 100, seed: int = 0, device: str = "cpu", compile: bool = False) -> dict[str, Any]:
    """Play `episodes` episodes seeded by `seed`; returns `core.stats.summary` with returns, seconds and env_steps_per_second."""
    began = last = time.perf_counter()
    returns, steps = [], 0
    for rows in row_seeds(seed, episodes, device).split(env.spec.rows or episodes):
        rollout = play(env, policy, rows, compile=compile)
        returns += rollout.returns.tolist()
        steps += int(rollout.lengths.sum())
        if time.perf_counter() - last > PROGRESS_EVERY and len(returns) < episodes:
            last = time.perf_counter()
            left = (last - began) / len(returns) * (episodes - len(returns))
            print(f"{len(returns)}/{episodes} episodes  mean {sum(returns) / len(returns):.4g}  {left:.0f} s left", file=sys.stderr)
    seconds = time.perf_counter() - began
    return {
        **summary(np.array(returns)),
        "returns": [round(score, 4) for score in returns],
        "seconds": round(seconds, 3),
        "env_steps_per_second": round(steps / seconds),
    }
