"""Stage: one thing that learns. A frozen dataclass whose fields are its hyper-parameters: also its command line and its card."""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NewType, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.policy import Policy
from sensorium.core.seeding import Seeds

Metrics = dict[str, float]
"""names like score/mean; functions of the seed only"""

State = dict[str, Tensor]
"""everything that a stage has learned and needs to go on: tensors and numbers (as tensors) only"""

Folder = NewType("Folder", str)
"""an earlier stage's folder, relative to the folder of the stage that names it"""

NOWHERE = Folder("")
"""no folder"""

Live = Any
"""what `open` opened and `run` closes: worlds, compiled functions, teachers; never saved"""


@runtime_checkable
class Stage(Protocol):
    """`run` knows nothing else of a stage."""

    @property
    def learned(self) -> tuple[str, ...]:
        """names in the state that others read of a finished stage: what the zoo keeps"""
        ...

    @property
    def steps(self) -> int: ...

    @property
    def checkpoint_every(self) -> int:
        """steps between two checkpoints"""
        ...

    def init(self, seeds: Seeds) -> State:
        """The state before the first step."""
        ...

    def open(self, state: State) -> Live:
        """Open what steps need."""
        ...

    def step(self, state: State, live: Live, seeds: Seeds) -> Metrics:
        """Learn for the smallest while after which state and files say everything; changes the state in place."""
        ...

    def policy(self, state: State) -> Policy:
        """What has been learned so far, ready to play."""
        ...


@runtime_checkable
class Closable(Protocol):
    """What `open` returned and has to be closed."""

    def close(self) -> None: ...


@runtime_checkable
class InWorld(Protocol):
    """A stage whose policy acts in a world of its own."""

    @property
    def world(self) -> World: ...


@runtime_checkable
class Sensed(Protocol):
    """A stage or world that alters observations by a specification of senses."""

    @property
    def senses(self) -> str: ...


@runtime_checkable
class Dreaming(Protocol):
    """A stage that has a learned model of its world."""

    def dream_world(self, temperature: float | None = None) -> World:
        """The learned model as a world; by default at the temperature of training."""
        ...

    def in_dream(self, state: State) -> tuple[World, Policy]:
        """The learned model as a world, and the agent as it plays there."""
        ...


@runtime_checkable
class Warmed(Protocol):
    """A stage whose first steps do not show how long a step takes."""

    @property
    def warmup_steps(self) -> int:
        """Steps after which the time of a step is typical."""
        ...


@runtime_checkable
class Recording(Protocol):
    """A stage that records episodes."""

    @property
    def recorded_in(self) -> World:
        """Where the episodes took place."""
        ...


@runtime_checkable
class Extending(Protocol):
    """A stage that adds to what an earlier one of its kind recorded."""

    @property
    def earlier(self) -> Folder: ...


def at_least(settings: object, **minimum: int) -> None:
    """One line for a field that is too small; for the `__post_init__` of stages and strategies."""
    for name, least in minimum.items():
        if getattr(settings, name) < least:
            raise Usage(f"{name} cannot be {getattr(settings, name)}; at least {least}")


S = TypeVar("S")


def placed(stage: S, folder: Path) -> S:
    """The stage with the earlier folders that it names as real paths, seen from its own folder."""
    return replace(stage, **{name: os.path.normpath(folder / place) for name, place in folders(stage).items()})  # type: ignore[type-var]


def unplaced(stage: S, folder: Path) -> S:
    """The stage with the places on this machine that it names as seen from its own folder: what a card may hold."""
    real = {name: place for name, place in folders(stage).items() if os.path.isabs(place)}
    return replace(stage, **{name: os.path.relpath(place, folder) for name, place in real.items()})  # type: ignore[type-var]


def folders(stage: object) -> dict[str, str]:
    """The folders that a stage names, by field."""
    return {f.name: getattr(stage, f.name) for f in fields(stage) if f.type is Folder and getattr(stage, f.name)}  # type: ignore[arg-type]
