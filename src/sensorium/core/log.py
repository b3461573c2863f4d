"""Logs of a run: metrics.jsonl (deterministic), times.jsonl (wall time and memory), and progress with an ETA on stderr."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sensorium.core.checkpoint import write, writing
from sensorium.core.migrations import metric_names

T = TypeVar("T")

PLAIN_EVERY = 10.0
"""seconds between two lines of progress without a terminal"""


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file up to the first damaged line, with current metric names."""
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # truncated or damaged
            break
        if not (
            isinstance(row, dict) and isinstance(row.get("step"), int) and all(isinstance(value, (int, float)) for value in row.values())
        ):
            break
        found.append(metric_names(row))
    return found


def memory_megabytes() -> float:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024.0 if sys.platform != "darwin" else 1024.0**2)


@runtime_checkable
class Sink(Protocol):
    """Receives the metrics of a run besides its logs."""

    def add(self, step: int, metrics: dict[str, float]) -> None:
        """Record the metrics of one step."""

    def flush(self) -> None:
        """Write what is still in memory; called before each checkpoint."""

    def close(self) -> None:
        """Flush and release the sink."""


class Log:
    """Appends rows to the logs of a stage's folder and to a sink; on resume, rows after the restored step are dropped."""

    def __init__(self, folder: Path, step: int, sink: Sink | None = None):
        self.folder, self.sink = folder, sink
        self.seconds = 0.0
        self.files: list[TextIO] = []
        for name in ("metrics.jsonl", "times.jsonl"):
            kept = [row for row in rows(folder / name) if row["step"] <= step]
            if name == "times.jsonl" and kept:
                self.seconds = kept[-1].get("seconds", 0.0)
            with writing(folder):
                write(folder / name, "".join(json.dumps(row) + "\n" for row in kept).encode())
                self.files.append((folder / name).open("a"))
        self.began = time.perf_counter() - self.seconds

    def add(self, step: int, metrics: dict[str, float]) -> None:
        seconds = time.perf_counter() - self.began
        times = {"step": step, "seconds": round(seconds, 3), "memory_mb": round(memory_megabytes(), 1)}
        with writing(self.folder):
            for file, row in zip(self.files, ({"step": step, **metrics}, times), strict=True):
                file.write(json.dumps(row) + "\n")
                file.flush()
            if self.sink is not None:
                self.sink.add(step, metrics)

    def sync(self) -> None:
        """Flush the rows to disk; called before each checkpoint."""
        with writing(self.folder):
            for file in self.files:
                os.fsync(file.fileno())
            if self.sink is not None:
                self.sink.flush()

    def close(self) -> None:
        for file in self.files:
            with suppress(OSError):  # a full disk is already reported
                file.close()
        if self.sink is not None:
            with suppress(OSError):
                self.sink.close()


def show(metrics: dict[str, float]) -> str:
    """The first four metrics as text."""
    return "  ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:4])


def note(metrics: dict[str, float], utilisation: Callable[[], float | None] | None) -> str:
    """The first four metrics, and how busy the workers were."""
    share = utilisation() if utilisation is not None else None
    return show(metrics) + (f"  workers {share:.0%} busy" if share is not None else "")


def tell(line: str) -> None:
    """Print a line to stderr. Where it cannot be written, as after the terminal closed, this and later output is discarded."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        discard = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(discard, stream)
        os.close(discard)


class Bar:
    """Progress of one stage on stderr: a live bar in a terminal, else a line every 10 s."""

    def __init__(self, name: str, step: int, steps: int):
        self.name, self.first, self.steps = name, step, steps
        self.began = self.last = time.perf_counter()
        self.bar: Progress | None = None
        if sys.stderr.isatty():
            columns = [
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            ]
            self.bar = Progress(*columns, console=Console(stderr=True))
            self.task = self.bar.add_task(name, total=steps, completed=step, note="")
            self.bar.start()

    def update(self, step: int, metrics: dict[str, float], utilisation: Callable[[], float | None] | None = None) -> None:
        """Show the progress; `utilisation` is asked when a line is printed."""
        if self.bar is not None:
            with suppress(OSError):  # the terminal may have closed
                self.bar.update(self.task, completed=step, note=note(metrics, utilisation))
            return
        now = time.perf_counter()
        if now - self.last >= PLAIN_EVERY or step == self.steps:
            left = (now - self.began) / max(step - self.first, 1) * (self.steps - step)
            tell(f"{self.name} {step}/{self.steps}  {note(metrics, utilisation)}  {left:.0f} s left")
            self.last = now

    def close(self) -> None:
        if self.bar is not None:
            with suppress(OSError):
                self.bar.stop()


def tracked(items: Collection[T], name: str) -> Iterator[T]:
    """The items one by one, with progress and an ETA on stderr."""
    bar = Bar(name, 0, len(items))
    try:
        for done, item in enumerate(items, 1):
            yield item
            bar.update(done, {})
    finally:
        bar.close()
