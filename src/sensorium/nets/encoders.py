"""Shared encoders: DrQ's convolutions for pixels, the identity for states."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

SIDE = 35
"""height and width of the feature map for 84 x 84 inputs"""


class Encoder(nn.Module):
    """DrQ's and DrQ-v2's encoder (Yarats et al. 2021): nine channels of 84 x 84 -> channels x 35 x 35 features, by four convolutions."""

    def __init__(self, channels: int, centre: float):
        super().__init__()
        self.centre, self.width = centre, channels * SIDE * SIDE
        sizes = (9, channels, channels, channels, channels)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2 if i == 0 else 1) for i, (a, b) in enumerate(pairwise(sizes)))

    def forward(self, obs: Tensor) -> Float[Tensor, "rows width"]:
        """From frames [rows, 9, 84, 84], uint8 or float; codes are in channels-last order."""
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
