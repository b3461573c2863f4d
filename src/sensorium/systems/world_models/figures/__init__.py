"""The report page of a run."""

from pathlib import Path
from typing import Any

import torch

from sensorium.systems.world_models.figures.frames import dream_rollout, reconstructions, traversal
from sensorium.systems.world_models.figures.run import EPISODES, load_run
from sensorium.systems.world_models.figures.sensors import trajectories
from sensorium.systems.world_models.figures.training import evolution, losses
from sensorium.systems.world_models.figures.trust import trust
from sensorium.systems.world_models.model import ConvVAE
from sensorium.viz.report import Page, Section, compose, table


def sections(folder: Path) -> Page:
    """The report page of a run."""
    with torch.no_grad():
        run = load_run(folder)
        parts: list[Any] = []
        images = isinstance(run.vision, ConvVAE)
        if images:
            parts += [("reconstructions", lambda: reconstructions(run)), ("latent space", lambda: traversal(run))]
        if run.vision is not None and run.memory is not None:
            parts.append(("dream", lambda: dream_rollout(run) if images else trajectories(run)))
        if run.memory is not None and "controller" in run.folders:
            parts.append(("dream and world", lambda: trust(run)))
        made = compose([*parts, ("losses", lambda: losses(run)), ("evolution", lambda: evolution(run))])
    lead = "V encodes frames, M predicts the next code, and C maps both to actions. They are trained one after another. M can replace the world: C can then be trained in the dream."
    facts = f"World: {run.world.spec.name}. After Ha & Schmidhuber 2018, World Models."
    if run.scores:
        low, high = run.scores["ci95"]
        shown = (
            table(
                ("agent in the real world", "mean", "95 % interval", "sd", "median"),
                [(f"{EPISODES} episodes", f"{run.scores['mean']:.0f}", f"{low:.0f} to {high:.0f}", f"{run.scores['sd']:.0f}", f"{run.scores['median']:.0f}")],
            ),
            f"Based on {EPISODES} episodes only; `sensorium evaluate --episodes N` plays more.",
        )  # fmt: skip
        made.insert(0, Section("Evaluation", (), (shown,)))
    return Page("World Models", lead, facts, made)
