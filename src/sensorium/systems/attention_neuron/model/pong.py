"""The agent with a convolutional head on the code: for Pong, and for CarRacing as a student that can be trained by gradient."""

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
    """The paper's agent for Pong (1,687,726 parameters): convolutions on the code as a 20 x 20 image, and argmax over six logits.

    With `drives` (not in the paper) the output is three tanh units for CarRacing, with `continuous` (not in the paper) it is tanh units.
    """

    neurons: VisionNeurons = VisionNeurons(actions=6, code=400, width=32, time_last=False, learned_norms=True)
    actions: int = 6
    first: int = 3
    """previous action of the first step, the index of a button"""
    drives: bool = False
    """whether the action is steering, gas and brake instead of a button"""
    continuous: bool = False
    """whether the actions are numbers in [-1, 1] instead of a button"""

    @property
    def layout(self) -> Layout:
        d = self.neurons.width
        convolutions = (("conv.0.weight", (64, d, 4, 4)), ("conv.0.bias", (64,)), ("conv.1.weight", (64, 64, 3, 3)), ("conv.1.bias", (64,)))
        return Layout((*self.neurons.shapes, *convolutions, *affine("full", 512, 64 * 7 * 7), *affine("act", self.actions, 512)))

    def student(self, vector: Float[Tensor, "n"]) -> "VisionPolicy":
        """The policy of one parameter vector, for training by gradient."""
        return self.policy(vector)

    def policy(self, vectors: Float[Tensor, "*members n"]) -> "VisionPolicy":
        return VisionPolicy(self, self.neurons.fold(self.layout.split(vectors.reshape(-1, vectors.shape[-1]))))

    def begin(self, rows: int, like: Tensor) -> Memory:
        """Memory: (previous action,); a button is one-hot."""
        if self.drives or self.continuous:
            return (like.new_zeros(rows, self.actions),)
        return (one_hot(torch.full((rows,), self.first, device=like.device), self.actions).to(like.dtype),)

    def act(self, tensors: Tensors, patches: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        action = self.chosen(self.predict(tensors, patches, memory[0]))
        return action, (action,)

    def with_action(self, memory: Memory, action: Float[Tensor, "rows a"]) -> Memory:
        """The memory after another action was executed instead of the agent's own."""
        return (self.chosen(action),)

    def chosen(self, output: Float[Tensor, "rows a"]) -> Float[Tensor, "rows a"]:
        """The action of an output of `predict`: the one-hot button of the largest logit, or the output itself."""
        return output if self.drives or self.continuous else one_hot(output.argmax(1), self.actions).to(output.dtype)

    def predict(self, tensors: Tensors, patches: Tensor, before: Float[Tensor, "rows a"]) -> Float[Tensor, "rows a"]:
        """Logits of the buttons, or actions; differentiable."""
        code, side = self.neurons(tensors, patches, before), round(math.sqrt(self.neurons.code))
        image = torch.relu(code.view(len(code), side, side, -1).permute(0, 3, 1, 2))
        for i, stride in enumerate((2, 1)):
            image = torch.relu(self.convolved(image, tensors[f"conv.{i}.weight"], tensors[f"conv.{i}.bias"], stride))
        output = linear(tensors, "act", torch.relu(linear(tensors, "full", image.flatten(1))))
        if self.drives:
            return wheel_and_pedals(torch.tanh(output))
        return torch.tanh(output) if self.continuous else output

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        """A convolution with one weight for all rows, or one per row as a grouped convolution."""
        if len(weight) == 1:
            return conv2d(x, weight[0], bias[0], stride)
        grouped = conv2d(x.reshape(1, -1, *x.shape[2:]), weight.flatten(0, 1), bias.flatten(), stride, groups=len(x))
        return grouped.view(len(x), -1, *grouped.shape[2:])
