"""Agent: an architecture whose parameters are one vector, what its vectors may start from, and the optional abilities that learners ask for."""

import math
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.policy import Memory, Policy
from sensorium.core.seeding import normal
from sensorium.nets.flat import Layout


@runtime_checkable
class Agent(Protocol):
    """An architecture: a frozen dataclass that turns vectors of parameters into a policy."""

    @property
    def layout(self) -> Layout:
        """Names and shapes of the tensors of which a vector consists."""
        ...

    def policy(self, vectors: Float[Tensor, "*members n"]) -> Policy:
        """The policy of one vector, or of a population of them."""
        ...


@runtime_checkable
class Gated(Protocol):
    """An agent with an LSTM whose forget gates have biases of their own."""

    @property
    def forget_gates(self) -> tuple[str, int, int]:
        """The tensor's name, and the first and the last but one of its numbers; of an agent without memory none: ("", 0, 0)."""
        ...


@runtime_checkable
class Student(Protocol):
    """A policy that can be taught by gradient: `say` is `act` before anything is chosen, and has a gradient."""

    def begin(self, seeds: Tensor) -> Memory: ...

    def say(self, obs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """What the agent would do, with its gradient, and its memory afterwards."""
        ...

    def with_action(self, memory: Memory, action: Tensor) -> Memory:
        """The memory of an agent in whose place something else was done."""
        ...


@runtime_checkable
class SequenceStudent(Student, Protocol):
    """A student with a recurrent neuron for each sensor, which can be followed through many known steps at once."""

    def follow(self, obs: Tensor, before: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [steps, rows, sensors, units] after each step and the last cell states, where it is known what was done before each."""
        ...

    def answer(self, obs: Tensor, hidden: Tensor) -> Tensor:
        """What the agent would do while its neurons have these hidden states."""
        ...


@runtime_checkable
class Clonable(Protocol):
    """An agent whose policy is a Student."""

    @property
    def layout(self) -> Layout: ...

    def policy(self, vectors: Float[Tensor, "*members n"]) -> Any: ...

    def student(self, vector: Float[Tensor, "n"]) -> Student:
        """The policy of one vector, to be taught."""
        ...


@runtime_checkable
class SequenceAgent(Clonable, Protocol):
    """An agent whose policy is a SequenceStudent."""

    @property
    def hidden(self) -> int:
        """Units of the recurrent neuron of each sensor."""
        ...


def first_vector(agent: Agent, init_scale: float, forget_bias: float, seed: int) -> Float[Tensor, "n"]:
    """Random first parameters: weights with sd init_scale / sqrt(inputs), scales 1, biases 0 but for `forget_bias` at the forget gates of an LSTM."""
    noise = agent.layout.split(normal(torch.tensor([seed]), 0, agent.layout.size)[0])
    tensors = {name: t * init_scale * math.prod(t.shape[1:]) ** -0.5 * ("bias" not in name) for name, t in noise.items()}
    tensors |= {name: torch.ones_like(t) for name, t in tensors.items() if name.endswith("norm.weight") and init_scale}
    if isinstance(agent, Gated) and agent.forget_gates[0]:
        name, begin, end = agent.forget_gates
        tensors[name][begin:end] = forget_bias
    return agent.layout.join(tensors)


@runtime_checkable
class OfAgent(Protocol):
    """A stage that trains an Agent, whose parameters lie in its state as `agent`."""

    @property
    def agent(self) -> Agent: ...


def start_from(place: str, agent: Agent) -> Float[Tensor, "n"]:
    """The parameters of an earlier agent of the same kind, whatever it was trained by.

    Errors: core.errors.Usage where the folder holds none, or one of another kind.
    """
    folder = checkpoint.agent(place)
    stage, loaded = checkpoint.stage(folder), checkpoint.load(folder)
    if loaded is None or not isinstance(stage, OfAgent) or stage.agent != agent:
        raise Usage(f"{place} holds no agent of the kind that is to be trained ({type(agent).__name__})")
    return loaded[1]["agent"].float()
