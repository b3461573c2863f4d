"""Sensory neurons for vector observations, the agent built from them, and the feed-forward baseline, named as in the paper."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from sensorium.core.errors import Usage
from sensorium.core.policy import Memory, Policy
from sensorium.nets.flat import Layout
from sensorium.systems.attention_neuron.equations import attention, lstm, message, positional_table, product, tanh

Tensors = dict[str, Tensor]
"""named weights with the rows last: [..., rows] for a population, [..., 1] for one agent"""


def head_shapes(widths: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of linear layers with biases, for layers of these widths."""
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        shapes += [(f"head.{i}.weight", (outputs, inputs)), (f"head.{i}.bias", (outputs,))]
    return shapes


def head(tensors: Tensors, x: Float[Tensor, "inputs rows"], depth: int, logits: bool = False) -> Float[Tensor, "outputs rows"]:
    """The policy head: `depth` linear layers, each followed by tanh; for `logits` the last one is not."""
    for i in range(depth):
        x = product(tensors[f"head.{i}.weight"], x) + tensors[f"head.{i}.bias"]
        x = x if logits and i == depth - 1 else tanh(x)
    return x


def chosen(output: Float[Tensor, "*rows a"]) -> Float[Tensor, "*rows a"]:
    """The one-hot vector of the largest output; zeros, for no action, stay zeros."""
    return one_hot(output.argmax(-1), output.shape[-1]).to(output.dtype) * (output != 0).any(-1, keepdim=True)


@dataclass(frozen=True)
class SensoryAgent:
    """Permutation-invariant agent for vector observations (section 3.1): one identical neuron per sensor, attention, a small head."""

    actions: int = 1
    """number of actions; the previous action is an input of every neuron"""
    code: int = 16
    """rows of the code, M"""
    query: int = 8
    """width of the positional table Q"""
    key: int = 32
    """width d of projected queries and keys"""
    hidden: int = 8
    """units of each neuron's LSTM, H"""
    layers: tuple[int, ...] = ()
    """widths of the head's hidden layers"""
    bias: bool = False
    """whether the projections of queries and keys have biases (cart-pole: no, Ant: yes)"""
    scale: bool = False
    """whether attention is divided by sqrt(d) (cart-pole: no, Ant: yes)"""
    gain: float = 1.0
    """factor on the sum over sensors: 0.5 when their number is doubled (table 1, footnote)"""
    pooling: Literal["attention", "mean", "max"] = "attention"
    """how the outputs of the neurons are combined; mean and max are ablations"""
    recurrent: bool = True
    """whether neurons are LSTMs; False is an ablation"""
    hears_action: bool = True
    """whether the previous action is an input of the neurons; False is an ablation"""
    discrete: bool = False
    """whether the action is a choice: outputs are logits, and the action is the one-hot vector of the largest (not in the paper)"""

    @property
    def layout(self) -> Layout:
        inputs, h = 1 + self.actions * self.hears_action, self.hidden
        gates = 4 * h if self.recurrent else h
        shapes: list[tuple[str, tuple[int, ...]]] = [("neuron.weight_ih", (gates, inputs))]
        if self.recurrent:
            shapes += [("neuron.weight_hh", (gates, h)), ("neuron.bias_ih", (gates,)), ("neuron.bias_hh", (gates,))]
        else:
            shapes += [("neuron.bias_ih", (gates,))]
        if self.pooling == "attention":
            for name, width in (("query", self.query), ("key", h)):
                shapes += [(f"{name}.weight", (self.key, width))] + [(f"{name}.bias", (self.key,))] * self.bias
        else:
            shapes += [("word.weight", (self.code, h))]
        return Layout((*shapes, *head_shapes((self.code, *self.layers, self.actions))))

    @property
    def forget_gates(self) -> tuple[str, int, int]:
        """Tensor name and index range of the forget gates' biases; ("", 0, 0) if the neurons are not recurrent."""
        return ("neuron.bias_ih", self.hidden, 2 * self.hidden) if self.recurrent else ("", 0, 0)

    def student(self, vector: Float[Tensor, "n"]) -> "SensoryPolicy":
        """The policy of one parameter vector, for training by gradient."""
        return self.policy(vector)

    def policy(self, vectors: Float[Tensor, "*members n"]) -> "SensoryPolicy":
        """The policy of one parameter vector, or of a population of them."""
        return SensoryPolicy(self, fold(self, self.layout.split(vectors.reshape(-1, vectors.shape[-1]))))


def fold(agent: SensoryAgent, tensors: Tensors) -> Tensors:
    """Precompute what is constant in an episode, and move the axis of the members to the end.

    (Q Wq^T + bq)(h Wk^T + bk)^T = queries h^T + offset, with queries = (Q Wq^T + bq) Wk and offset = (Q Wq^T + bq) bk. The two biases of
    the LSTM are added.
    """
    t = dict(tensors)
    t["neuron.bias"] = t.pop("neuron.bias_ih") + t.pop("neuron.bias_hh", 0)
    if agent.pooling == "attention":
        queries = positional_table(agent.code, agent.query).to(t["query.weight"]) @ t.pop("query.weight").mT
        if agent.bias:
            queries = queries + t.pop("query.bias")[:, None]
            t["offset"] = queries @ t.pop("key.bias")[..., None]
        t["queries"] = queries @ t.pop("key.weight")
    return {name: tensor.movedim(0, -1).contiguous() for name, tensor in t.items()}


@dataclass(frozen=True)
class SensoryPolicy:
    """A SensoryAgent with parameters. Memory: (hidden [rows, N, H], cell [rows, N, H], previous action [rows, actions])."""

    agent: SensoryAgent
    tensors: Tensors

    @property
    def members(self) -> int:
        return self.tensors["neuron.bias"].shape[-1]

    def take(self, members: Int[Tensor, "some"]) -> Policy:
        return replace(self, tensors={name: tensor.index_select(-1, members) for name, tensor in self.tensors.items()})

    def begin(self, seeds: Int[Tensor, "rows"]) -> Memory:
        # a single neuron, expanded when the first observation gives the number of sensors
        bias, a = self.tensors["neuron.bias"], self.agent
        blank = bias.new_zeros(a.hidden, 1, len(seeds)).permute(2, 1, 0)
        return blank, blank, bias.new_zeros(a.actions, len(seeds)).mT

    def act(self, obs: Float[Tensor, "rows N"], memory: Memory, t: int | Tensor) -> tuple[Tensor, Memory]:
        _, memory = self.predict(obs, memory)
        return memory[-1], memory

    def predict(self, obs: Float[Tensor, "rows N"], memory: Memory) -> tuple[Tensor, Memory]:
        """The differentiable action or logits, and the memory after it."""
        hidden, cell = self.neurons(obs, memory)
        output = self.read(self.encode(obs, hidden))
        return output, (hidden, cell, self.executed(output))

    def executed(self, output: Float[Tensor, "*rows actions"]) -> Float[Tensor, "*rows actions"]:
        """The action that an output stands for."""
        return chosen(output) if self.agent.discrete else output

    def with_action(self, memory: Memory, action: Float[Tensor, "rows actions"]) -> Memory:
        """The memory after another action was executed instead of the agent's own."""
        hidden, cell, _ = memory
        return hidden, cell, self.executed(action)

    def neurons(self, obs: Float[Tensor, "rows N"], memory: Memory) -> tuple[Tensor, Tensor]:
        """Hidden and cell states [rows, N, H] of all neurons after one step on their sensor and the previous action."""
        hidden, cell, action = (part.movedim(0, -1) for part in memory)
        hidden, cell = (part.expand(obs.shape[1], *part.shape[1:]).movedim(1, 0) for part in (hidden, cell))
        weight = self.tensors["neuron.weight_ih"]
        gates = weight[:, 0, None] * obs.mT + self.tensors["neuron.bias"][:, None]
        if self.agent.hears_action:
            gates = gates + product(weight[:, 1:], action)[:, None]
        if self.agent.recurrent:
            hidden, cell = lstm(gates + product(self.tensors["neuron.weight_hh"], hidden), cell)
        else:
            hidden = tanh(gates)
        return hidden.permute(2, 1, 0), cell.permute(2, 1, 0)

    def unroll(
        self, obs: Float[Tensor, "steps rows N"], before: Float[Tensor, "steps rows actions"], hidden: Float[Tensor, "rows N H"],
        cell: Float[Tensor, "rows N H"],
    ) -> tuple[Float[Tensor, "steps rows N H"], Float[Tensor, "rows N H"]]:  # fmt: skip
        """The neurons of one agent over many recorded steps, for cloning; `before` holds the action before each step.

        Returns the hidden states after each step and the last cell states.
        """
        steps, rows, sensors = obs.shape
        inputs = obs[..., None]
        if self.agent.hears_action:
            inputs = torch.cat([inputs, self.executed(before)[:, :, None].expand(-1, -1, sensors, -1)], -1)
        t = {name: tensor[..., 0] for name, tensor in self.tensors.items()}
        if not self.agent.recurrent:
            return tanh(inputs @ t["neuron.weight_ih"].mT + t["neuron.bias"]), cell
        memory = tuple(part.reshape(1, rows * sensors, -1) for part in (hidden, cell))
        weights = [t["neuron.weight_ih"], t["neuron.weight_hh"], t["neuron.bias"], torch.zeros_like(t["neuron.bias"])]
        # arguments as in torch.nn.LSTM: biases, layers, dropout, training, bidirectional, batch_first
        after, _, cell = torch.lstm(inputs.flatten(1, 2), memory, weights, True, 1, 0.0, True, False, False)
        return after.view(steps, rows, sensors, -1), cell.view(rows, sensors, -1)

    def weights(self, hidden: Float[Tensor, "rows N H"]) -> Float[Tensor, "rows N M"]:
        """Attention weights; with mean or max pooling, the projected outputs of the neurons."""
        keys = hidden.permute(2, 1, 0)
        scale = math.sqrt(self.agent.key) if self.agent.scale else 1.0
        if self.agent.pooling != "attention":
            weights = product(self.tensors["word.weight"], keys)
        elif self.agent.bias:
            weights = tanh((product(self.tensors["queries"], keys) + self.tensors["offset"]) / scale)
        else:
            weights = attention(self.tensors["queries"], keys, scale)
        return weights.permute(2, 1, 0)

    def attention(self, obs: Float[Tensor, "rows N"], memory: Memory) -> Float[Tensor, "rows N M"]:
        """Attention weights at the step on `obs`; `memory` is the memory before it."""
        return self.weights(self.neurons(obs, memory)[0])

    def encode(self, obs: Float[Tensor, "rows N"], hidden: Float[Tensor, "rows N H"]) -> Float[Tensor, "rows M"]:
        """The code of each row (eq. 2)."""
        weights = self.weights(hidden).permute(2, 1, 0)
        if self.agent.pooling == "mean":
            return tanh(weights.mean(1)).mT
        if self.agent.pooling == "max":
            return tanh(weights.amax(1)).mT
        return message(weights, obs.mT, self.agent.gain).mT

    def readout(self, obs: Float[Tensor, "rows N"], hidden: Float[Tensor, "rows N H"]) -> Float[Tensor, "rows actions"]:
        """The action for observations and the hidden states after them."""
        return self.read(self.encode(obs, hidden))

    def read(self, code: Float[Tensor, "rows M"]) -> Float[Tensor, "rows actions"]:
        """The action or logits for a code: the policy head."""
        return head(self.tensors, code.mT, len(self.agent.layers) + 1, self.agent.discrete).mT


@dataclass(frozen=True)
class FeedForwardAgent:
    """The baseline (section 4.1): a feed-forward network, which depends on the order of its inputs."""

    observations: int = 5
    """number of input channels, which is fixed"""
    actions: int = 1
    """number of actions"""
    layers: tuple[int, ...] = (16,)
    """widths of the hidden layers"""

    @property
    def layout(self) -> Layout:
        return Layout(tuple(head_shapes((self.observations, *self.layers, self.actions))))

    def policy(self, vectors: Float[Tensor, "*members n"]) -> "FeedForwardPolicy":
        """The policy of one parameter vector, or of a population of them."""
        tensors = self.layout.split(vectors.reshape(-1, vectors.shape[-1]))
        return FeedForwardPolicy(self, {name: tensor.movedim(0, -1).contiguous() for name, tensor in tensors.items()})


@dataclass(frozen=True)
class FeedForwardPolicy:
    """A FeedForwardAgent with parameters. It has no memory. Errors: core.errors.Usage for another number of channels."""

    agent: FeedForwardAgent
    tensors: Tensors

    @property
    def members(self) -> int:
        return self.tensors["head.0.bias"].shape[-1]

    def take(self, members: Int[Tensor, "some"]) -> Policy:
        return replace(self, tensors={name: tensor.index_select(-1, members) for name, tensor in self.tensors.items()})

    def begin(self, seeds: Int[Tensor, "rows"]) -> Memory:
        return ()

    def act(self, obs: Float[Tensor, "rows N"], memory: Memory, t: int | Tensor) -> tuple[Tensor, Memory]:
        if obs.shape[1] != self.agent.observations:
            raise Usage(f"this network has {self.agent.observations} input channels, but the observation has {obs.shape[1]}")
        return head(self.tensors, obs.mT, len(self.agent.layers) + 1).mT, memory
