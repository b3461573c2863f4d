"""The agent that reads the code as a picture: the player of Pong, and a driver that can be taught."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, one_hot

from sensorium.core.policy import Memory
from sensorium.nets.flat import Layout
from sensorium.systems.attention_neuron.model.vision import Tensors, VisionNeurons, VisionPolicy, affine, linear, wheel_and_pedals


@dataclass(frozen=True)
class PongAgent:
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

    def student(self, vector: Float[Tensor, "n"]) -> "VisionPolicy":
        """The policy of one vector, to be taught by gradient."""
        return self.policy(vector)

    def policy(self, vectors: Float[Tensor, "*members n"]) -> "VisionPolicy":
        return VisionPolicy(self, self.neurons.fold(self.layout.split(vectors.reshape(-1, vectors.shape[-1]))))

    def begin(self, rows: int, like: Tensor) -> Memory:
        """(previous action,), a button as one-hot."""
        if self.drives:
            return (like.new_zeros(rows, self.actions),)
        return (one_hot(torch.full((rows,), self.first, device=like.device), self.actions).to(like.dtype),)

    def act(self, tensors: Tensors, patches: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        action = self.done(self.predict(tensors, patches, memory[0]))
        return action, (action,)

    def with_action(self, memory: Memory, action: Float[Tensor, "rows a"]) -> Memory:
        """The memory of an agent in whose place something else was done."""
        return (self.done(action),)

    def done(self, said: Float[Tensor, "rows a"]) -> Float[Tensor, "rows a"]:
        """What follows from what was said; a button is pressed by whatever wants it most."""
        return said if self.drives else one_hot(said.argmax(1), self.actions).to(said.dtype)

    def predict(self, tensors: Tensors, patches: Tensor, before: Float[Tensor, "rows a"]) -> Float[Tensor, "rows a"]:
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
