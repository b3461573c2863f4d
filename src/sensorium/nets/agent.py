"""Agent: an architecture whose parameters form one vector; initial vectors; optional protocols for learning by gradient."""

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
    """An architecture: a frozen dataclass that makes policies from parameter vectors."""

    @property
    def layout(self) -> Layout:
        """Names and shapes of the tensors in a vector."""
        ...

    def policy(self, vectors: Float[Tensor, "*members n"]) -> Policy:
        """The policy of one vector [n], or of a population [members, n]."""
        ...


@runtime_checkable
class Gated(Protocol):
    """An agent with an LSTM that has forget-gate biases."""

    @property
    def forget_gates(self) -> tuple[str, int, int]:
        """Name of the bias tensor and the index range [begin, end) of the forget gates; ("", 0, 0) without an LSTM."""
        ...


@runtime_checkable
class Student(Protocol):
    """A policy that can be trained by gradient: `predict` is `act` with gradients, before an action is selected."""

    def begin(self, seeds: Tensor) -> Memory: ...

    def predict(self, obs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Differentiable outputs [rows, actions] and the next memory."""
        ...

    def with_action(self, memory: Memory, action: Tensor) -> Memory:
        """The memory with its previous action replaced by the executed one."""
        ...


@runtime_checkable
class SequenceStudent(Student, Protocol):
    """A student with one recurrent neuron per sensor that can be unrolled over a recorded sequence."""

    def unroll(self, obs: Tensor, before: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [steps, rows, sensors, units] after each step and the last cell states; `before` is the action before each step."""
        ...

    def readout(self, obs: Tensor, hidden: Tensor) -> Tensor:
        """Outputs for observations and the neurons' hidden states."""
        ...


@runtime_checkable
class Clonable(Protocol):
    """An agent whose policy is a Student."""

    @property
    def layout(self) -> Layout: ...

    def policy(self, vectors: Float[Tensor, "*members n"]) -> Any: ...

    def student(self, vector: Float[Tensor, "n"]) -> Student:
        """The policy of one vector, for training."""
        ...


@runtime_checkable
class SequenceAgent(Clonable, Protocol):
    """An agent whose policy is a SequenceStudent."""

    @property
    def hidden(self) -> int:
        """Units of each sensor's recurrent neuron."""
        ...


def first_vector(agent: Agent, init_scale: float, forget_bias: float, seed: int) -> Float[Tensor, "n"]:
    """Random initial parameters: weights with sd init_scale / sqrt(inputs), norm scales 1, biases 0, forget-gate biases `forget_bias`."""
    noise = agent.layout.split(normal(torch.tensor([seed]), 0, agent.layout.size)[0])
    tensors = {name: t * init_scale * math.prod(t.shape[1:]) ** -0.5 * ("bias" not in name) for name, t in noise.items()}
    tensors |= {name: torch.ones_like(t) for name, t in tensors.items() if name.endswith("norm.weight") and init_scale}
    if isinstance(agent, Gated) and agent.forget_gates[0]:
        name, begin, end = agent.forget_gates
        tensors[name][begin:end] = forget_bias
    return agent.layout.join(tensors)


@runtime_checkable
class OfAgent(Protocol):
    """A stage that trains an Agent; its state holds the parameter vector as `agent`."""

    @property
    def agent(self) -> Agent: ...


def start_from(place: str, agent: Agent) -> Float[Tensor, "n"]:
    """The parameters of an earlier agent of the same architecture, from any stage.

    Errors: core.errors.Usage where the folder holds none, or one of another architecture.
    """
    folder = checkpoint.agent(place)
    stage, loaded = checkpoint.stage(folder), checkpoint.load(folder)
    if loaded is None or not isinstance(stage, OfAgent) or stage.agent != agent:
        raise Usage(f"{place} holds no agent of the architecture to be trained ({type(agent).__name__})")
    return loaded[1]["agent"].float()
