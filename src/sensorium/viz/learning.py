"""Learning curves of a run whose stages train one agent after another: score and loss over all of them."""

import re
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.core.log import rows
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, canvas, close, picture, smooth
from sensorium.viz.logged import stage_folders
from sensorium.viz.report import Section

ROUND = re.compile(r"-\d+$")
"""suffix of the stage names of further rounds"""
COLOURS = (BLUE, ORANGE, PINK, GREEN, SKY, RED, INK)


def kind_of(stage: Path) -> str:
    """The name of a stage without its number and round: rounds of one kind (clone, clone-2, ...) share a colour."""
    return ROUND.sub("", stage.name.partition("-")[2] or stage.name)


def draw_scores(axis: Any, x: np.ndarray, metrics: list[dict[str, Any]], colour: str, label: str | None) -> None:
    """Scores of the training episodes as a line with a band, and those of the agent on separate episodes as dots."""
    window = max(len(metrics) // 40, 1)
    if "score/mean" in metrics[0]:
        mean = smooth([row["score/mean"] for row in metrics], window)
        axis.plot(x, mean, color=colour, linewidth=1, alpha=0.7)
        if "score/sd" in metrics[0]:
            sd = smooth([row["score/sd"] for row in metrics], window)
            axis.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.25, linewidth=0)
    points = [(place, row["score/agent"]) for place, row in zip(x, metrics, strict=True) if "score/agent" in row]
    axis.plot(*(zip(*points, strict=True) if points else ([], [])), color=colour, linewidth=2, marker=".", label=label)


def learning(folder: Path) -> Section:
    """Learning curves of the run's stages against steps and minutes, and the loss of cloning stages."""
    stages = [path for path in stage_folders(folder) if rows(path / "metrics.jsonl")]
    figure, axes = canvas(columns=2, height=3.3, sharey=True)
    losses, loss_axis = canvas(height=2.4)
    passed, minutes_passed, kinds = 0, 0.0, [kind_of(path) for path in stages]
    # the last kind has the first colour
    colours = dict(zip(reversed(list(dict.fromkeys(kinds))), cycle(COLOURS), strict=False))
    for number, (path, kind) in enumerate(zip(stages, kinds, strict=True)):
        label = kind if kind not in kinds[:number] else None
        times = {row["step"]: row["seconds"] / 60 for row in rows(path / "times.jsonl") if "seconds" in row}
        metrics = [row for row in rows(path / "metrics.jsonl") if row["step"] in times]
        if not metrics:
            continue
        minutes = np.array([times[row["step"]] for row in metrics]) + minutes_passed
        draw_scores(axes[0], np.array([row["step"] for row in metrics]) + passed, metrics, colours[kind], label)
        draw_scores(axes[1], minutes, metrics, colours[kind], label)
        if "loss" in metrics[0]:
            loss_axis.plot(minutes, [row["loss"] for row in metrics], color=colours[kind], label=label)
        passed += metrics[-1]["step"]
        minutes_passed += times[metrics[-1]["step"]]
    axes[0].set(xlabel="steps of all stages", ylabel="score")
    axes[1].set(xlabel="minutes")
    if axes[0].lines:
        axes[0].legend(fontsize=9.5)
    shown = [(picture(figure, "learning curves"), "Dots: the agent on separate episodes. Thin lines and bands: training episodes, mean and standard deviation over candidates.")]  # fmt: skip
    loss_axis.set(xlabel="minutes", ylabel="loss")
    if loss_axis.lines:
        loss_axis.legend(fontsize=9.5)
        shown.append((picture(losses, "loss"), "Loss between the actions of student and teacher: mean squared error, or cross-entropy for discrete actions."))  # fmt: skip
    else:
        close(losses)
    return Section("Learning curves", ("The stages are drawn one after another.",), tuple(shown))
