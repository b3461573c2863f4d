"""Learning curves from a run's logs, one section per metric, for the reports of all systems."""

from dataclasses import dataclass
from pathlib import Path

from sensorium.core import checkpoint
from sensorium.core.errors import Failure
from sensorium.core.log import rows
from sensorium.viz.curves import BLUE, ORANGE, canvas, counted, picture, smooth
from sensorium.viz.report import Section


@dataclass(frozen=True)
class Curve:
    """A metric to plot for each stage that logs it."""

    metric: str
    heading: str
    caption: str
    compared_with: str = ""
    """another metric in the same plot"""
    along: str = "step"
    """metric on the x axis"""


def stage_folders(folder: Path) -> list[Path]:
    """The stages of a run, or the one that a folder is."""
    return [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)


def unfinished(stages: list[Path]) -> str:
    """Which of a run's stages still trains, and how far it is: "2-clone at step 40 of 60"; empty where all have finished."""
    found = [(path.name, checkpoint.step_of(path) or 0, checkpoint.stage(path).steps) for path in stages]
    return ", ".join(f"{name} at step {step} of {steps}" for name, step, steps in found if step < steps)


def all_metrics(stages: list[Path]) -> list[Section]:
    """One section for each stage that has logged at least two steps: every metric over its steps."""
    found = []
    for path in stages:
        log = rows(path / "metrics.jsonl")
        metrics = [name for name in dict.fromkeys(name for row in log for name in row) if name != "step"]
        if len(log) < 2 or not metrics:
            continue
        lines = -(-len(metrics) // 3)
        figure, axes = canvas(height=2.1 * lines, columns=3, lines=lines, squeeze=False)
        for axis, metric in zip(axes.flat, metrics, strict=False):
            steps, values = zip(*((row["step"], row[metric]) for row in log if metric in row), strict=True)
            axis.plot(steps, values, color=BLUE, alpha=0.3, marker="." if len(values) == 1 else None)
            axis.plot(steps, smooth(values, max(1, len(values) // 20)), color=BLUE)
            axis.set_title(metric, fontsize=9)
        for axis in axes.flat[len(metrics) :]:
            axis.set_visible(False)
        counted(*axes.flat)
        caption = f"Every metric of {path.name} over its {log[-1]['step']:,} steps so far: each step, and the mean of a sliding window."
        found.append(Section(f"Metrics of {path.name}", (), ((picture(figure, f"metrics of {path.name}"), caption),)))
    return found


def sections(folder: Path, curves: tuple[Curve, ...]) -> list[Section]:
    """One section per curve whose metric was logged by a stage of the run. Errors: core.errors.Failure where nothing was logged yet."""
    logs = {path.name: rows(path / "metrics.jsonl") for path in stage_folders(folder)}
    if not any(logs.values()):
        raise Failure(f"{folder} has logged nothing yet")
    found = []
    for curve in curves:
        stages = {name: log for name, log in logs.items() if any(curve.metric in row for row in log)}
        if not stages:
            continue
        figure, axes = canvas(columns=len(stages), squeeze=False)
        for axis, (name, log) in zip(axes[0], stages.items(), strict=True):
            for metric, colour in ((curve.metric, BLUE), (curve.compared_with, ORANGE)):
                points = [(row[curve.along], row[metric]) for row in log if metric in row and curve.along in row]
                if points:
                    x, y = zip(*points, strict=True)
                    axis.plot(x, smooth(y, 5), color=colour, label=metric)
            axis.set(title=name, xlabel=curve.along)
            axis.legend()
        counted(*axes[0])
        found.append(Section(curve.heading, (), ((picture(figure, curve.heading), curve.caption),)))
    return found
