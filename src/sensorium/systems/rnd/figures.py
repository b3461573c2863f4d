"""The report page of an RND run (`sensorium report`)."""

from pathlib import Path

from sensorium.viz import logged
from sensorium.viz.report import Page

CURVES = (
    logged.Curve("intrinsic_reward/mean", "Intrinsic reward", "The prediction error divided by its standard deviation.", along="frames"),
    logged.Curve("coverage/explorer", "Coverage", "Cells of the coordinate space visited so far.", "coverage/random", "frames"),
    logged.Curve("score/mean", "Return", "Return of the training episodes. The agent does not receive it while exploring.", along="frames"),
    logged.Curve("evaluation/mean", "Return without noise", "Return of separate evaluation episodes.", along="frames"),
)


def sections(folder: Path) -> Page:
    """The report page of a run."""
    return Page("RND: exploration by prediction error", "Burda et al. 2018, as in URLB.", "", logged.sections(folder, CURVES))
