"""Sensory neurons for image patches (section 3.2), and the policy of the agents built from them.

Observations are patches, uint8 [rows, N, frames, 36], in any order and number. The first axis of the weights is the members of a
population: length 1 for one agent, or one per row.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from sensorium.core.errors import Usage
from sensorium.core.policy import Memory, Policy
from sensorium.systems.attention_neuron import equations as eq

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Tensors = dict[str, Tensor]
"""named weights with the members first: [1, ...] or [rows, ...]"""


def affine(name: str, outputs: int, inputs: int) -> Shapes:
    """Names and shapes of a linear layer."""
    return (f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,))


def linear(tensors: Tensors, name: str, x: Float[Tensor, "rows *middle i"]) -> Float[Tensor, "rows *middle o"]:
    """A linear layer with one weight for all rows, or one per row."""
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if len(weight) == 1:
        return torch.nn.functional.linear(x, weight[0], bias[0])
    flat = x.reshape(len(x), -1, x.shape[-1])
    return torch.baddbmm(bias[:, None], flat, weight.mT).view(*x.shape[:-1], -1)


@dataclass(frozen=True)
class VisionNeurons:
    """The permutation-invariant layer for patches (eq. 2 with softmax); its code is [M, d]. Its only memory is the four stacked frames."""

    actions: int = 3
    """dimensions of the previous action, an input of every neuron"""
    code: int = 1024
    """rows of the code, M"""
    width: int = 16
    """width d of queries, keys and values"""
    query: int = 8
    """width of the positional table Q"""
    frames: int = 4
    pixels: int = 36
    time_last: bool = True
    """whether the key's inputs are ordered by pixel, then time (CarRacing), or by time, then pixel (Pong)"""
    learned_norms: bool = False
    """whether the layer normalisations have learned weights and biases (Pong: yes)"""

    @property
    def shapes(self) -> Shapes:
        changes = self.pixels * (self.frames - 1)
        found = (
            *affine("query", self.width, self.query), *affine("key", self.width, changes + self.actions), *affine("value", self.width, self.pixels * self.frames),
        )  # fmt: skip
        if self.learned_norms:
            norms = (
                ("input_norm.weight", self.pixels),
                ("input_norm.bias", self.pixels),
                ("output_norm.weight", self.width),
                ("output_norm.bias", self.width),
            )
            found = (*found, *((name, (size,)) for name, size in norms))
        return found

    def fold(self, tensors: Tensors) -> Tensors:
        """Precompute what is constant in an episode: the queries, and the key's weights ordered by time, then pixel."""
        t = dict(tensors)
        table = eq.positional_table(self.code, self.query).to(t["query.weight"])
        t["queries"] = table @ t["query.weight"].mT + t["query.bias"][:, None]
        changes = self.pixels * (self.frames - 1)
        key, previous = t["key.weight"].split([changes, self.actions], -1)
        if self.time_last:
            key = key.unflatten(-1, (self.pixels, self.frames - 1)).mT.flatten(-2)
        t["key.weight"] = torch.cat([key, previous], -1)
        return t

    def __call__(
        self, tensors: Tensors, patches: UInt8[Tensor, "rows n t p"], action: Float[Tensor, "rows a"]
    ) -> Float[Tensor, "rows m d"]:
        """The code, from patches and the previous action."""
        scaled = patches.float() * (1 / 255)
        changes = eq.differences(scaled).flatten(2)
        keys = linear(tensors, "key", torch.cat([changes, action[:, None].expand(-1, changes.shape[1], -1)], 2))
        scale = [tensors.get(f"input_norm.{part}") for part in ("weight", "bias")]
        scale = [part[:, None, None] if part is not None else None for part in scale]
        values = linear(tensors, "value", eq.normalised(scaled, *scale).flatten(2))
        code = torch.relu(eq.visual_message(tensors["queries"], keys, values))
        scale = [tensors.get(f"output_norm.{part}") for part in ("weight", "bias")]
        return eq.normalised(code, *(part[:, None] if part is not None else None for part in scale))

    def weights(self, tensors: Tensors, patches: Tensor, action: Tensor) -> Float[Tensor, "rows m n"]:
        """Attention weight of each row of the code on each patch, for figures."""
        changes = eq.differences(patches.float() * (1 / 255)).flatten(2)
        keys = linear(tensors, "key", torch.cat([changes, action[:, None].expand(-1, changes.shape[1], -1)], 2))
        return torch.softmax(tensors["queries"] @ keys.mT / math.sqrt(self.width), -1)


def wheel_and_pedals(drive: Float[Tensor, "rows 3"]) -> Float[Tensor, "rows 3"]:
    """Steering in [-1, 1], gas and brake in [0, 1], from three numbers in [-1, 1]."""
    return torch.cat([drive[:, :1], (drive[:, 1:] + 1) / 2], 1)


@runtime_checkable
class VisionAgent(Protocol):
    """An architecture for image observations."""

    def begin(self, rows: int, like: Tensor, /) -> Memory: ...

    def act(self, tensors: Tensors, obs: Tensor, memory: Memory, /) -> tuple[Tensor, Memory]: ...

    def with_action(self, memory: Memory, action: Tensor, /) -> Memory:
        """The memory after another action was executed instead of the agent's own."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """An architecture for image observations that can be trained by gradient."""

    def predict(self, tensors: Tensors, obs: Tensor, before: Tensor, /) -> Tensor:
        """Differentiable output [rows, actions]: actions, or logits of buttons. `before` is the previous action."""
        ...


@runtime_checkable
class OnPatches(Protocol):
    """An architecture with one neuron for each patch."""

    @property
    def neurons(self) -> VisionNeurons: ...


NO_GRADIENT = "this agent selects ten entries by rank, so nothing can be learned by gradient; clone into a PongAgent"


@dataclass(frozen=True)
class VisionPolicy:
    """A VisionAgent with parameters. Its memory is that of the agent."""

    agent: VisionAgent
    tensors: Tensors

    @property
    def members(self) -> int:
        return len(self.tensors["query.bias"])

    def take(self, members: Int[Tensor, "some"]) -> Policy:
        return replace(self, tensors={name: tensor[members] for name, tensor in self.tensors.items()})

    def begin(self, seeds: Int[Tensor, "rows"]) -> Memory:
        return self.agent.begin(len(seeds), self.tensors["query.bias"])

    def act(self, obs: UInt8[Tensor, "rows *seen"], memory: Memory, t: int | Tensor) -> tuple[Tensor, Any]:
        with torch.no_grad():
            return self.agent.act(self.tensors, obs, memory)

    def predict(self, obs: UInt8[Tensor, "rows *seen"], memory: Memory) -> tuple[Tensor, Memory]:
        """The differentiable output, and the memory. Errors: core.errors.Usage if the agent has no gradient."""
        if not isinstance(self.agent, Differentiable):
            raise Usage(NO_GRADIENT)
        return self.agent.predict(self.tensors, obs, memory[0]), memory

    def with_action(self, memory: Memory, action: Float[Tensor, "rows a"]) -> Memory:
        """The memory after another action was executed instead of the agent's own."""
        return self.agent.with_action(memory, action)

    def attention(self, obs: UInt8[Tensor, "rows n t p"], memory: Memory) -> Float[Tensor, "rows n m"]:
        """Attention weights at the step on `obs`; `memory` is the memory before it. Errors: core.errors.Usage for agents without patches."""
        if not isinstance(self.agent, OnPatches):
            raise Usage("this agent has no neurons on patches")
        return self.agent.neurons.weights(self.tensors, obs, memory[0]).mT
