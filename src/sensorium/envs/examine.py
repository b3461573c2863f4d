"""Checks of a Gymnasium environment for `sensorium doctor --world gym:ID`; each returns what it found in one line."""

import os
import time
import warnings
from dataclasses import replace

import gymnasium
import torch
from gymnasium.utils.env_checker import check_env

from sensorium.core.env import closing
from sensorium.core.errors import Failure
from sensorium.core.seeding import fold, row_seeds, uniform
from sensorium.envs.gymnasium import Gymnasium
from sensorium.envs.rows import make, one_line

STEPS = 100
"""steps of the check that a seed repeats"""


def interface(world: Gymnasium) -> str:
    """Run Gymnasium's check_env. Errors: core.errors.Failure with its message."""
    env = make(world.made)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            check_env(env.unwrapped, skip_render_check=True)
        except Exception as error:
            raise Failure(f"gym:{world.id} does not follow Gymnasium's interface: {one_line(error)}") from None
        finally:
            env.close()
    spaces = f"observation {env.observation_space}, action {env.action_space}"
    return f"follows it ({len(found)} warnings); {spaces}".replace("\n", " ")


def episode(world: Gymnasium, seeds: torch.Tensor, before: int = 0) -> torch.Tensor:
    """Observations and rewards [steps, rows, n] of random actions, after `before` other episodes in the same environments."""
    found = []
    with closing(world) as env:
        for number in range(before + 1):
            obs, rows = env.reset(fold(seeds, "other", number) if number < before else seeds), len(seeds)
            found = [torch.cat([obs.reshape(rows, -1).double(), torch.zeros(rows, 1)], 1)]
            for t in range(min(STEPS, world.spec.horizon)):
                step = env.step(2 * uniform(seeds, t, world.spec.action) - 1)
                found.append(torch.cat([step.obs.reshape(rows, -1).double(), step.reward[:, None].double()], 1))
    return torch.stack(found)


def repeats(world: Gymnasium) -> str:
    """Play equal seeds and actions twice: alone, beside other rows, after other episodes. Errors: core.errors.Failure where they differ."""
    world = replace(world, processes=1)
    seeds = row_seeds(0, 3)
    first = episode(world, seeds)
    for what, again, expected in (
        ("in a new environment", episode(world, seeds), first),
        ("alone", episode(world, seeds[1:2]), first[:, 1:2]),
        ("after other episodes", episode(world, seeds, before=2), first),
    ):
        differs = (again != expected).flatten(1).any(1).nonzero()
        if len(differs):
            remedy = "; use --world.anew True" if what == "after other episodes" and not world.anew else ""
            different = f"equal seed and actions, another result at step {int(differs[0])}{remedy}"
            raise Failure(f"gym:{world.id} does not repeat an episode {what}: {different}")
    return f"equal observations and rewards over {len(first) - 1} steps: again, alone, and after other episodes"


def speed(world: Gymnasium) -> str:
    """Steps per second of random actions, with one row and with 16 rows per core."""
    found = []
    for rows, processes in ((1, 1), (16 * (os.cpu_count() or 1), os.cpu_count() or 1)):
        with closing(replace(world, processes=processes)) as env:
            seeds, steps = row_seeds(0, rows), 0
            env.reset(seeds)
            start, t, live = time.perf_counter(), 0, rows
            while time.perf_counter() - start < 1.5:
                step = env.step(2 * uniform(seeds, t, world.spec.action) - 1)
                steps, t = steps + live, t + 1
                live -= int((step.terminated | step.truncated).sum())
                if not live:
                    env.reset(fold(seeds, "next", t))
                    live = rows
            found.append(
                f"{steps / (time.perf_counter() - start):,.0f} steps/s ({rows} row{'s' * (rows > 1)}, {processes} process{'es' * (processes > 1)})"
            )
    return f"{', '.join(found)}; gymnasium {gymnasium.__version__}"
