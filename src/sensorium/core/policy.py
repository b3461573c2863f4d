"""Policy: maps observations to actions. Its memory is an explicit argument, so that rollouts can be split, compacted and resumed."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.seeding import uniform

Memory = Any
"""A (nested) tuple of tensors, batch first."""


@runtime_checkable
class Policy(Protocol):
    """Acts for a batch of rows. A population of P policies with E episodes each is a Policy for P x E rows, member-major."""

    @property
    def members(self) -> int:
        """P, the number of parameter vectors: member r // (rows / P) acts in row r."""
        ...

    def begin(self, seeds: Int[Tensor, "rows"]) -> Memory:
        """The initial memory."""
        ...

    def act(self, obs: Tensor, memory: Memory, t: int | Tensor) -> tuple[Tensor, Memory]:
        """Actions [rows, actions] and the next memory; t counts the steps of the episode from 0."""
        ...

    def take(self, members: Int[Tensor, "some"]) -> "Policy":
        """The policy of the given members, repeated and ordered as given; used when a batch is compacted."""
        ...


@runtime_checkable
class ActionAware(Protocol):
    """A recurrent policy whose memory holds its previous action."""

    def with_action(self, memory: Memory, action: Tensor) -> Memory:
        """The memory with its previous action replaced by the executed one, [rows, actions]."""
        ...


def with_action(policy: Policy, memory: Memory, action: Tensor) -> Memory:
    """The memory of any policy after this action, [rows, actions], was executed instead of its own."""
    return policy.with_action(memory, action) if isinstance(policy, ActionAware) else memory


@runtime_checkable
class Stochastic(Protocol):
    """A stochastic policy with a deterministic mode."""

    def deterministic(self) -> Policy:
        """The same policy without random numbers."""
        ...


@runtime_checkable
class Attentive(Protocol):
    """A policy that weighs its inputs, sensors or patches in any order and number, by attention."""

    def attention(self, obs: Tensor, memory: Memory) -> Float[Tensor, "rows inputs code"]:
        """The weight of each input in each row of the code, for an observation and the memory before it."""
        ...


@dataclass(frozen=True)
class Uniform:
    """A policy of uniform random actions in [-1, 1], or random choices: functions of the row's seed."""

    actions: int
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "Uniform":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        return seeds

    def act(self, obs: Tensor, memory: Tensor, t: int | Tensor) -> tuple[Tensor, Any]:
        return 2 * uniform(memory, t, self.actions) - 1, memory


@runtime_checkable
class MixedPrecision(Protocol):
    """A policy that may compute in another type than float32."""

    def float32(self) -> Policy:
        """The same policy in float32 throughout."""
        ...
