"""Figure of a dream's trust: policies of several strengths in the dream and in the world."""

import numpy as np

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.systems.world_models import probes
from sensorium.systems.world_models.figures.run import Run
from sensorium.systems.world_models.stages import Memory
from sensorium.viz.curves import BLUE, INK, RED, canvas, picture
from sensorium.viz.report import Section, table


def trust(run: Run) -> Section | None:
    """Returns of the agent and of weakened ones in both worlds, and M's likelihood on new episodes; None without a dream with reward."""
    try:
        found = probes.trust(run.folders["controller"])
    except Usage:
        return None
    dream, world = found.dream.mean(1), found.world.mean(1)
    figure, axis = canvas(5.6, 4.2)
    errors = [part.std(1) / np.sqrt(part.shape[1]) for part in (found.world, found.dream)]
    axis.errorbar(world, dream, xerr=errors[0], yerr=errors[1], fmt="o", color=BLUE, ms=5, lw=1)
    axis.plot(world[0], dream[0], "o", color=RED, ms=8, label="the agent")
    low, high = min(*world, *dream), max(*world, *dream)
    axis.plot([low, high], [low, high], color=INK, lw=1, ls="--", label="equal returns")
    axis.set(xlabel="mean return in the world", ylabel="mean return in the dream")
    axis.legend(fontsize=9)
    gap, least, most = found.gap
    numbers = table(
        ("measure", "value"),
        [
            ("log likelihood of the next z, nats per dimension", f"{found.likelihood:.2f}"),
            ("the same for a normal around the present z", f"{found.persistence:.2f}"),
            ("rank correlation of returns, dream and world", f"{found.correlation:.2f}"),
            ("the agent's return in the dream minus that in the world", f"{gap:.1f} [{least:.1f}, {most:.1f}]"),
        ],
    )
    text = (
        f"{len(found.strengths)} policies, from the agent to random parameters of the same size, {found.dream.shape[1]} episodes each in the dream and in the world. "
        "In a dream that can be trusted the points rise, and the agent does not stand above the dashed line: a point above it exploits errors of M."
    )
    memory = checkpoint.stage(run.folders["memory"])
    if isinstance(memory, Memory) and memory.reward_limit:
        text += f" M was trained on rewards clipped to +-{memory.reward_limit:g}, so larger ones count less in the dream."
    return Section("How far to trust the dream", (text,), ((picture(figure, "returns in the dream and in the world"), "Means with standard errors."), (numbers, "Likelihoods of sampled z, as in M's training, from new episodes of the agent.")))  # fmt: skip
