"""Recording: a stage's shards as jobs, one per step, computed ahead of their steps; and the manifest, which the stage's process keeps."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sensorium.core import checkpoint
from sensorium.core.jobs import Pool, Utilised
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics

MANIFEST = "manifest.jsonl"
"""one row per shard of the finished steps, in order: its step, its file, whose name has its checksum, and its numbers of episodes and frames"""

Recorded = tuple[Metrics, str]
"""metrics of a shard, and the name of its file"""


@runtime_checkable
class Recorder(Protocol):
    """A stage that records a shard per step."""

    @property
    def steps(self) -> int: ...

    @property
    def folder(self) -> str: ...


@dataclass
class Recording:
    """The open resources of a stage that records."""

    pool: Pool
    results: Iterator[Recorded] | None = None

    def take(self, shard: Callable[..., Recorded], stage: Recorder, seeds: Seeds) -> Recorded:
        """The result of `shard(stage, seeds)`, which is entered in the manifest. Those of later steps are computed meanwhile."""
        if self.results is None:
            later = ((Seeds(seeds.root, seeds.stage, step),) for step in range(seeds.step, stage.steps + 1))
            # twice as many as workers, so that a long episode does not leave the others idle
            self.results = self.pool.map(shard, later, (stage,), ahead=2 * self.pool.workers)
        metrics, name = next(self.results)
        enter(Path(stage.folder), seeds.step, name, metrics)
        return metrics, name

    def utilisation(self) -> float | None:
        """As `core.jobs.Utilised.utilisation`."""
        return self.pool.utilisation() if isinstance(self.pool, Utilised) else None

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()


def manifest(folder: Path) -> dict[int, dict[str, Any]]:
    """The manifest's rows by step; empty where there is none, up to the first damaged row."""
    path, found = folder / MANIFEST, {}
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
            found[int(row["step"])] = {**row, "file": str(row["file"])}
        except (ValueError, KeyError, TypeError, RecursionError):
            break
    return found


def enter(folder: Path, step: int, name: str, metrics: Metrics) -> None:
    """Enter a shard in the manifest."""
    rows = manifest(folder)
    if step not in rows or rows[step]["file"] != name:
        numbers = {key: int(metrics[key]) for key in ("episodes", "frames", "moments") if key in metrics}
        rows[step] = {"step": step, "file": name, **numbers}
        with checkpoint.writing(folder):
            checkpoint.write(folder / MANIFEST, "".join(json.dumps(rows[key]) + "\n" for key in sorted(rows)).encode())


def checksum(name: str) -> int:
    """The number of a shard's file in a stage's state: the first 15 digits of its SHA-256."""
    return int(name.split(".")[1][:15], 16)
