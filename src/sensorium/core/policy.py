"""Policy: what acts. Its memory is passed, never hidden, so that a rollout can be cut, compacted and resumed."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

Memory = Any
"""A tuple of tensors (nested as one likes), batch first."""


@runtime_checkable
class Policy(Protocol):
    """Acts for a batch of rows. A population of P policies is a Policy for P x E rows, member-major."""

    @property
    def members(self) -> int:
        """P, the number of parameter vectors: row r is played by member r // (rows / P)."""
        ...

    def begin(self, seeds: Int[Tensor, "rows"]) -> Memory:
        """The memory before the first observation."""
        ...

    def act(self, obs: Tensor, memory: Memory, t: int | Tensor) -> tuple[Tensor, Memory]:
        """The actions and the memory after them; t counts the steps of the episode from 0."""
        ...

    def take(self, members: Int[Tensor, "some"]) -> "Policy":
        """The policy of some members, repeated and ordered as named: how a population follows a batch that is compacted."""
        ...


@runtime_checkable
class ActionAware(Protocol):
    """A policy whose memory holds the previous action, and must know where another one was taken in its place."""

    def with_action(self, memory: Memory, action: Tensor) -> Memory:
        """The memory with the action that was really taken, [rows, actions]."""
        ...


@runtime_checkable
class Stochastic(Protocol):
    """A policy that draws random numbers, and has a deterministic mode."""

    def deterministic(self) -> Policy:
        """The same policy without random numbers."""
        ...
