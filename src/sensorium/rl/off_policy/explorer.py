"""What a paper about exploration plugs into the off-policy loop: an encoder, what trains it, and an intrinsic reward."""

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
    """An explorer at work on a state, which it changes in place."""

    encoder: Module
    by_critic: tuple[torch.optim.Optimizer, ...]
    """optimizers of the encoder that follow the critic's gradient; none: it ends at the codes"""

    def begin(self) -> None:
        """An episode begins."""
        ...

    def learn(self, obs: Tensor, following: Tensor, number: int) -> dict[str, Tensor]:
        """Update `number` of everything but critic and actor, from observations and those one step later; its metrics."""
        ...

    def intrinsic_reward(self, obs: Tensor, next_code: Float[Tensor, "rows n"], seeds: Seeds) -> Float[Tensor, "rows"]:
        """The reward of exploring, for observations and the codes of those after them; may update what it is measured against."""
        ...

    def summary(self, means: Metrics) -> Metrics:
        """What an episode's updates say beyond the means of their metrics."""
        ...


@runtime_checkable
class Explorer(Protocol):
    """Settings of what explores: a frozen dataclass. In a state its encoder lies under `representation/model/encoder.`"""

    @property
    def architecture(self) -> tuple[object, ...]:
        """What decides whether another one's networks fit, and mean the same."""
        ...

    @property
    def explores(self) -> bool:
        """Whether it has an intrinsic reward."""
        ...

    @property
    def consecutive(self) -> bool:
        """Whether it learns from pairs of consecutive observations."""
        ...

    def require(self, batch: int) -> None:
        """One line where it cannot learn from batches of this size. Errors: core.errors.Usage."""
        ...

    def encoder(self, observation: tuple[int, ...]) -> Module:
        """The encoder for observations of a shape; it has a `width`."""
        ...

    def init(self, observation: tuple[int, ...], seeds: Seeds) -> State:
        """Encoder and everything that explores, before their first update."""
        ...

    def open(self, state: State, observation: tuple[int, ...], represent: bool, dtype: torch.dtype) -> Exploration:
        """At work on a state; `represent`: whether the representation is trained; large products in `dtype`."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """Names in the state of its models, which a learner of a task begins with."""
        ...

    def carried(self, observation: tuple[int, ...]) -> tuple[str, ...]:
        """Names in the state that a finished pre-training keeps, its encoder's among them: all models that are needed, and what they remember."""
        ...
