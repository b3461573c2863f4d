"""`sensorium train` and `sensorium plan`."""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium.commands.options import check_device, check_place, emit, here_command, prepare
from sensorium.core.errors import Usage


def train(options: argparse.Namespace, rest: list[str]) -> None:
    """`sensorium train`: run a recipe for one or several seeds."""
    if options.recipe is None:
        if options.help:
            print(options.usage())
            return
        raise Usage("train needs a recipe; `sensorium list` shows them")
    prepare()
    from sensorium.settings import in_world, parse_settings

    check_device(options.device)
    check_place(options)
    if options.seed is not None and options.seeds:
        raise Usage("--seed for one run or --seeds for several, not both")
    if (options.seed or 0) < 0:
        raise Usage(f"--seed cannot be {options.seed}; at least 0")
    base = Path(options.out) if options.out else Path("runs") / re.sub(r"[^A-Za-z0-9.-]+", "-", options.recipe)
    recipe, rest = in_world(options.recipe, rest)
    if options.help:
        print(options.usage())
    todo = []
    for seed, folder in runs(options.seeds, options.seed or 0, base):
        todo.append((seed, folder, parse_settings(recipe, options.preset, [*rest, "--help"] if options.help else rest, folder)))
    for folder in trained(options, todo):
        print(f"trained: {folder} (`sensorium evaluate {folder}`, `sensorium report {folder}`)", file=sys.stderr)


def trained(options: argparse.Namespace, runs: list[Any]) -> Iterator[Path]:
    """Train each (seed, folder, stages), one after another, or side by side where a place is given; yields the finished folders."""
    import sensorium
    from sensorium import seeds
    from sensorium.core import jobs

    if len(runs) > 1 and options.on not in ("", "here"):
        with jobs.on(options.on), jobs.coming_from(jobs.Origin(here_command(options))):
            yield from seeds.train(options.recipe, options.preset, runs, options.tensorboard)
        return
    for seed, folder, stages in runs:
        yield sensorium.train(options.recipe, options.preset, folder, seed, options.device, options.on, stages, options.tensorboard)


def runs(seeds: str | None, seed: int, base: Path) -> list[tuple[int, Path]]:
    """(seed, folder) of each run of a command line. Errors: core.errors.Usage for invalid `seeds`."""
    if not seeds:
        return [(seed, base)]
    first, dots, last = seeds.partition("..")
    if not (dots and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise Usage(f"--seeds cannot be '{seeds}'; allowed: A..B, e.g. 0..2")
    return [(n, base / f"seed-{n}") for n in range(int(first), int(last) + 1)]


def plan(options: argparse.Namespace, rest: list[str]) -> None:
    """`sensorium plan`: estimate time, disk and memory of a recipe with the settings of `sensorium train`."""
    prepare()
    from sensorium.plan import estimate

    result = estimate(options.recipe, options.preset, rest)
    if options.json:
        return emit(result)
    print(f"{options.recipe} --preset {options.preset}, from a few timed steps of each stage on this machine:")
    for stage in result["stages"]:
        print(f"  {stage['name']:12} {stage['steps']:>8,} steps  {stage['minutes']:8.1f} min  {stage['disk_mb']:8.2f} MB  {stage['where']}")
    print(
        f"  {'total':12} {'':>14}  {result['minutes']:8.1f} min  {result['disk_mb']:8.2f} MB of disk, {result['memory_mb']:.0f} MB of memory"
    )
    print(f"  {result['note']}")
