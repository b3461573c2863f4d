"""Atari Pong as grey patches: 84 x 84 pixels, the score black, frame skip 4, six actions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sensorium.core.env import EnvSpec, World
from sensorium.core.errors import Usage
from sensorium.envs import patches
from sensorium.envs.host import HostEnv, Pool

SIZE, SCORE = 84, 10
"""height of an image, and of its upper part with the score"""
BUTTONS = 6
"""no-op, fire, right, left, right and fire, left and fire"""
LONGEST = 27_000
"""steps after which EnvPool ends a game: 108,000 frames"""


@dataclass(frozen=True)
class Pong:
    """A game up to 21 points: +1 for a point won, -1 for one lost. An action is six scores; the largest selects the button.

    Preprocessing as in Tang & Ha 2021 (after Mnih et al. 2015): up to 30 initial no-ops, frame skip 4, maximum of the last two frames,
    grey, area interpolation; no reward clipping, no lives.
    """

    horizon: int = LONGEST
    """steps until a game is truncated"""
    senses: str = ""
    """senses specification for images, as for `evaluate --senses`"""

    def __post_init__(self) -> None:
        if any(isinstance(treatment, patches.Background) for treatment in self.treatments):
            raise Usage("Pong has no background to replace; use car-patches")

    @property
    def student(self) -> "Pong":
        """The world of a student of an agent of this one: without its settings."""
        return Pong()

    @property
    def treatments(self) -> tuple[patches.Treatment, ...]:
        return patches.parse(self.senses)

    @property
    def spec(self) -> EnvSpec:
        n = patches.patches_of((SIZE // patches.SIDE) ** 2, self.treatments)
        return EnvSpec("pong", (n, patches.STACK, patches.SIDE**2), BUTTONS, self.horizon, rows=32, discrete=True, kind="patches")

    def open(self) -> patches.PatchEnv:
        return patches.PatchEnv(self)

    def frames(self) -> HostEnv:
        consoles = Consoles(self.horizon, SIZE, lambda consoles, frames: torch.from_numpy(frames[:, -1]))
        return HostEnv(replace(self.spec, observation=(SIZE, SIZE)), consoles)

    def offers(self, world: World) -> bool:
        return isinstance(world, PongMemory)

    def shown(self, env: HostEnv, frames: Tensor, world: "PongMemory") -> Tensor:
        assert isinstance(env.simulators, Consoles)
        return world.observe(env.simulators)

    def grey(self, frames: Tensor) -> Tensor:
        grey = frames.clone()
        grey[:, :SCORE] = 0
        return grey

    def ground(self, frames: Tensor) -> Tensor:
        return torch.zeros_like(frames, dtype=torch.bool)


def press(action: np.ndarray) -> np.ndarray:
    """The button with the largest score."""
    return action.argmax(1).astype(np.int32)


BALL_X, BALL_Y, BALL_DX, BALL_DY, OTHER, OWN, FRAME = 49, 54, 58, 56, 50, 51, 8
"""RAM addresses: the ball's position and its movement per frame, both paddles, and the frame counter"""
LINE, TOP, BOTTOM = 187.0, 44.0, 207.0
"""column at which the ball meets the player's paddle, and rows of the walls"""
STRIDE, HIGHEST, LOWEST = 23.0, 40.0, 204.0
"""rows by which a button moves the paddle's target position, and the ends of its range; the paddle moves gradually to the target"""
MOVES = np.array([0, 0, -1, 1, -1, 1], dtype=np.float32)
"""direction of the paddle for each button"""


class Consoles(Pool):
    """Pong on EnvPool, with its RAM (`ram`) and the paddle's target position (`rest`)."""

    def __init__(self, horizon: int, size: int, observe: Callable[["Consoles", np.ndarray], Tensor]):
        super().__init__(
            "Pong-v5", lambda frames: observe(self, frames), press, max_episode_steps=min(horizon + 1, LONGEST), stack_num=1, frame_skip=4, noop_max=30,
            use_fire_reset=False, episodic_life=False, reward_clip=False, gray_scale=True, img_height=size, img_width=size,
        )  # fmt: skip

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        self.moved = MOVES[press(action)]
        return super().step(action, live)

    def on_info(self, info: dict[str, np.ndarray], first: bool) -> None:
        before, self.ram = None if first else self.ram, info["ram"].astype(np.float32)
        own = self.ram[:, OWN]
        if before is None:
            self.rest = own
            return
        still = (self.moved == 0) & (before[:, OWN] == own)
        self.rest = np.where(still, own, np.clip(self.rest + STRIDE * self.moved, HIGHEST, LOWEST))


def crossing(x: Tensor, y: Tensor, dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Row and steps until a ball moving towards the player, reflected at the walls, reaches the paddle's column; (y, 0) for others."""
    coming = dx > 0
    steps = torch.where(coming, (LINE - x).clamp(min=0) / torch.where(coming, dx, 1), 0)
    height = BOTTOM - TOP
    folded = torch.remainder(y + steps * dy - TOP, 2 * height)
    return TOP + torch.minimum(folded, 2 * height - folded), steps


def signed(byte: np.ndarray) -> np.ndarray:
    """Bytes as signed numbers, -128 to 127."""
    return np.where(byte > 127, byte - 256, byte)


@dataclass(frozen=True)
class PongMemory:
    """Pong observed from the console's RAM, for a teacher. Rows and columns are the console's; without a ball its sensors are 0."""

    horizon: int = LONGEST
    """steps until a game is truncated"""

    @property
    def student(self) -> Pong:
        """The world of a student of an agent of this one."""
        return Pong()

    @property
    def spec(self) -> EnvSpec:
        sensors = (
            "ball across",
            "ball along",
            "its speed across",
            "its speed along",
            "paddle",
            "paddle's rest",
            "other paddle",
            "odd frame",
        )
        return EnvSpec("pong-memory", (len(sensors),), BUTTONS, self.horizon, sensors, rows=64, discrete=True)

    def observe(self, consoles: Consoles) -> Tensor:
        ram = consoles.ram
        # rows and columns per step; in RAM the ball's horizontal speed is positive towards the opponent
        ball = np.stack([ram[:, BALL_X], ram[:, BALL_Y], -4 * signed(ram[:, BALL_DX]), 4 * signed(ram[:, BALL_DY])], 1)
        ball = ball * (ram[:, BALL_Y] > 0)[:, None]
        rest = np.stack([ram[:, OWN], consoles.rest, ram[:, OTHER], ram[:, FRAME] % 2], 1)
        return torch.from_numpy(np.concatenate([ball, rest], 1).astype(np.float32))

    def open(self) -> HostEnv:
        return HostEnv(self.spec, Consoles(self.horizon, 8, lambda consoles, frames: self.observe(consoles)))
