"""CartPoleSwingUpHarder (Tang & Ha 2021, section 4.1; after Deisenroth's swing-up as David Ha's estool has it).

A pole hangs from a cart on a track of 4.8 m; the agent pushes the cart for ten seconds to swing the pole up and to hold it near the
middle. Nothing physical is random but the start, which in the hard version is so wild that about four starts in ten cannot be saved.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import EnvSpec, Step, TorchEnv
from sensorium.core.seeding import normal, uniform

GRAVITY = 9.82  # m/s2
CART_MASS = 0.5  # kg
POLE_MASS = 0.5  # kg
TOTAL_MASS = CART_MASS + POLE_MASS
POLE_LENGTH = 0.6  # m
POLE_MOMENT = POLE_MASS * POLE_LENGTH  # kg m
FORCE = 10.0  # N at action 1
FRICTION = 0.1  # N s/m
DT = 0.01  # s
TRACK = 2.4  # m from the middle to either end


def accelerations(
    speed: Float[Tensor, "rows"], angle: Float[Tensor, "rows"], spin: Float[Tensor, "rows"], force: Float[Tensor, "rows"]
) -> tuple[Float[Tensor, "rows"], Float[Tensor, "rows"]]:
    """Of the cart (m/s2) and of the pole (rad/s2); the angle is 0 when the pole stands upright."""
    s, c = torch.sin(angle), torch.cos(angle)
    cart = (-2 * POLE_MOMENT * spin**2 * s + 3 * POLE_MASS * GRAVITY * s * c + 4 * force - 4 * FRICTION * speed) / (
        4 * TOTAL_MASS - 3 * POLE_MASS * c**2
    )
    pole = (-3 * POLE_MOMENT * spin**2 * s * c + 6 * TOTAL_MASS * GRAVITY * s + 6 * (force - FRICTION * speed) * c) / (
        4 * POLE_LENGTH * TOTAL_MASS - 3 * POLE_MOMENT * c**2
    )
    return cart, pole


def reward(position: Float[Tensor, "rows"], angle: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """At most 1, for an upright pole in the middle of the track; slightly negative past the ends of the track."""
    return (torch.cos(angle) + 1) / 2 * torch.cos(math.pi / 2 * position / TRACK)


@dataclass(frozen=True)
class CartPole:
    """The swing-up. Its state is (position m, speed m/s, angle rad, spin rad/s), one column each."""

    hard: bool = True
    """wild starts, as in the paper; otherwise the pole hangs nearly still"""
    horizon: int = 1000
    """steps of 0.01 s until an episode is truncated"""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("cart-pole", (5,), 1, self.horizon, ("position", "speed", "cos angle", "sin angle", "spin"))

    def open(self) -> TorchEnv:
        return TorchEnv(self)

    def initial(self, seeds: Int[Tensor, "rows"]) -> tuple[Tensor, ...]:
        if self.hard:
            low = torch.tensor([-TRACK, -10.0, math.pi / 2, -10.0], device=seeds.device)
            span = torch.tensor([2 * TRACK, 20.0, math.pi, 20.0], device=seeds.device)
            start = low + span * uniform(seeds, 0, 4)
        else:
            start = torch.tensor([0.0, 0.0, math.pi, 0.0], device=seeds.device) + 0.2 * normal(seeds, 0, 4)
        return tuple(start.unbind(1))

    def observe(self, state: tuple[Tensor, ...]) -> Float[Tensor, "rows 5"]:
        position, speed, angle, spin = state
        return torch.stack([position, speed, torch.cos(angle), torch.sin(angle), spin]).mT

    def transition(self, state: tuple[Tensor, ...], action: Float[Tensor, "rows 1"], t: int | Tensor) -> tuple[tuple[Tensor, ...], Step]:
        position, speed, angle, spin = state
        cart, pole = accelerations(speed, angle, spin, FORCE * action[:, 0].clamp(-1, 1))
        # explicit Euler: positions move with the old velocities
        state = (position + speed * DT, speed + cart * DT, angle + spin * DT, spin + pole * DT)
        terminated = state[0].abs() > TRACK
        truncated = (torch.as_tensor(t) + 1 >= self.horizon) & ~terminated
        return state, Step(self.observe(state), reward(state[0], state[2]), terminated, truncated)
