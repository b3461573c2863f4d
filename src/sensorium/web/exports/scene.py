"""What an exported scene is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.stage import Stage, State


@dataclass(frozen=True)
class Agent:
    """An agent that is being exported: its folder as the user gave it, the stage and its state."""

    folder: str
    stage: Stage
    state: State

    @classmethod
    def of(cls, folder: str | Path) -> "Agent":
        """The agent of a folder. Errors: as `core.checkpoint.restored`."""
        return cls(str(folder), *checkpoint.restored(folder))

    def refused(self, reason: str) -> Usage:
        """The error for an agent that cannot run in a browser."""
        return Usage(f"{self.folder} cannot run in a browser alone: {reason}; `sensorium play {self.folder}` shows it")


@dataclass(frozen=True)
class Scene:
    """A scene of the static page: `kind` names the TypeScript module, `data` is its JSON file, `files` are further ones by address."""

    kind: str
    title: str
    data: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """lines for the user"""
    runtime: bool = False
    """whether the scene needs onnxruntime-web"""
