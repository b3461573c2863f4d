"""Estimate of a recipe's time, disk and memory on this machine, from a few timed steps of each stage."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium import registry
from sensorium.core import checkpoint
from sensorium.core.log import memory_megabytes, rows
from sensorium.core.run import run
from sensorium.core.stage import Distributed, Warmed, placed
from sensorium.settings import in_world, parse_settings

TIMED, SLOW = 4, 30.0
"""timed steps per stage; fewer where they take longer than SLOW seconds"""


def where(stage: object) -> str:
    """Where the steps of a stage are computed, and why."""
    return stage.where if isinstance(stage, Distributed) else "here: gradient steps, on all threads"


def estimate(name: str, preset: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Minutes, disk (MB) and memory (MB) of a recipe with the settings of a command line; the result of `plan --json`.

    Measured in a temporary folder. Errors: core.errors.Usage for settings that the recipe does not have.
    """
    full, rest = in_world(name, list(arguments))
    recipe, stages, known = registry.recipe(full), [], {}
    with tempfile.TemporaryDirectory() as place:
        for number, (stage_name, stage) in enumerate(parse_settings(full, preset, rest, Path(place)).items(), 1):
            # the second round of a loop is representative of later ones
            kind = re.sub(r"-\d+$", "-2", stage_name)
            if kind in known:
                each = known[kind]["seconds_per_step"]
                stages.append({**known[kind], "name": stage_name, "steps": stage.steps, "minutes": round(each * stage.steps / 60, 2)})
                continue
            folder = Path(place) / f"{number}-{stage_name}"
            least = stage.warmup_steps if isinstance(stage, Warmed) else 2
            for timed in sorted({min(steps, stage.steps) for steps in (least, max(least, TIMED))}):
                run(replace(stage, steps=timed), folder)  # type: ignore[type-var]
                seconds = [row["seconds"] for row in rows(folder / "times.jsonl")]
                if sum(seconds[-1:]) > SLOW:
                    break
            # the first steps include compilation and steps without updates; a second session reopens its resources
            half = len(seconds) // 2 if timed <= least else len(seconds) - 1
            each = (seconds[-1] - seconds[half - 1]) / (len(seconds) - half) if half else 0.0
            compiling = max(seconds[half - 1] - each * half, 0.0) if half else 0.0
            files = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / max(len(list(folder.glob("*.safetensors"))), 1)
            maps = sum(path.stat().st_size for path in folder.glob("*.bin"))
            shards = sum(path.stat().st_size for path in folder.glob("shard-*.npz")) / timed * stage.steps
            logs = sum((folder / log).stat().st_size for log in ("metrics.jsonl", "times.jsonl")) / timed
            known[kind] = {
                "name": stage_name,
                "steps": stage.steps,
                "where": where(placed(stage, folder)),
                "timed_steps": timed,
                "seconds_per_step": round(each, 4),
                "minutes": round((compiling + each * stage.steps) / 60, 2),
                "disk_mb": round((files * checkpoint.KEPT + maps + shards + logs * stage.steps) / 1e6, 3),
            }
            stages.append(known[kind])
    reference = recipe.minutes.get(preset)
    note = "steps take longer as episodes become longer"
    if reference:
        note += f"; on two cores of an AMD Zen 5 the whole recipe takes about {reference:g} minutes"
    return {
        "recipe": name, "preset": preset, "stages": stages, "minutes": round(sum(s["minutes"] for s in stages), 2),
        "disk_mb": round(sum(s["disk_mb"] for s in stages), 3), "memory_mb": round(memory_megabytes()), "note": note,
    }  # fmt: skip
