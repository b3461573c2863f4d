"""Scores over many episodes, with their spread."""

import time
from typing import Any

from sensorium.core.env import Env
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.core.stats import summary


def evaluate(env: Env, policy: Policy, episodes: int = 100, seed: int = 0, device: str = "cpu", compile: bool = False) -> dict[str, Any]:
    """Play `episodes` episodes, all functions of `seed`, and sum them up."""
    began = time.perf_counter()
    rollout = play(env, policy, row_seeds(seed, episodes, device), compile=compile)
    seconds = time.perf_counter() - began
    return {
        **summary(rollout.returns.cpu().numpy()),
        "returns": [round(score, 4) for score in rollout.returns.tolist()],
        "seconds": round(seconds, 3),
        "env_steps_per_second": round(int(rollout.lengths.sum()) / seconds),
    }
