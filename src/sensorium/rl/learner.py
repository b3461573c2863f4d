"""The interface of actor-critic learners in the off-policy loop."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.seeding import Seeds
from sensorium.core.stage import State
from sensorium.nets.heads import Actor
from sensorium.rl.targets import Batch, Noise


@runtime_checkable
class Learning(Protocol):
    """A learner on a state, which it updates in place."""

    actor: Actor

    def update(self, batch: Batch, number: int, noise: Noise, step: int, also: tuple[torch.optim.Optimizer, ...] = ()) -> dict[str, Tensor]:
        """Update `number` after `step` agent steps; `also`: optimizers of the encoder that take the critic's gradient. Returns the metrics."""
        ...


@runtime_checkable
class Learner(Protocol):
    """Settings of a learner: a frozen dataclass. `width` is that of codes; `states` says that codes are the world's states, not pixels'."""

    @property
    def returns(self) -> int:
        """n of the n-step returns."""
        ...

    @property
    def discount(self) -> float: ...

    @property
    def sizes(self) -> tuple[str, int, int]:
        """The settings that have to be equal for networks to be exchanged."""
        ...

    def actor(self, width: int, actions: int, states: bool) -> Actor: ...

    def init(self, width: int, actions: int, states: bool, seeds: Seeds) -> State:
        """The initial state."""
        ...

    def open(self, state: State, width: int, actions: int, states: bool) -> Learning: ...

    def act(self, actor: Actor, code: Float[Tensor, "rows n"], noise: Float[Tensor, "rows a"] | None, step: int) -> Float[Tensor, "rows a"]:
        """Actions, without random numbers where there is no `noise`; `step`: agent steps so far."""
        ...
