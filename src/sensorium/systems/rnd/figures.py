"""The page that `sensorium report` writes for a run of RND."""

from pathlib import Path

from sensorium.viz import logged
from sensorium.viz.logged import Curve
from sensorium.viz.report import Page

CURVES = (
    Curve("intrinsic_reward/mean", "Intrinsic reward", "The prediction error in units of its standard deviation.", along="frames"),
    Curve("coverage/explorer", "Coverage", "Cells of the space of coordinates that were ever visited.", "coverage/random", "frames"),
    Curve("score/mean", "Return", "The task's return while it learns. While it explores it does not see this reward.", along="frames"),
    Curve("evaluation/mean", "Return without noise", "The agent on episodes of its own.", along="frames"),
)


def sections(folder: Path) -> Page:
    return Page("RND: explore what cannot be predicted", "Burda et al. 2018, as URLB runs it.", "", logged.sections(folder, CURVES))
