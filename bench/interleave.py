"""Timing: the compared measurements alternate, so that other load affects all of them, and medians are reported."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(works: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Name -> median of the measurement over the rounds. Each round calls every measurement once."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return {name: statistics.median(values) for name, values in found.items()}


def row(
    name: str, value: float, unit: str, baseline: str = "none", baseline_value: float | None = None, faster: bool = True,
    limit: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A row of `bench --json`. The ratio is above 1 if ours is better; `faster` says that larger values are better.

    `limit` is the value if the row took no longer than its matrix products at the rate that the machine reaches for large ones.
    """
    ratio = None if not baseline_value else value / baseline_value if faster else baseline_value / value
    found = {"name": name, "value": value, "unit": unit, "baseline": baseline, "baseline_value": baseline_value, "ratio": ratio}
    return {**found, "of_limit": value / limit} if limit else found
