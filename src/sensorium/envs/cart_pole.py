"""CartPoleSwingUpHarder (Tang & Ha 2021, section 4.1; Deisenroth's swing-up as in David Ha's estool).

A pole hangs from a cart on a track of 4.8 m; the agent pushes the cart for ten seconds to swing the pole up and hold it near the middle.
Only the initial state is random; in the hard version about 40 % of the initial states cannot be recovered.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image, ImageDraw, ImageFont
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
    """Accelerations of the cart (m/s2) and the pole (rad/s2); angle 0 is upright."""
    s, c = torch.sin(angle), torch.cos(angle)
    cart = (-2 * POLE_MOMENT * spin**2 * s + 3 * POLE_MASS * GRAVITY * s * c + 4 * force - 4 * FRICTION * speed) / (
        4 * TOTAL_MASS - 3 * POLE_MASS * c**2
    )
    pole = (-3 * POLE_MOMENT * spin**2 * s * c + 6 * TOTAL_MASS * GRAVITY * s + 6 * (force - FRICTION * speed) * c) / (
        4 * POLE_LENGTH * TOTAL_MASS - 3 * POLE_MOMENT * c**2
    )
    return cart, pole


def reward(position: Float[Tensor, "rows"], angle: Float[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """Reward per step: 1 for an upright pole in the middle of the track; slightly negative past the ends of the track."""
    return (torch.cos(angle) + 1) / 2 * torch.cos(math.pi / 2 * position / TRACK)


@dataclass(frozen=True)
class CartPole:
    """The swing-up. Its state is (position m, speed m/s, angle rad, angular velocity rad/s), each [rows]."""

    hard: bool = True
    """whether initial states have a wide range, as in the paper; otherwise the pole hangs nearly still"""
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
        # explicit Euler: positions use the old velocities
        state = (position + speed * DT, speed + cart * DT, angle + spin * DT, spin + pole * DT)
        terminated = state[0].abs() > TRACK
        truncated = (torch.as_tensor(t) + 1 >= self.horizon) & ~terminated
        return state, Step(self.observe(state), reward(state[0], state[2]), terminated, truncated)

    @property
    def limits(self) -> tuple[float, float]:
        """Metres from the middle of the track to either end, and the length of the pole as it is drawn."""
        return TRACK, 1.6 * POLE_LENGTH

    def pose(self, state: tuple[Tensor, ...]) -> tuple[float, float]:
        """Position in metres and angle in radians of the first row; 0 is upright, and positive angles lean left."""
        return float(state[0][0]), float(state[2][0])

    def pushed(self, state: tuple[Tensor, ...], newtons: float) -> tuple[Tensor, ...]:
        """The state after an additional force on the cart during one step: the accelerations are linear in the force."""
        position, speed, angle, spin = state
        zero = torch.zeros_like(speed)
        added = [more - less for more, less in zip(*(accelerations(speed, angle, spin, zero + f) for f in (newtons, 0.0)), strict=True)]
        return position, speed + added[0] * DT, angle, spin + added[1] * DT


WIDTH, HEIGHT, ENLARGED = 480, 270, 3
SCALE = WIDTH * 0.42 / TRACK  # pixels a metre
GROUND = 190
INK, PAPER, RAIL, CART, ROD, TIP = "#1c2833", "#fbfaf7", "#b9b4a8", "#2f5d8a", "#d1603d", "#8c2f1b"


def draw(position: float, angle: float, action: float | None = None, title: str = "") -> np.ndarray:
    """A rendered image, uint8 [270, 480, 3], antialiased by downsampling; an arrow shows `action` where it is given."""
    k = ENLARGED
    image = Image.new("RGB", (WIDTH * k, HEIGHT * k), PAPER)
    pen = ImageDraw.Draw(image)
    ends = [WIDTH / 2 + side * TRACK * SCALE for side in (-1, 1)]
    pen.line([(ends[0] * k, GROUND * k), (ends[1] * k, GROUND * k)], fill=RAIL, width=4 * k)
    for end in ends:
        pen.rectangle([(end - 3) * k, (GROUND - 16) * k, (end + 3) * k, (GROUND + 8) * k], fill=RAIL)
    pen.line([(WIDTH / 2 * k, (GROUND + 6) * k), (WIDTH / 2 * k, (GROUND + 13) * k)], fill=RAIL, width=2 * k)
    x = WIDTH / 2 + position * SCALE
    for wheel in (-15, 15):
        pen.ellipse([(x + wheel - 6) * k, (GROUND - 12) * k, (x + wheel + 6) * k, GROUND * k], fill=INK)
    pen.rounded_rectangle([(x - 27) * k, (GROUND - 30) * k, (x + 27) * k, (GROUND - 8) * k], 5 * k, fill=CART)
    # positive angles lean left: a push to the right makes an upright pole fall to the left, and in the equations its angle grows
    pivot = (x, GROUND - 24)
    tip = (pivot[0] - 1.6 * POLE_LENGTH * SCALE * math.sin(angle), pivot[1] - 1.6 * POLE_LENGTH * SCALE * math.cos(angle))
    pen.line([(pivot[0] * k, pivot[1] * k), (tip[0] * k, tip[1] * k)], fill=ROD, width=8 * k)
    for centre, radius, colour in ((pivot, 5, INK), (tip, 6, TIP)):
        pen.ellipse([(centre[0] - radius) * k, (centre[1] - radius) * k, (centre[0] + radius) * k, (centre[1] + radius) * k], fill=colour)
    if action is not None and abs(action) > 0.02:
        push, y = 42 * action, GROUND + 24
        pen.line([(x * k, y * k), ((x + push) * k, y * k)], fill=INK, width=3 * k)
        head = math.copysign(7, action)
        pen.polygon([((x + push + head) * k, y * k), ((x + push) * k, (y - 5) * k), ((x + push) * k, (y + 5) * k)], fill=INK)
    if title:
        pen.text((12 * k, 8 * k), title, fill=INK, font=ImageFont.load_default(15 * k))
    return np.asarray(image.reduce(k))
