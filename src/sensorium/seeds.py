"""Several seeds of a recipe side by side, as jobs. A run's progress is in its folder, and its result is that of the run alone with one thread."""

from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from sensorium.core import checkpoint, jobs
from sensorium.core.errors import Failure, Usage
from sensorium.core.recipe import Stages

PROGRESS = "progress.log"
"""file in a run's folder with what the run alone would print to stderr"""

Run = tuple[int, Path, Stages]
"""a seed, the run's folder, and its stages"""


def train_one(recipe: str, preset: str, tensorboard: bool, seed: int, folder: Path, stages: Stages) -> str:
    """The job of one seed; returns the message of its failure, empty where it is finished."""
    import sensorium

    with checkpoint.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / PROGRESS).open("a", buffering=1)
    with log, redirect_stderr(log):
        try:
            sensorium.train(recipe, preset, folder, seed, stages=stages, tensorboard=tensorboard)
        except (Usage, Failure) as error:
            return str(error)
    return ""


def train(recipe: str, preset: str, runs: Sequence[Run], tensorboard: bool = False) -> Iterator[Path]:
    """Train several seeds at the place of the surrounding `core.jobs.on`; yields each finished folder.

    Generations in simulators are jobs of the same Ray cluster; in local processes a run is one process. Errors: core.errors.Failure where
    runs have failed, after the others have finished.
    """
    pool, failed = jobs.open_pool(simulators=True), []
    try:
        results: Iterator[Any] = pool.map(train_one, runs, (recipe, preset, tensorboard), limited=False)
        for (seed, folder, _), failure in zip(runs, results, strict=True):
            if failure:
                failed.append(f"seed {seed}: {failure}")
            else:
                yield folder
    finally:
        pool.close()
    if failed:
        raise Failure("; ".join(failed))
