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
    beside: str = ""
    """another metric in the same plot"""
    along: str = "step"
    """metric on the x axis"""


def sections(folder: Path, curves: tuple[Curve, ...]) -> list[Section]:
    """One section per curve whose metric was logged by a stage of the run. Errors: core.errors.Failure where nothing was logged yet."""
    paths = [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)
    logs = {path.name: rows(path / "metrics.jsonl") for path in paths}
    if not any(logs.values()):
        raise Failure(f"{folder} has logged nothing yet")
    found = []
    for curve in curves:
        stages = {name: log for name, log in logs.items() if any(curve.metric in row for row in log)}
        if not stages:
            continue
        figure, axes = canvas(columns=len(stages), squeeze=False)
        for axis, (name, log) in zip(axes[0], stages.items(), strict=True):
            for metric, colour in ((curve.metric, BLUE), (curve.beside, ORANGE)):
                points = [(row[curve.along], row[metric]) for row in log if metric in row]
                if points:
                    x, y = zip(*points, strict=True)
                    axis.plot(x, smooth(y, 5), color=colour, label=metric)
            axis.set(title=name, xlabel=curve.along)
            axis.legend()
        counted(*axes[0])
        found.append(Section(curve.heading, (), ((picture(figure, curve.heading), curve.caption),)))
    return found
