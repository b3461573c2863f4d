"""`python -m sensorium.job FOLDER STEP JOB`: compute one job of a stage's step in this process, as a message about a lost job names it.

The steps from the newest checkpoint before it are computed first. The folder's checkpoints and logs are not changed.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sensorium.core import card, checkpoint, jobs
from sensorium.core.errors import Failure, Usage
from sensorium.core.jobs import Here, Job, Place
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Closable, placed


class Computed(Exception):
    """Raised with the result of the wanted job."""

    def __init__(self, result: Any):
        super().__init__()
        self.result = result


class Only(Here):
    """Computes jobs in this process up to the wanted one, of which the result is raised. Of the `map` that has it, no other job is computed."""

    def __init__(self, number: int):
        self.number, self.first = number, 0

    def map(
        self, function: Callable[..., Any], jobs: Iterable[Job], shared: Job = (), *, ahead: int = 0, limited: bool = True
    ) -> Iterator[Any]:  # fmt: skip
        """As `Here.map`. Errors: Computed."""
        known = [next(iter(jobs))] if ahead else list(jobs)
        wanted = self.number - self.first
        if wanted < len(known):
            raise Computed(next(super().map(function, [known[wanted]], shared)))
        self.first += len(known)
        yield from super().map(function, known, shared)


def compute(folder: Path, step: int, number: int) -> Any:
    """The result of job `number` (from 0) of a step of the stage in `folder`. Errors: core.errors.Usage where there is no such job."""
    name, stage = folder.name.partition("-")[2] or folder.name, placed(checkpoint.stage(folder), folder)
    seed, loaded = card.read(folder)["seed"], checkpoint.load(folder)
    if loaded is None or not loaded[0] < step <= stage.steps:
        raise Failure(f"{folder} has no checkpoint from before step {step}")
    before, state = loaded
    for place, steps in ((Place("here"), range(before + 1, step)), (Place("only", {"only": Only(number)}), range(step, step + 1))):
        with jobs.at(place):
            live = stage.open(state)
            try:
                for each in steps:
                    stage.step(state, live, Seeds(seed, name, each))
            except Computed as found:
                return found.result
            finally:
                if isinstance(live, Closable):
                    live.close()
    raise Usage(f"step {step} of {folder} has no job {number}")


def main(arguments: list[str]) -> int:
    """Print the result; the exit code is as that of `sensorium`."""
    try:
        if len(arguments) != 3 or not all(number.isdigit() for number in arguments[1:]):
            raise Usage("usage: python -m sensorium.job FOLDER STEP JOB")
        print(compute(Path(arguments[0]), int(arguments[1]), int(arguments[2])))
    except (Usage, Failure) as error:
        print(f"sensorium: {error}", file=sys.stderr)
        return 2 if isinstance(error, Usage) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
