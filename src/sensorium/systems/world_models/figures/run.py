"""The trained stages of a run, an episode of its agent, and M's predictions for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import World, closing
from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.core.seeding import normal, row_seeds, uniform
from sensorium.core.stats import summary
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN
from sensorium.systems.world_models.stages import Collect, Controller, Identity, Memory, Vision

EPISODES = 16
"""evaluation episodes of this page"""
CONTEXT, DREAM = 60, 90
"""steps in which M gets the real z, and steps of the dream after them"""


@dataclass
class Run:
    """The stages of a run that are trained, their models, and one recorded episode."""

    folders: dict[str, Path]
    world: World
    frames: np.ndarray
    """observations [steps, 64, 64, 3] or [steps, n]"""
    actions: Float[Tensor, "steps a"]
    scores: dict[str, Any] | None
    vision: Any
    """V: a ConvVAE, an IdentityVision, or None"""
    memory: MDNRNN | None


def load_run(folder: Path) -> Run:
    """The run with an episode of its agent, or of the random policy if there is no agent. Errors: core.errors.Usage if there is neither."""
    stages = [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)
    folders, world, player, scores = {}, None, None, None
    for path in stages:
        stage = checkpoint.placed(checkpoint.stage(path), path)
        kind = next((kind for kind in (Collect, Vision, Identity, Memory, Controller) if isinstance(stage, kind)), None)
        if kind is None or not (checkpoint.step_of(path) or stage.steps == 0):
            continue
        folders["vision" if kind is Identity else kind.__name__.lower()] = path
        if isinstance(stage, (Collect, Controller)):
            world, player = stage.world, checkpoint.policy(path)
        if isinstance(stage, Controller):
            folders["vision"] = Path(stage.vision)
            folders |= {"memory": Path(stage.memory)} if stage.memory else {}
    if world is None or player is None:
        raise Usage(f"{folder} has nothing to show yet: no recorded episodes and no controller")
    with closing(world) as env:
        if "controller" in folders:
            scores = summary(play(env, player, row_seeds(7, EPISODES), compile=False).returns.numpy())
        rollout = play(env, player, row_seeds(11, 1), keep=("observations", "actions"))
    length = int(rollout.lengths[0])
    vision = load_model(str(folders["vision"]), bfloat16=False) if "vision" in folders else None
    memory = load_model(str(folders["memory"]), bfloat16=False) if "memory" in folders else None
    return Run(folders, world, rollout.observations[:length, 0].numpy(), rollout.actions[:length, 0], scores, vision, memory)


def encoded(run: Run) -> tuple[Tensor, Tensor]:
    """V's posterior of the episode's frames: mu and log variance, [steps, z]."""
    assert run.vision is not None
    parts = [run.vision.posterior(block) for block in torch.from_numpy(run.frames).split(500)]
    return torch.cat([mu for mu, _ in parts]), torch.cat([log_variance for _, log_variance in parts])


def teacher_forced(run: Run, z: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """M's hidden and cell state after `steps` steps with the real z as input, and the one-step predictions of z [steps + 1, z]."""
    memory = run.memory
    assert memory is not None
    hidden = cell = torch.zeros(1, memory.hidden)
    expected = [z[:1]]
    for t in range(steps):
        hidden, cell = memory.step(z[t : t + 1], run.actions[t : t + 1], torch.full((1,), float(t == 0)), hidden, cell)
        out = memory.predict(hidden)
        expected.append((out.log_weight.exp() * out.mean).sum(-1))
    return hidden, cell, torch.cat(expected)


def open_loop(run: Run, z: Tensor, start: int, steps: int, temperature: float, seed: int = 5) -> Tensor:
    """z sampled from M without further frames, from step `start` of the episode on, with the recorded actions; [steps, z]."""
    memory = run.memory
    assert memory is not None
    hidden, cell, _ = teacher_forced(run, z, start)
    now, seeds, found = z[start : start + 1], row_seeds(seed, 1), [z[start : start + 1]]
    for t in range(start, start + steps - 1):
        hidden, cell = memory.step(now, run.actions[t : t + 1], torch.full((1,), float(t == 0)), hidden, cell)
        out = memory.predict(hidden)
        choice, noise = uniform(seeds, 2 * t, memory.latents), normal(seeds, 2 * t + 1, memory.latents)
        now = eq.mixture_sample(out.logit, out.mean, out.log_sd, temperature, choice, noise)
        found.append(now)
    return torch.cat(found)
