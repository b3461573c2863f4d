"""Worlds that the user names (gym:ID, or one of ours) for the recipes of the off-policy loop, and settings for any of them."""

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sensorium.core import checkpoint
from sensorium.core.env import World, closing
from sensorium.core.errors import Usage
from sensorium.core.policy import Uniform
from sensorium.core.rollout import stream
from sensorium.core.seeding import row_seeds
from sensorium.core.stage import InWorld
from sensorium.envs import worlds
from sensorium.envs.gymnasium import Gymnasium, entry
from sensorium.envs.normalised import fitted
from sensorium.envs.wrappers import Calibrated
from sensorium.rl.off_policy.finetuning import located
from sensorium.rl.sac import SAC

SIDE, STACK = 84, 3
"""height and width of rendered frames, and frames per observation, as in the papers"""
EPISODES = 16
"""episodes of random actions that measure the sensors"""
WIDER = 2.0
"""width of a coordinate without bounds, in ranges that random actions visit: an explorer goes further"""
LEARNER = SAC(learning_rate=1e-3, tau=0.005, slow=1, features=0, hidden=256)
"""the learner from vectors: soft actor-critic as in Haarnoja et al. 2018, with a larger learning rate"""
SETTINGS: dict[str, Any] = {"rows": 2, "batch": 256, "every": 1, "random": 1000, "warmup": 1000}
"""settings of stages from vectors: an update for each agent step"""


def is_named(task: str) -> bool:
    """Whether a task is the name of a world, and not one of the control suite."""
    name = task.partition("?")[0]
    return name.startswith(worlds.GYM) or name in worlds.WORLDS


@functools.lru_cache
def prepared(task: str, pixels: bool, pretrained: str = "") -> World:
    """A named world with continuous actions and stacked frames (`pixels`) or a vector of sensors to observe, which is normalised.

    The means and deviations of the sensors under random actions are constants of the world, those of the `pretrained` agent where there
    is one. So are the ranges of a Gymnasium world's `coverage`, where neither the user nor the space gives them.
    Errors: core.errors.Usage for other observations and actions.
    """
    world = worlds.world(task)
    if isinstance(world, Gymnasium) and pixels:
        world = replace(world, pixels=world.pixels or SIDE, stack=world.stack or STACK)
    spec, wanted = world.spec, "frames" if pixels else "vector"
    if spec.discrete:
        raise Usage(f"{spec.name} has a choice of {spec.action} actions; allowed: worlds with continuous actions")
    if spec.kind != wanted:
        allowed = "gym:ID, whose images are rendered and stacked" if pixels else "worlds with a vector of sensors"
        raise Usage(f"{spec.name} observes {spec.kind}s {spec.observation}; allowed: {allowed}")
    if isinstance(world, Gymnasium) and world.coverage:
        world = replace(world, coverage=ranged(world))
    if pixels:
        return world
    stage = checkpoint.stage(located(Path(pretrained))) if pretrained else None
    before = stage.world if isinstance(stage, InWorld) else None
    if isinstance(before, Calibrated) and before.spec.observation == spec.observation:
        return before.applied_to(world)
    return fitted(world, Uniform(spec.action), EPISODES)


def ranged(world: Gymnasium) -> tuple[str, ...]:
    """The entries of a world's `coverage`, those without bounds with a range measured by random actions."""
    states = world.from_states
    entries = [entry(text, states.layout) for text in world.coverage]
    if all(math.isfinite(high - low) for _, _, (low, high) in entries):
        return world.coverage
    with closing(states) as env:
        seen = torch.cat([t.obs[t.live] for t in stream(env, Uniform(states.spec.action), row_seeds(0, EPISODES))])
    low, high = seen.aminmax(dim=0)
    middle, half = (low + high) / 2, WIDER * (high - low).clamp(min=1e-3) / 2
    measured = [f"{name}:{float(middle[i] - half[i]):.4g}:{float(middle[i] + half[i]):.4g}" for name, i, _ in entries]
    return tuple(text if math.isfinite(b - a) else new for text, new, (_, _, (a, b)) in zip(world.coverage, measured, entries, strict=True))
