"""Recipe: a function whose keyword arguments are flags, returning named stages in order; and what `list` says of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Literal

from sensorium.core.errors import Usage, nearest
from sensorium.core.stage import Folder, Stage

Preset = Literal["tiny", "laptop", "paper"]
PRESETS = ("tiny", "laptop", "paper")
Stages = dict[str, Stage]
"""name -> stage, in training order"""


@dataclass(frozen=True)
class Recipe:
    """The settings that reproduce one published number."""

    name: str
    build: Callable[..., Stages]
    expected: str
    """the number that comes out, and the published one with its source"""
    minutes: dict[str, float]
    """measured or estimated minutes on two cores, by preset"""
    extras: tuple[str, ...] = ()
    """extras that it needs"""

    @property
    def arguments(self) -> dict[str, Any]:
        """The flags besides `preset`, with their defaults."""
        return {n: p.default for n, p in signature(self.build).parameters.items() if n != "preset" and p.default is not Parameter.empty}

    def stages(self, preset: str = "laptop", **flags: Any) -> Stages:
        """The stages under a preset."""
        if preset not in PRESETS:
            raise Usage(nearest(preset, list(PRESETS), "preset"))
        return self.build(preset=preset, **{name: self.found(name, value) for name, value in flags.items()})

    def found(self, flag: str, value: Any) -> Any:
        """The value of a flag; a folder as its place on this machine, which `unplaced` takes out again."""
        if flag not in self.arguments:
            raise Usage(nearest(flag, list(self.arguments), f"argument of {self.name}"))
        if signature(self.build).parameters[flag].annotation is not Folder or not value:
            return value
        if not os.path.isdir(value):
            raise Usage(f"no folder {value}; --{flag} is a run, a stage or a zoo agent (`sensorium list` shows the zoo)")
        return Folder(os.path.abspath(value))
