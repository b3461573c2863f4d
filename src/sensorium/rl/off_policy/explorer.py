"""The interface of exploration methods in the off-policy loop: an encoder, its training, and an intrinsic reward."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics, State


class Encoder(Protocol):
    """A module from observations [rows, ...] to codes [rows, width]."""

    width: int

    def __call__(self, obs: Tensor, /) -> Float[Tensor, "rows width"]: ...


@runtime_checkable
class Exploration(Protocol):
    """An exploration method on a state, which it updates in place."""

    encoder: Module
    by_critic: tuple[torch.optim.Optimizer, ...]
    """optimizers of the encoder for the critic's gradient; empty: codes are detached"""

    def begin(self) -> None:
        """Called at the start of each step of the stage."""
        ...

    def learn(self, obs: Tensor, following: Tensor, number: int) -> dict[str, Tensor]:
        """Update `number` of everything but critic and actor, from consecutive observations; returns its metrics."""
        ...

    def intrinsic_reward(self, obs: Tensor, next_code: Float[Tensor, "rows n"], seeds: Seeds) -> Float[Tensor, "rows"]:
        """The intrinsic reward of observations and the codes of the next ones; may update the method's statistics."""
        ...

    def summary(self, means: Metrics) -> Metrics:
        """Metrics of a step in addition to the means of its updates' metrics."""
        ...


@runtime_checkable
class Explorer(Protocol):
    """Settings of an exploration method: a frozen dataclass. In a state its encoder is under `representation/model/encoder.`"""

    @property
    def architecture(self) -> tuple[object, ...]:
        """The settings that have to be equal for networks to be exchanged."""
        ...

    @property
    def explores(self) -> bool:
        """Whether it has an intrinsic reward."""
        ...

    @property
    def consecutive(self) -> bool:
        """Whether it trains on pairs of consecutive observations."""
        ...

    def require(self, batch: int) -> None:
        """Check that it can train on batches of this size. Errors: core.errors.Usage."""
        ...

    def encoder(self, observation: tuple[int, ...]) -> Module:
        """The encoder for observations of this shape, with an attribute `width`."""
        ...

    def init(self, observation: tuple[int, ...], seeds: Seeds) -> State:
        """The initial state of the encoder and the exploration method."""
        ...

    def open(self, state: State, observation: tuple[int, ...], represent: bool, dtype: torch.dtype) -> Exploration:
        """Open on a state. `represent`: whether the representation is trained; `dtype`: of large products."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """First parts of the state names of its models, which fine-tuning starts from."""
        ...

    def carried(self, observation: tuple[int, ...]) -> tuple[str, ...]:
        """State names kept after pre-training: the encoder, other needed models and their buffers."""
        ...
