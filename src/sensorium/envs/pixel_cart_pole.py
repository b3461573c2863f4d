"""The cart-pole swing-up with 64 x 64 images as observations, rendered in torch at tens of thousands per second."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.core.env import EnvSpec, Step, TorchEnv
from sensorium.envs.cart_pole import TRACK, CartPole
from sensorium.envs.pixels import SIZE

PAPER, RAIL, CART, ROD = (251, 250, 247), (185, 180, 168), (47, 93, 138), (209, 96, 61)
PIVOT = 36  # row of the image at which the pole is attached to the cart
POLE = 18  # pixels
MARGIN = 12  # pixels beyond either end of the track


def drawn(position: Float[Tensor, "rows"], angle: Float[Tensor, "rows"]) -> UInt8[Tensor, "rows 64 64 3"]:
    """Images of track, cart and pole, antialiased over one pixel. The pole is longer than in scale."""
    device = position.device
    line = torch.arange(SIZE, device=device, dtype=torch.float32)
    x, y = line[None, None, :], line[None, :, None]
    centre = (SIZE / 2 + position * (SIZE / 2 - MARGIN) / TRACK)[:, None, None]
    # positive angles lean left, as in cart_pole.draw
    along_x, along_y = -torch.sin(angle)[:, None, None], -torch.cos(angle)[:, None, None]
    away_x, away_y = x - centre, y - PIVOT
    reach = (away_x * along_x + away_y * along_y).clamp(0, POLE)
    distance = torch.sqrt((away_x - reach * along_x) ** 2 + (away_y - reach * along_y) ** 2 + 1e-6)
    pole = (2.0 - distance).clamp(0, 1)
    cart = (6.5 - away_x.abs()).clamp(0, 1) * (3.5 - (away_y - 2).abs()).clamp(0, 1)
    rail = (1.5 - (y - PIVOT - 7).abs()).clamp(0, 1) * ((x >= MARGIN - 1) & (x <= SIZE - MARGIN + 1))
    picture = torch.tensor(PAPER, device=device, dtype=torch.float32)
    for cover, colour in ((rail, RAIL), (cart, CART), (pole, ROD)):
        share = cover[..., None]
        picture = picture * (1 - share) + share * torch.tensor(colour, device=device, dtype=torch.float32)
    return picture.round().to(torch.uint8)


@dataclass(frozen=True)
class PixelCartPole:
    """The swing-up from a pole that hangs nearly still, observed as single images, without velocities: it needs memory.

    An action is held for `repeat` steps of 0.01 s, whose rewards are summed.
    """

    horizon: int = 250
    """actions until an episode is truncated"""
    repeat: int = 4
    """simulation steps per action"""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("pixel-cart-pole", (SIZE, SIZE, 3), 1, self.horizon, kind="image")

    @property
    def inner(self) -> CartPole:
        return CartPole(hard=False, horizon=self.horizon * self.repeat)

    def open(self) -> TorchEnv:
        return TorchEnv(self)

    def initial(self, seeds: Tensor) -> tuple[Tensor, ...]:
        return self.inner.initial(seeds)

    def observe(self, state: tuple[Tensor, ...]) -> UInt8[Tensor, "rows 64 64 3"]:
        return drawn(state[0], state[2] % (2 * math.pi))

    def transition(self, state: tuple[Tensor, ...], action: Float[Tensor, "rows 1"], t: int | Tensor) -> tuple[tuple[Tensor, ...], Step]:
        reward, ended = torch.zeros_like(state[0]), torch.zeros_like(state[0], dtype=torch.bool)
        for _ in range(self.repeat):
            state, step = self.inner.transition(state, action, 0)
            reward = reward + torch.where(ended, 0.0, step.reward)
            ended = ended | step.terminated
        truncated = (torch.as_tensor(t, device=reward.device) + 1 >= self.horizon) & ~ended
        return state, Step(self.observe(state), reward, ended, truncated)
