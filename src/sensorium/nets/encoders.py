"""Shared encoders: DrQ's convolutions for pixels, the identity for states."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.core.errors import Usage

PUBLISHED = (9, 84, 84)
"""three frames of 84 x 84"""
SMALLEST = 15
"""smallest height and width of an image, whose feature map has one position"""


class Encoder(nn.Module):
    """DrQ's and DrQ-v2's encoder (Yarats et al. 2021): nine channels of 84 x 84 -> channels x 35 x 35 features, by four convolutions.

    Other sizes of images give other feature maps. Errors: core.errors.Usage for images smaller than 15 x 15.
    """

    def __init__(self, channels: int, centre: float, observation: tuple[int, ...] = PUBLISHED):
        super().__init__()
        inputs, *sides = observation
        if min(sides) < SMALLEST:
            raise Usage(f"frames of {sides[0]} x {sides[1]} are too small for the encoder; at least {SMALLEST} x {SMALLEST}")
        # stride 2, then three layers that each lose a border of one pixel
        height, width = ((side - 3) // 2 + 1 - 6 for side in sides)
        self.centre, self.width = centre, channels * height * width
        sizes = (inputs, channels, channels, channels, channels)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2 if i == 0 else 1) for i, (a, b) in enumerate(pairwise(sizes)))

    def forward(self, obs: Tensor) -> Float[Tensor, "rows width"]:
        """From frames [rows, channels, height, width], uint8 or float; codes are in channels-last order."""
        picture = obs.contiguous(memory_format=torch.channels_last).to(torch.float32, copy=True).mul_(1 / 255)
        if self.centre:
            picture.sub_(self.centre)
        for layer in self.layers:
            picture = torch.relu(layer(picture))
        return picture.permute(0, 2, 3, 1).flatten(1)


class Plain(nn.Module):
    """The identity, for states."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, obs: Float[Tensor, "rows n"]) -> Float[Tensor, "rows n"]:
        return obs
