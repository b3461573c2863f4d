"""Env: a batch of worlds. World: the frozen description that opens one. Worlds written in torch are pure functions as well."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.core.errors import Usage

State = Any
"""A tuple of tensors (nested as one likes), batch first."""


class Step(NamedTuple):
    """What a batch of worlds answers to a batch of actions."""

    obs: Float[Tensor, "rows *obs"]
    reward: Float[Tensor, "rows"]
    terminated: Bool[Tensor, "rows"]
    truncated: Bool[Tensor, "rows"]


@dataclass(frozen=True)
class EnvSpec:
    """What a world shows and takes."""

    name: str
    observation: tuple[int, ...]
    """shape of one observation"""
    action: int
    """number of continuous actions, each in [-1, 1] unless `low` says otherwise"""
    horizon: int
    """steps after which an episode is truncated"""
    sensors: tuple[str, ...] = ()
    """names of the channels of a vector observation; without them an observation of three axes that ends in 3 is a picture, uint8"""
    low: tuple[float, ...] = ()
    """lowest value of each action, where that is not -1"""
    rows: int = 0
    """most rows that this machine should have open at once; 0: as many as one likes"""


def require_fit(trained: EnvSpec, spec: EnvSpec) -> None:
    """One line where an agent that was trained on `trained` cannot play in `spec`: other actions, or observations of another kind.

    Vectors of other lengths pass: whether more or fewer sensors can be read is up to the agent. Errors: core.errors.Usage.
    """
    vectors = len(trained.observation) == len(spec.observation) == 1
    if trained.action != spec.action or (trained.observation != spec.observation and not vectors):
        raise Usage(
            f"the agent was trained in {trained.name} (observations {trained.observation}, {trained.action} actions) and cannot play in "
            f"{spec.name} (observations {spec.observation}, {spec.action} actions)"
        )


@runtime_checkable
class Env(Protocol):
    """A batch of worlds that keeps its own state. No autoreset: a row that has ended repeats its last observation with reward 0."""

    spec: EnvSpec

    def reset(self, seeds: Int[Tensor, "rows"]) -> Tensor: ...

    def step(self, action: Tensor) -> Step: ...

    def close(self) -> None:
        """Free what simulators hold: processes, threads, memory. The Env cannot be used afterwards."""
        ...


@runtime_checkable
class World(Protocol):
    """The frozen description of a world, from which an Env is opened."""

    @property
    def spec(self) -> EnvSpec: ...

    def open(self) -> Env: ...


@runtime_checkable
class TrainingVariant(Protocol):
    """A world that pays otherwise, or ends earlier, while an agent is evolved in it."""

    @property
    def training(self) -> World: ...


@runtime_checkable
class MultiView(Protocol):
    """An Env whose simulators can also be seen as other worlds see them: a teacher that was trained there keeps its own observations."""

    def views(self, world: World) -> bool:
        """Whether `world` is another view of these simulators."""
        ...

    def shown(self, world: World) -> Tensor:
        """What `world` would show of the present step."""
        ...


@runtime_checkable
class TorchWorld(Protocol):
    """A world whose physics is torch: pure functions, so that world and policy compile as one step."""

    @property
    def spec(self) -> EnvSpec: ...

    def open(self) -> Env: ...

    def initial(self, seeds: Int[Tensor, "rows"]) -> State:
        """The first state of each row, a function of its seed."""
        ...

    def observe(self, state: State) -> Tensor:
        """What a state looks like."""
        ...

    def transition(self, state: State, action: Tensor, t: int | Tensor) -> tuple[State, Step]:
        """The state after step t (the first is 0) and what it shows; knows nothing of rows that have ended."""
        ...


@contextmanager
def closing(world: World) -> Iterator[Env]:
    """A world's Env, closed at the end: simulators hold processes, threads and pictures' memory."""
    env = world.open()
    try:
        yield env
    finally:
        env.close()


def select(mask: Bool[Tensor, "rows"], yes: State, no: State) -> State:
    """Row by row `yes` where the mask is set, else `no`, through nested tuples; axes of length 1 are as large as the other's."""
    if isinstance(yes, tuple):
        parts = [select(mask, a, b) for a, b in zip(yes, no, strict=True)]
        return type(yes)(*parts) if hasattr(yes, "_fields") else tuple(parts)
    return torch.where(mask.view(-1, *[1] * (yes.dim() - 1)), yes, no)


def take(state: State, rows: Int[Tensor, "some"]) -> State:
    """Some rows of a nested tuple of tensors. Rows stand innermost in memory, where they are lanes, though first in shape."""
    if isinstance(state, tuple):
        parts = [take(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state.movedim(0, -1).index_select(-1, rows).movedim(-1, 0)


class TorchEnv:
    """An Env over a TorchWorld: holds the state, the clock and which rows have ended."""

    def __init__(self, world: TorchWorld):
        self.world, self.spec = world, world.spec

    def close(self) -> None:
        """Tensors need no closing."""

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
