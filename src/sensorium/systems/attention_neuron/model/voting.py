"""Agents for CarRacing that select ten entries by votes; the input of their LSTM is the positions of these entries."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.core.policy import Memory
from sensorium.nets.attention import votes
from sensorium.nets.flat import Layout
from sensorium.systems.attention_neuron import equations as eq
from sensorium.systems.attention_neuron.model.vision import Shapes, Tensors, VisionNeurons, VisionPolicy, affine, linear, wheel_and_pedals


def recurrent(inputs: int, hidden: int) -> Shapes:
    """Names and shapes of an LSTM."""
    h = 4 * hidden
    return ("lstm.weight_ih", (h, inputs)), ("lstm.weight_hh", (h, hidden)), ("lstm.bias_ih", (h,)), ("lstm.bias_hh", (h,))


def top_positions(importance: Float[Tensor, "rows n"], winners: int, side: int) -> Float[Tensor, "rows winners 2"]:
    """Row and column, in a square grid of `side`, of the entries with the most votes, in descending order."""
    chosen = eq.most_voted(importance, winners)
    return torch.stack([chosen // side, chosen % side], -1).to(importance.dtype)


def lstm_step(
    tensors: Tensors, places: Float[Tensor, "rows winners 2"], hidden: Float[Tensor, "rows h"], cell: Float[Tensor, "rows h"]
) -> tuple[Tensor, Tensor]:
    """Hidden and cell state after one LSTM step on the winners' positions."""
    gates = linear({"x.weight": tensors["lstm.weight_ih"], "x.bias": tensors["lstm.bias_ih"]}, "x", places.flatten(1))
    gates = gates + linear({"h.weight": tensors["lstm.weight_hh"], "h.bias": tensors["lstm.bias_hh"]}, "h", hidden)
    hidden, cell = (part.mT for part in eq.lstm(gates.mT, cell.mT))
    return hidden, cell


@dataclass(frozen=True)
class VotingAgent:
    """The paper's agent for CarRacing (7,212 parameters): the rows of the code select ten rows by votes, whose positions an LSTM gets.

    This is the controller of AttentionAgent (Tang, Nguyen & Ha 2020) on a code instead of patches. The code is averaged over time with a
    weight that the agent outputs. The selection has no gradient, so the agent can be evolved and imported, but not cloned.
    """

    neurons: VisionNeurons = VisionNeurons()
    vote: int = 4
    """width of the votes' queries and keys"""
    hidden: int = 16
    winners: int = 10
    actions: int = 3
    compile: bool = True
    """whether the votes are computed by a compiled function"""

    @property
    def layout(self) -> Layout:
        d, h = self.neurons.width, self.hidden
        return Layout((
            *self.neurons.shapes, *affine("vote.query", self.vote, d), *affine("vote.key", self.vote, d), *recurrent(2 * self.winners, h), *affine("act", self.actions, h),
            *affine("mix.0", h, h + self.actions), *affine("mix.1", 1, h),
        ))  # fmt: skip

    def policy(self, vectors: Float[Tensor, "*members n"]) -> "VisionPolicy":
        return VisionPolicy(self, self.neurons.fold(self.layout.split(vectors.reshape(-1, vectors.shape[-1]))))

    def begin(self, rows: int, like: Tensor) -> Memory:
        """Memory: (previous output, code, weight of the old code, hidden, cell)."""
        sizes = ((self.actions,), (self.neurons.code, self.neurons.width), (1,), (self.hidden,), (self.hidden,))
        return tuple(like.new_zeros(rows, *size) for size in sizes)

    def act(self, tensors: Tensors, patches: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        before, code, share, hidden, cell = memory
        fresh = self.neurons(tensors, patches, before)
        code = (1 - share[..., None]) * fresh + share[..., None] * code
        # select ten rows of the code
        importance = votes(linear(tensors, "vote.query", code), linear(tensors, "vote.key", code), self.compile)
        side = round(math.sqrt(self.neurons.code))
        # LSTM, action, weight of the old code
        hidden, cell = lstm_step(tensors, top_positions(importance, self.winners, side) / side, hidden, cell)
        drive = torch.tanh(linear(tensors, "act", hidden))
        mixing = torch.tanh(linear(tensors, "mix.0", torch.cat([hidden, drive], 1)))
        share = torch.sigmoid(linear(tensors, "mix.1", mixing))
        # the neurons' input is the tanh output, not the scaled action
        return wheel_and_pedals(drive), (drive, code, share, hidden, cell)

    def with_action(self, memory: Memory, action: Float[Tensor, "rows 3"]) -> Memory:
        """The memory after another action was executed: the output is the inverse of `wheel_and_pedals`."""
        return (torch.cat([action[:, :1], 2 * action[:, 1:] - 1], 1), *memory[1:])


@dataclass(frozen=True)
class AttentionAgent:
    """The baseline (3,667 parameters; Tang, Nguyen & Ha 2020): selection of ten overlapping patches of the colour frame by votes.

    The input of its LSTM is the positions of these patches on the screen, so it is not permutation-invariant.
    """

    size: int = 96
    """lines and columns of a frame"""
    patch: int = 7
    """lines and columns of a patch"""
    stride: int = 4
    """lines and columns between neighbouring patches"""
    vote: int = 4
    """width of the votes' queries and keys"""
    hidden: int = 16
    winners: int = 10
    actions: int = 3
    compile: bool = True
    """whether the votes are computed by a compiled function"""

    @property
    def layout(self) -> Layout:
        inputs, h = 3 * self.patch**2, self.hidden
        votes = (*affine("query", self.vote, inputs), *affine("key", self.vote, inputs))
        return Layout((*votes, *recurrent(2 * self.winners, h), *affine("act", self.actions, h)))

    def policy(self, vectors: Float[Tensor, "*members n"]) -> VisionPolicy:
        return VisionPolicy(self, self.layout.split(vectors.reshape(-1, vectors.shape[-1])))

    def begin(self, rows: int, like: Tensor) -> Memory:
        """Memory: (hidden, cell)."""
        return like.new_zeros(rows, self.hidden), like.new_zeros(rows, self.hidden)

    def patches(self, frames: UInt8[Tensor, "rows size size 3"]) -> Float[Tensor, "rows n inputs"]:
        """All patches as numbers in [0, 1], flattened by line, column, channel."""
        tiles = frames.unfold(1, self.patch, self.stride).unfold(2, self.patch, self.stride)
        return tiles.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(1, 2).float() * (1 / 255)

    def act(self, tensors: Tensors, frames: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        patches = self.patches(frames)
        queries = linear(tensors, "query", patches) / math.sqrt(self.vote)
        importance = votes(queries, linear(tensors, "key", patches), self.compile)
        # centres of patches, as fractions of the screen size
        side = (self.size - self.patch) // self.stride + 1
        places = (top_positions(importance, self.winners, side) * self.stride + self.patch // 2) / self.size
        hidden, cell = lstm_step(tensors, places, *memory)
        return wheel_and_pedals(torch.tanh(linear(tensors, "act", hidden))), (hidden, cell)

    def with_action(self, memory: Memory, action: Float[Tensor, "rows 3"]) -> Memory:
        """Unchanged: the previous action is not an input."""
        return memory
