"""Vision: every patch of a picture has a sensory neuron of its own (section 3.2), and the agents around such neurons.

Observations are patches, uint8 [rows, N, frames, 36], in any order and number. Weights have a first axis for the members of a
population, of length 1 for one agent or of one a row.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import conv2d, one_hot

from sensorium.core.errors import Usage
from sensorium.core.policy import Memory, Policy
from sensorium.nets.attention import votes
from sensorium.nets.flat import Layout
from sensorium.systems.attention_neuron import equations as eq

UNTAUGHT = "a VotingAgent picks its ten winners by rank, through which nothing can be learned by gradient; clone into a PuzzleAgent"

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Tensors = dict[str, Tensor]
"""named weights with the members first: [1, ...] or [rows, ...]"""


def affine(name: str, outputs: int, inputs: int) -> Shapes:
    """A layer's weight and bias."""
    return (f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,))


def linear(tensors: Tensors, name: str, x: Float[Tensor, "rows *middle i"]) -> Float[Tensor, "rows *middle o"]:
    """A layer, one for all rows or one for each."""
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if len(weight) == 1:
        return torch.nn.functional.linear(x, weight[0], bias[0])
    flat = x.reshape(len(x), -1, x.shape[-1])
    return torch.baddbmm(bias[:, None], flat, weight.mT).view(*x.shape[:-1], -1)


@dataclass(frozen=True)
class VisionNeurons:
    """The permutation-invariant layer (eq. 2 with softmax): patches in, a code of M rows out. It remembers only what four frames show."""

    actions: int = 3
    """numbers of the previous action, which every neuron hears"""
    code: int = 1024
    """rows of the code, M"""
    width: int = 16
    """d, of queries, keys and values"""
    query: int = 8
    """width of the positional table Q"""
    frames: int = 4
    pixels: int = 36
    time_last: bool = True
    """whether a released key lists a pixel's differences together (CarRacing), or a difference's pixels (Pong)"""
    learned_norms: bool = False
    """whether the layer normalisations have learned scales (Pong: yes)"""

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
        """Compute once what does not change during an episode: the queries, and the key's weights in the order of frames."""
        t = dict(tensors)
        table = eq.positional_table(self.code, self.query).to(t["query.weight"])
        t["queries"] = table @ t["query.weight"].mT + t["query.bias"][:, None]
        changes = self.pixels * (self.frames - 1)
        key, heard = t["key.weight"].split([changes, self.actions], -1)
        if self.time_last:
            key = key.unflatten(-1, (self.pixels, self.frames - 1)).mT.flatten(-2)
        t["key.weight"] = torch.cat([key, heard], -1)
        return t

    def __call__(
        self, tensors: Tensors, patches: UInt8[Tensor, "rows n t p"], action: Float[Tensor, "rows a"]
    ) -> Float[Tensor, "rows m d"]:
        """The code, from patches and the previous action."""
        seen = patches.float() * (1 / 255)
        changes = eq.differences(seen).flatten(2)
        keys = linear(tensors, "key", torch.cat([changes, action[:, None].expand(-1, changes.shape[1], -1)], 2))
        scale = [tensors.get(f"input_norm.{part}") for part in ("weight", "bias")]
        scale = [part[:, None, None] if part is not None else None for part in scale]
        values = linear(tensors, "value", eq.normalised(seen, *scale).flatten(2))
        said = torch.relu(eq.visual_message(tensors["queries"], keys, values))
        scale = [tensors.get(f"output_norm.{part}") for part in ("weight", "bias")]
        return eq.normalised(said, *(part[:, None] if part is not None else None for part in scale))

    def weights(self, tensors: Tensors, patches: Tensor, action: Tensor) -> Float[Tensor, "rows m n"]:
        """How much each row of the code listens to each patch: for pictures of attention."""
        changes = eq.differences(patches.float() * (1 / 255)).flatten(2)
        keys = linear(tensors, "key", torch.cat([changes, action[:, None].expand(-1, changes.shape[1], -1)], 2))
        return torch.softmax(tensors["queries"] @ keys.mT / math.sqrt(self.width), -1)


@dataclass(frozen=True)
class VotingAgent:
    """The driver of CarRacing (7,212 numbers): the rows of the code vote for ten of themselves, and an LSTM hears where these stand.

    AttentionAgent's controller (Tang, Nguyen & Ha 2020) on a code instead of on patches; the code is averaged over time with a share
    that the agent chooses itself. Its choice of ten passes no gradient: it can be evolved and imported, not cloned.
    """

    neurons: VisionNeurons = VisionNeurons()
    vote: int = 4
    """width of the votes' queries and keys"""
    hidden: int = 16
    winners: int = 10
    actions: int = 3
    compile: bool = True
    """whether votes are counted by a compiled function"""

    @property
    def layout(self) -> Layout:
        d, h = self.neurons.width, self.hidden
        lstm = (
            ("lstm.weight_ih", (4 * h, 2 * self.winners)),
            ("lstm.weight_hh", (4 * h, h)),
            ("lstm.bias_ih", (4 * h,)),
            ("lstm.bias_hh", (4 * h,)),
        )
        return Layout((
            *self.neurons.shapes, *affine("vote.query", self.vote, d), *affine("vote.key", self.vote, d), *lstm, *affine("act", self.actions, h),
            *affine("mix.0", h, h + self.actions), *affine("mix.1", 1, h),
        ))  # fmt: skip

    def policy(self, vectors: Float[Tensor, "*members n"]) -> "VisionPolicy":
        return VisionPolicy(self, self.neurons.fold(self.layout.split(vectors.reshape(-1, vectors.shape[-1]))))

    def begin(self, rows: int, like: Tensor) -> Memory:
        """(previous action, code, share of the old code, hidden, cell)."""
        sizes = ((self.actions,), (self.neurons.code, self.neurons.width), (1,), (self.hidden,), (self.hidden,))
        return tuple(like.new_zeros(rows, *size) for size in sizes)

    def act(self, tensors: Tensors, patches: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        before, code, share, hidden, cell = memory
        fresh = self.neurons(tensors, patches, before)
        code = (1 - share[..., None]) * fresh + share[..., None] * code
        # the rows of the code elect ten of themselves
        importance = votes(linear(tensors, "vote.query", code), linear(tensors, "vote.key", code), self.compile)
        chosen = eq.most_voted(importance, self.winners)
        side = round(math.sqrt(self.neurons.code))
        places = torch.stack([chosen // side, chosen % side], -1).to(code.dtype) / side
        # remember, act, and choose how much of the code to keep
        gates = linear({"x.weight": tensors["lstm.weight_ih"], "x.bias": tensors["lstm.bias_ih"]}, "x", places.flatten(1))
        gates = gates + linear({"h.weight": tensors["lstm.weight_hh"], "h.bias": tensors["lstm.bias_hh"]}, "h", hidden)
        hidden, cell = (part.mT for part in eq.lstm(gates.mT, cell.mT))
        drive = torch.tanh(linear(tensors, "act", hidden))
        mixing = torch.tanh(linear(tensors, "mix.0", torch.cat([hidden, drive], 1)))
        share = torch.sigmoid(linear(tensors, "mix.1", mixing))
        # the neurons hear what was said, not what was done
        return wheel_and_pedals(drive), (drive, code, share, hidden, cell)


def wheel_and_pedals(drive: Float[Tensor, "rows 3"]) -> Float[Tensor, "rows 3"]:
    """Steering from -1 to 1, gas and brake from 0 to 1."""
    return torch.cat([drive[:, :1], (drive[:, 1:] + 1) / 2], 1)


@dataclass(frozen=True)
class PuzzleAgent:
    """The player of Pong (1,687,726 numbers): convolutions read the code as a picture of 20 x 20, the largest of six logits is pressed.

    With another end, ours, it drives: three tanh units turn the wheel and press the pedals.
    """

    neurons: VisionNeurons = VisionNeurons(actions=6, code=400, width=32, time_last=False, learned_norms=True)
    actions: int = 6
    first: int = 3
    """the button that counts as pressed before the first step"""
    drives: bool = False
    """whether an action is a wheel and two pedals instead of a button"""

    @property
    def layout(self) -> Layout:
        d = self.neurons.width
        convolutions = (("conv.0.weight", (64, d, 4, 4)), ("conv.0.bias", (64,)), ("conv.1.weight", (64, 64, 3, 3)), ("conv.1.bias", (64,)))
        return Layout((*self.neurons.shapes, *convolutions, *affine("full", 512, 64 * 7 * 7), *affine("act", self.actions, 512)))

    def policy(self, vectors: Float[Tensor, "*members n"]) -> "VisionPolicy":
        return VisionPolicy(self, self.neurons.fold(self.layout.split(vectors.reshape(-1, vectors.shape[-1]))))

    def begin(self, rows: int, like: Tensor) -> Memory:
        """(previous action,), a button as one-hot."""
        if self.drives:
            return (like.new_zeros(rows, self.actions),)
        return (one_hot(torch.full((rows,), self.first, device=like.device), self.actions).to(like.dtype),)

    def act(self, tensors: Tensors, patches: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        action = self.done(self.say(tensors, patches, memory[0]))
        return action, (action,)

    def done(self, said: Float[Tensor, "rows a"]) -> Float[Tensor, "rows a"]:
        """What follows from what was said; a button is pressed by whatever wants it most."""
        return said if self.drives else one_hot(said.argmax(1), self.actions).to(said.dtype)

    def say(self, tensors: Tensors, patches: Tensor, before: Float[Tensor, "rows a"]) -> Float[Tensor, "rows a"]:
        """How much the agent wants to press each button; or where wheel and pedals are to be."""
        code, side = self.neurons(tensors, patches, before), round(math.sqrt(self.neurons.code))
        picture = torch.relu(code.view(len(code), side, side, -1).permute(0, 3, 1, 2))
        for i, stride in enumerate((2, 1)):
            picture = torch.relu(self.convolved(picture, tensors[f"conv.{i}.weight"], tensors[f"conv.{i}.bias"], stride))
        said = linear(tensors, "act", torch.relu(linear(tensors, "full", picture.flatten(1))))
        return wheel_and_pedals(torch.tanh(said)) if self.drives else said

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        """A convolution, one for all rows or, as groups, one for each."""
        if len(weight) == 1:
            return conv2d(x, weight[0], bias[0], stride)
        grouped = conv2d(x.reshape(1, -1, *x.shape[2:]), weight.flatten(0, 1), bias.flatten(), stride, groups=len(x))
        return grouped.view(len(x), -1, *grouped.shape[2:])


@dataclass(frozen=True)
class VisionPolicy:
    """An agent of patches with parameters."""

    agent: VotingAgent | PuzzleAgent
    tensors: Tensors

    @property
    def members(self) -> int:
        return len(self.tensors["query.bias"])

    def take(self, members: Int[Tensor, "some"]) -> Policy:
        return replace(self, tensors={name: tensor[members] for name, tensor in self.tensors.items()})

    def begin(self, seeds: Int[Tensor, "rows"]) -> Memory:
        return self.agent.begin(len(seeds), self.tensors["query.bias"])

    def act(self, obs: UInt8[Tensor, "rows n t p"], memory: Memory, t: int | Tensor) -> tuple[Tensor, Any]:
        with torch.no_grad():
            return self.agent.act(self.tensors, obs, memory)

    def say(self, obs: UInt8[Tensor, "rows n t p"], memory: Memory) -> tuple[Tensor, Memory]:
        """What the agent wants, with its gradient: what a clone is taught."""
        if isinstance(self.agent, VotingAgent):
            raise Usage(UNTAUGHT)
        return self.agent.say(self.tensors, obs, memory[0]), memory

    def told(self, memory: Memory, action: Float[Tensor, "rows a"]) -> Memory:
        """The memory of an agent in whose place something else was done."""
        return (self.agent.done(action),) if isinstance(self.agent, PuzzleAgent) else memory
