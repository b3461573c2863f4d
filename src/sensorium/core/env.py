"""Env: a batch of environments with state. World: the frozen description that opens one. A TorchWorld also has pure functions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# before Python 3.12 `isinstance` with a Protocol of `typing` evaluates `spec`, which may load a simulator
from typing_extensions import Protocol, runtime_checkable

from sensorium.core.errors import Usage

State = Any
"""A (nested) tuple of tensors, batch first."""


class Step(NamedTuple):
    """The result of one step of a batch."""

    obs: Float[Tensor, "rows *obs"]
    reward: Float[Tensor, "rows"]
    terminated: Bool[Tensor, "rows"]
    truncated: Bool[Tensor, "rows"]


@dataclass(frozen=True)
class EnvSpec:
    """Shapes and bounds of observations and actions, and the length of an episode."""

    name: str
    observation: tuple[int, ...]
    """shape of one observation"""
    action: int
    """number of continuous actions, each in [-1, 1] unless `low` says otherwise"""
    horizon: int
    """steps after which an episode is truncated"""
    sensors: tuple[str, ...] = ()
    """names of the channels of a vector observation, where it has them"""
    low: tuple[float, ...] = ()
    """lower bound of each action; empty: -1"""
    bounds: tuple[tuple[float, float], ...] = ()
    """the environment's own lower and upper bound of each action, where the world scales them from [-1, 1]; empty: actions are not scaled"""
    rows: int = 0
    """largest recommended number of rows of one Env; 0: no limit"""
    discrete: bool = False
    """whether an action is a choice: the one-hot vector of one of `action` buttons, or logits of which the largest counts"""
    kind: Literal["vector", "image", "frames", "patches"] = "vector"
    """observation: float vector [n]; uint8 image [height, width, 3]; stacked uint8 frames [channels, height, width]; uint8 patches [n, frames, pixels]"""
    stack: int = 1
    """number of consecutive frames in an observation of kind frames, oldest first; the first frame of an episode is repeated"""
    fixed_length: bool = False
    """whether every episode lasts to the horizon"""
    domain: str = ""
    """worlds of one domain can share a pre-trained agent; empty: the name is the domain"""


def require_fit(trained: EnvSpec, spec: EnvSpec) -> None:
    """Check that an agent trained on `trained` can play in `spec`: same actions, same kind of observation.

    Vectors of different lengths pass: the agent itself checks the number of sensors. Errors: core.errors.Usage.
    """
    vectors = trained.kind == spec.kind == "vector"
    actions = (trained.action, trained.discrete) == (spec.action, spec.discrete)
    if not actions or trained.kind != spec.kind or (trained.observation != spec.observation and not vectors):
        theirs, ours = (
            f"{s.name} ({s.kind} observations {s.observation}, {s.action} {'discrete' if s.discrete else 'continuous'} actions)"
            for s in (trained, spec)
        )
        raise Usage(f"the agent was trained in {theirs} and cannot play in {ours}")


@runtime_checkable
class Env(Protocol):
    """A batch of environments with state. No autoreset: a row that has ended repeats its last observation with reward 0."""

    spec: EnvSpec

    def reset(self, seeds: Int[Tensor, "rows"]) -> Tensor: ...

    def step(self, action: Tensor) -> Step: ...

    def close(self) -> None:
        """Release processes, threads and memory. The Env cannot be used afterwards."""
        ...


@runtime_checkable
class World(Protocol):
    """The frozen description of an environment; `open` creates an Env."""

    @property
    def spec(self) -> EnvSpec: ...

    def open(self) -> Env: ...


@runtime_checkable
class TrainingVariant(Protocol):
    """A world with another reward or an earlier end of episodes for training by evolution."""

    @property
    def training(self) -> World: ...


@runtime_checkable
class Recordable(Protocol):
    """A world that can take over what was recorded in the environment that it wraps."""

    def observed(self, obs: Any) -> Any:
        """The environment's observation as this world gives it."""
        ...

    def acted(self, action: Any) -> Any:
        """The environment's action as this world takes it."""
        ...


@runtime_checkable
class Resizable(Protocol):
    """A world whose images can have any size."""

    def with_pixels(self, side: int) -> World:
        """The world with square images of this side."""
        ...


@runtime_checkable
class StudentVariant(Protocol):
    """A world whose students act on other observations of the same task, e.g. on patches instead of whole frames."""

    @property
    def student(self) -> World: ...


@runtime_checkable
class MultiView(Protocol):
    """An Env that also provides the observations of other worlds with the same simulator, e.g. those a teacher was trained on."""

    def views(self, world: World) -> bool:
        """Whether `shown(world)` is available."""
        ...

    def shown(self, world: World) -> Tensor:
        """The current observation as `world` defines it."""
        ...


@runtime_checkable
class FrameSkip(Protocol):
    """A world whose step is one or more frames of a simulator (action repeat)."""

    @property
    def repeat(self) -> int:
        """Frames per step."""
        ...

    @property
    def frames(self) -> int:
        """Frames per episode of full length."""
        ...


def frames_per_step(world: World) -> int:
    """Simulator frames per step of a world; 1 where it does not count them."""
    return world.repeat if isinstance(world, FrameSkip) else 1


def frames_per_episode(world: World) -> int:
    """Simulator frames per episode of full length; steps where the world does not count frames."""
    return world.frames if isinstance(world, FrameSkip) else world.spec.horizon


class Coordinate(NamedTuple):
    """A coordinate of a state: an entry, or the angle atan2(sine, cosine) of two entries; with its range."""

    name: str
    entry: str
    low: float
    high: float
    cosine: str = ""


@runtime_checkable
class Coordinates(Protocol):
    """A world with coordinates in which the coverage of exploration is measured."""

    @property
    def where(self) -> tuple[Coordinate, ...]:
        """The coordinates; empty: coverage is not measured."""
        ...

    @property
    def from_states(self) -> World:
        """The same world with states as observations, without rendering."""
        ...

    def places(self, states: Float[Tensor, "rows n"]) -> Float[Tensor, "rows k"]:
        """The coordinates of states, each scaled from its range to [0, 1]."""
        ...


def coordinates(world: World) -> tuple[Coordinate, ...]:
    """The coordinates of a world; () where it has none."""
    return world.where if isinstance(world, Coordinates) else ()


@runtime_checkable
class WithStates(Protocol):
    """An Env that also provides the states under its observations."""

    def states(self) -> Float[Tensor, "rows n"]:
        """The current states, on the CPU."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """An Env that renders images of its rows."""

    def picture(self, row: int = 0) -> Any:
        """An image of one row, a NumPy array uint8 [height, width, 3]. Errors: core.errors where this Env cannot render."""
        ...


@runtime_checkable
class Articulated(Protocol):
    """An Env of bodies made of capsules."""

    def segments(self, row: int = 0) -> list[tuple[float, ...]]:
        """The capsules of one row, each (x1, y1, z1, x2, y2, z2, radius) in metres, z up; the first one is the trunk."""
        ...


@runtime_checkable
class Cart(Protocol):
    """A world of a cart with a pole, in torch, that a force from outside may push."""

    @property
    def limits(self) -> tuple[float, float]:
        """Metres from the middle of the track to either end, and the length of the pole."""
        ...

    def pose(self, state: State) -> tuple[float, float]:
        """Position in metres and angle in radians of the first row; 0 is upright, and positive angles lean left."""
        ...

    def pushed(self, state: State, newtons: float) -> State:
        """The state after an additional force on the cart during one step."""
        ...


@runtime_checkable
class Steerable(Protocol):
    """A world that a person can play with the keys of the arrows and the space bar."""

    @property
    def steering(self) -> dict[str, tuple[str, tuple[float, ...]]]:
        """Key (left, right, up, down, space) -> what it does and its action; the actions of held keys are added."""
        ...


@runtime_checkable
class TorchWorld(Protocol):
    """A world implemented in torch as pure functions, so that world and policy compile as one step."""

    @property
    def spec(self) -> EnvSpec: ...

    def open(self) -> Env: ...

    def initial(self, seeds: Int[Tensor, "rows"]) -> State:
        """The initial state of each row, a function of its seed."""
        ...

    def observe(self, state: State) -> Tensor:
        """The observation of a state."""
        ...

    def transition(self, state: State, action: Tensor, t: int | Tensor) -> tuple[State, Step]:
        """The state after step t (from 0) and the step's result; it does not treat rows that have ended."""
        ...


@contextmanager
def closing(world: World) -> Iterator[Env]:
    """A world's Env, closed on exit."""
    env = world.open()
    try:
        yield env
    finally:
        env.close()


def select(mask: Bool[Tensor, "rows"], yes: State, no: State) -> State:
    """`torch.where(mask, yes, no)` per row, through nested tuples; axes of length 1 broadcast."""
    if isinstance(yes, tuple):
        parts = [select(mask, a, b) for a, b in zip(yes, no, strict=True)]
        return type(yes)(*parts) if hasattr(yes, "_fields") else tuple(parts)
    return torch.where(mask.view(-1, *[1] * (yes.dim() - 1)), yes, no)


def take(state: State, rows: Int[Tensor, "some"]) -> State:
    """The given rows of a nested tuple of tensors. Results have rows innermost in memory, for vectorisation."""
    if isinstance(state, tuple):
        parts = [take(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state.movedim(0, -1).index_select(-1, rows).movedim(-1, 0)


class TorchEnv:
    """An Env over a TorchWorld: holds the state, the step count and a mask of ended rows."""

    def __init__(self, world: TorchWorld):
        self.world, self.spec = world, world.spec

    def close(self) -> None:
        """Nothing to release."""

    def reset(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        self.state = self.world.initial(seeds)
        self.t = 0
        self.ended = torch.zeros_like(seeds, dtype=torch.bool)
        self.obs = self.world.observe(self.state)
        return self.obs

    def step(self, action: Tensor) -> Step:
        state, step = self.world.transition(self.state, action, self.t)
        self.state = select(self.ended, self.state, state)
        obs = select(self.ended, self.obs, step.obs)
        step = Step(obs, torch.where(self.ended, 0.0, step.reward), step.terminated & ~self.ended, step.truncated & ~self.ended)
        self.ended = self.ended | step.terminated | step.truncated
        self.obs, self.t = obs, self.t + 1
        return step
