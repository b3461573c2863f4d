"""Stage: one part of training. A frozen dataclass whose fields are its hyperparameters, command-line options and card."""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NewType, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.policy import Policy
from sensorium.core.seeding import Seeds

Metrics = dict[str, float]
"""name (e.g. score/mean) -> value, deterministic given the seed"""

State = dict[str, Tensor]
"""everything a stage has learned and needs to resume: tensors only, numbers as tensors"""

Folder = NewType("Folder", str)
"""an earlier stage's folder, relative to the folder of the stage that refers to it"""

NOWHERE = Folder("")
"""no folder"""

Live = Any
"""the result of `open`, closed by `run`: worlds, compiled functions, teachers; never saved"""


@runtime_checkable
class Stage(Protocol):
    """The interface that `run` uses."""

    @property
    def learned(self) -> tuple[str, ...]:
        """names in the state that other stages read from a finished stage; the zoo keeps only these"""
        ...

    @property
    def steps(self) -> int: ...

    @property
    def checkpoint_every(self) -> int:
        """steps between two checkpoints"""
        ...

    def init(self, seeds: Seeds) -> State:
        """The initial state."""
        ...

    def open(self, state: State) -> Live:
        """Open the resources that `step` needs."""
        ...

    def step(self, state: State, live: Live, seeds: Seeds) -> Metrics:
        """Train for one resumable unit, after which state and files are complete; updates the state in place. Returns the metrics."""
        ...

    def policy(self, state: State) -> Policy:
        """The policy learned so far."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A result of `open` that has to be closed."""

    def close(self) -> None: ...


@runtime_checkable
class InWorld(Protocol):
    """A stage with a world in which its policy acts."""

    @property
    def world(self) -> World: ...


@runtime_checkable
class Sensed(Protocol):
    """A stage or world that transforms observations by a senses specification."""

    @property
    def senses(self) -> str: ...


@runtime_checkable
class Dreaming(Protocol):
    """A stage that has a learned model of its world."""

    def dream_world(self, temperature: float | None = None) -> World:
        """The learned model as a world; None: the temperature used in training."""
        ...

    def in_dream(self, state: State) -> tuple[World, Policy]:
        """The learned model as a world, and the agent's policy in it. Errors: core.errors.Usage for a model without reward and end."""
        ...

    def dream_policy(self, state: State) -> Policy:
        """The agent's policy in the learned model, whether or not that predicts a reward."""
        ...


@runtime_checkable
class Decoding(Protocol):
    """A stage whose agent encodes images as latent vectors z and decodes them."""

    def encode(self, frames: Tensor) -> tuple[Float[Tensor, "rows z"], Float[Tensor, "rows z"]]:
        """Mean and log variance of z for observed images."""
        ...

    def decode(self, z: Float[Tensor, "rows z"]) -> Any:
        """Images of latent vectors, a NumPy array uint8 [rows, height, width, 3]. Errors: core.errors.Usage for agents without images."""
        ...


@runtime_checkable
class Prototypical(Protocol):
    """A stage that learns prototypes of observations."""

    def nearest_to_prototypes(self, state: State, observations: Tensor) -> Int[Tensor, "prototypes"]:
        """The index of the observation nearest to each prototype."""
        ...


@runtime_checkable
class Exploring(Protocol):
    """A stage that explores without the reward of a task, and counts the cells of a grid over coordinates that it visits."""

    @property
    def bins(self) -> int:
        """Cells of the grid along each coordinate."""
        ...

    def cells(self, places: Float[Tensor, "rows k"]) -> Int[Tensor, "rows"]:
        """The number of the cell of each place, whose coordinates are in [0, 1]."""
        ...


@runtime_checkable
class Architectural(Protocol):
    """A stage that learns the parameters of an architecture."""

    @property
    def agent(self) -> Any:
        """The architecture."""
        ...


@runtime_checkable
class Warmed(Protocol):
    """A stage whose first steps take less time than later ones."""

    @property
    def warmup_steps(self) -> int:
        """Number of steps before the time per step is typical."""
        ...


@runtime_checkable
class Distributed(Protocol):
    """A stage whose steps are jobs, which can be computed elsewhere."""

    @property
    def where(self) -> str:
        """Where its jobs are computed under the current `core.jobs.on`, and why."""
        ...


@runtime_checkable
class Recording(Protocol):
    """A stage that records episodes."""

    @property
    def recorded_in(self) -> World:
        """The world of the recorded episodes."""
        ...


@runtime_checkable
class Extending(Protocol):
    """A stage that extends the episodes of an earlier stage of the same type."""

    @property
    def earlier(self) -> Folder: ...


def at_least(settings: object, **minimum: int) -> None:
    """Check minimum values of fields in a `__post_init__`. Errors: core.errors.Usage for a field that is too small."""
    for name, least in minimum.items():
        if getattr(settings, name) < least:
            raise Usage(f"{name} cannot be {getattr(settings, name)}; at least {least}")


def below_one(settings: object, name: str) -> None:
    """Check a field in [0, 1), such as a probability, in a `__post_init__`. Errors: core.errors.Usage for another value."""
    if not 0 <= getattr(settings, name) < 1:
        raise Usage(f"{name} cannot be {getattr(settings, name)}; at least 0, less than 1")


S = TypeVar("S")


def placed(stage: S, folder: Path) -> S:
    """The stage with its Folder fields resolved against `folder`, the stage's own folder."""
    return replace(stage, **{name: os.path.normpath(folder / place) for name, place in folders(stage).items()})  # type: ignore[type-var]


def unplaced(stage: S, folder: Path) -> S:
    """The stage with absolute Folder fields made relative to `folder`, as cards store them."""
    real = {name: place for name, place in folders(stage).items() if os.path.isabs(place)}
    return replace(stage, **{name: os.path.relpath(place, folder) for name, place in real.items()})  # type: ignore[type-var]


def folders(stage: object) -> dict[str, str]:
    """The non-empty Folder fields of a stage, by name."""
    return {f.name: getattr(stage, f.name) for f in fields(stage) if f.type is Folder and getattr(stage, f.name)}  # type: ignore[arg-type]
