"""Recipe: a function from flags to named stages in training order, with its description for `list`."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal

from sensorium.core import zoo
from sensorium.core.errors import Usage, nearest
from sensorium.core.stage import Folder, Stage

Preset = Literal["tiny", "laptop", "paper"]
PRESETS = ("tiny", "laptop", "paper")
Stages = dict[str, Stage]
"""name -> stage, in training order"""


@dataclass(frozen=True)
class Recipe:
    """The settings that reproduce one published result."""

    name: str
    build: Callable[..., Stages]
    expected: str
    """our result, and the published one with its source"""
    minutes: dict[str, float]
    """measured or estimated minutes on two cores, by preset"""
    extras: tuple[str, ...] = ()
    """optional dependencies that it needs"""

    @property
    def arguments(self) -> dict[str, Any]:
        """The flags other than `preset`, with their defaults."""
        return {n: p.default for n, p in signature(self.build).parameters.items() if n != "preset" and p.default is not Parameter.empty}

    def stages(self, preset: str = "laptop", **flags: Any) -> Stages:
        """The stages for a preset and flags. Errors: core.errors.Usage for an unknown preset or flag, or a missing folder."""
        if preset not in PRESETS:
            raise Usage(nearest(preset, list(PRESETS), "preset"))
        return self.build(preset=preset, **{name: self._flag_value(name, value) for name, value in flags.items()})

    def _flag_value(self, flag: str, value: Any) -> Any:
        """The value of a flag; a folder becomes an absolute path, which `unplaced` makes relative again."""
        if flag not in self.arguments:
            raise Usage(nearest(flag, list(self.arguments), f"argument of {self.name}"))
        if signature(self.build).parameters[flag].annotation is not Folder or not value:
            return value
        value = str(zoo.located(Path(value)))
        if not os.path.isdir(value):
            raise Usage(f"no folder {value}; --{flag} is a run, a stage or a zoo agent (`sensorium list` shows the zoo)")
        return Folder(os.path.abspath(value))


def add_stage(stages: Stages, part: str, number: int, stage: Stage) -> Folder:
    """Add a stage under the name `part`, or `part-number` from round 2 on. Returns its folder, relative to the other stages' folders."""
    name = f"{part}-{number}" if number > 1 else part
    stages[name] = stage
    return Folder(f"../{len(stages)}-{name}")
