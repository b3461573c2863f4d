"""Evaluation of a policy over many episodes."""

import functools
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core import jobs
from sensorium.core.env import Env, TorchEnv, World, closing
from sensorium.core.log import tell
from sensorium.core.machine import at_most
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.core.stats import summary

PROGRESS_EVERY = 2.0
"""seconds between two lines of progress"""

Scores = tuple[Float[Tensor, "rows"], Int[Tensor, "rows"]]
"""returns and lengths"""


def scores(env: Env, policy: Policy, seeds: Int[Tensor, "rows"], compile: bool) -> Scores:
    """Returns and lengths of one episode per seed."""
    rollout = play(env, policy, seeds, compile=compile)
    return rollout.returns, rollout.lengths


def batch_scores(world: World, policy: Policy, seeds: Int[Tensor, "rows"]) -> Scores:
    """The job of one batch of episodes in a simulator."""
    # copies, so that memory alignment does not depend on where the job runs
    return scores(jobs.opened(world), policy, seeds.clone(), compile=False)


def batches(world: World, policy: Policy, seeds: Int[Tensor, "episodes"], compile: bool = False) -> Iterator[Scores]:
    """Returns and lengths of one episode per seed, in batches of at most `spec.rows`.

    Batches in a simulator are jobs if there is a surrounding `core.jobs.on`, and use one thread everywhere. Worlds in torch are played here.
    """
    rows = seeds.split(world.spec.rows or len(seeds))
    with closing(world) as env:
        if isinstance(env, TorchEnv) and jobs.chosen() not in (None, "", "here"):
            tell_once(f"{world.spec.name} is a world in torch: its episodes are one batch, played here")
        if isinstance(env, TorchEnv) or not _distributed(len(rows)):
            with at_most(torch.get_num_threads() if isinstance(env, TorchEnv) else 1):
                for some in rows:
                    yield scores(env, policy, some, compile)
            return
    pool = jobs.open_pool(simulators=True)
    try:
        yield from pool.map(batch_scores, ((some,) for some in rows), (world, policy))
    finally:
        pool.close()


tell_once = functools.cache(tell)


def _distributed(count: int) -> bool:
    """Whether a number of batches is distributed: where the user chose a place, or several of them can use the default one."""
    place = jobs.chosen()
    return place not in (None, "here") and (place != "" or count > 1)


def evaluate(
    world: World, policy: Policy, episodes: int = 100, seed: int = 0, device: str = "cpu", compile: bool = False
) -> dict[str, Any]:
    """Play `episodes` episodes seeded by `seed`; returns `core.stats.summary` with returns, seconds and env_steps_per_second.

    Errors: as `batches`.
    """
    began = last = time.perf_counter()
    returns, steps = [], 0
    for found, lengths in batches(world, policy, row_seeds(seed, episodes, device), compile):
        returns += found.tolist()
        steps += int(lengths.sum())
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
