"""Atari's Pong in grey patches: 84 x 84, the score blacked out, a step every four frames, six buttons."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sensorium.core.env import EnvSpec
from sensorium.core.errors import Usage
from sensorium.envs import patches
from sensorium.envs.host import HostEnv, Pool

SIZE, SCORE = 84, 10
"""lines of the picture, and of those at its head that hold the score"""
BUTTONS = 6
"""nothing, fire, right, left, right and fire, left and fire"""
LONGEST = 27_000
"""steps after which EnvPool ends a game: 108,000 frames of the console"""


@dataclass(frozen=True)
class Pong:
    """A game up to 21 points: +1 for a point won, -1 for one lost. An action is six numbers, the largest of which is the button pressed.

    Preprocessing as in Tang & Ha 2021 (after Mnih et al. 2015): up to 30 idle frames at first, four frames a step, the maximum of the last two, grey,
    areas averaged; no clipping, no lives.
    """

    horizon: int = LONGEST
    """steps until a game is cut off"""
    senses: str = ""
    """what is done to the eyes, as for `evaluate --senses`"""

    def __post_init__(self) -> None:
        if any(isinstance(treatment, patches.Background) for treatment in self.treatments):
            raise Usage("Pong has nothing behind its scene; a background can be seen in car-patches")

    @property
    def treatments(self) -> tuple[patches.Treatment, ...]:
        return patches.parse(self.senses)

    @property
    def spec(self) -> EnvSpec:
        n = patches.patches_of((SIZE // patches.SIDE) ** 2, self.treatments)
        return EnvSpec("pong", (n, patches.STACK, patches.SIDE**2), BUTTONS, self.horizon, rows=32)

    def open(self) -> patches.PatchEnv:
        return patches.PatchEnv(self)

    def frames(self) -> HostEnv:
        consoles = Consoles(self.horizon, SIZE, lambda consoles, frames: torch.from_numpy(frames[:, -1]))
        return HostEnv(replace(self.spec, observation=(SIZE, SIZE)), consoles)

    @property
    def others(self) -> tuple[type, ...]:
        return (PongMemory,)

    def shown(self, env: HostEnv, frames: Tensor, world: "PongMemory") -> Tensor:
        assert isinstance(env.simulators, Consoles)
        return world.see(env.simulators)

    def grey(self, frames: Tensor) -> Tensor:
        grey = frames.clone()
        grey[:, :SCORE] = 0
        return grey

    def ground(self, frames: Tensor) -> Tensor:
        return torch.zeros_like(frames, dtype=torch.bool)


def press(action: np.ndarray) -> np.ndarray:
    """The button whose number is largest."""
    return action.argmax(1).astype(np.int32)


BALL_X, BALL_Y, BALL_DX, BALL_DY, OTHER, OWN, FRAME = 49, 54, 58, 56, 50, 51, 8
"""bytes of the game's memory: the ball and how far it moves in a frame, both paddles, and a counter of frames"""
LINE, TOP, BOTTOM = 187.0, 44.0, 207.0
"""where the ball meets the player's paddle, and the walls"""
STRIDE, HIGHEST, LOWEST = 23.0, 40.0, 204.0
"""lines by which a button moves the place where the paddle will rest, at once; the ends of its way. The paddle glides after that place"""
MOVES = np.array([0, 0, -1, 1, -1, 1], dtype=np.float32)
"""which way each button sends the paddle"""


class Consoles(Pool):
    """Batches of the game on EnvPool, which also tell what its memory holds, and where the paddle will rest when no button is pressed again."""

    def __init__(self, horizon: int, size: int, see: Callable[["Consoles", np.ndarray], Tensor]):
        super().__init__(
            "Pong-v5", lambda frames: see(self, frames), press, max_episode_steps=min(horizon + 1, LONGEST), stack_num=1, frame_skip=4, noop_max=30,
            use_fire_reset=False, episodic_life=False, reward_clip=False, gray_scale=True, img_height=size, img_width=size,
        )  # fmt: skip

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        self.moved = MOVES[press(action)]
        return super().step(action, live)

    def told(self, info: dict[str, np.ndarray], first: bool) -> None:
        before, self.ram = None if first else self.ram, info["ram"].astype(np.float32)
        own = self.ram[:, OWN]
        if before is None:
            self.rest = own
            return
        still = (self.moved == 0) & (before[:, OWN] == own)
        self.rest = np.where(still, own, np.clip(self.rest + STRIDE * self.moved, HIGHEST, LOWEST))


def crossing(x: Tensor, y: Tensor, dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Where a ball that flies towards the player's line will cross it, walls being mirrors, and after how many steps; (y, 0) for any other."""
    coming = dx > 0
    steps = torch.where(coming, (LINE - x).clamp(min=0) / torch.where(coming, dx, 1), 0)
    height = BOTTOM - TOP
    folded = torch.remainder(y + steps * dy - TOP, 2 * height)
    return TOP + torch.minimum(folded, 2 * height - folded), steps


def signed(byte: np.ndarray) -> np.ndarray:
    """A byte as a number from -128 to 127."""
    return np.where(byte > 127, byte - 256, byte)


@dataclass(frozen=True)
class PongMemory:
    """The same game, read from the console's memory: for a teacher. Lines and columns are the console's; no ball: what has to do with it is 0."""

    horizon: int = LONGEST
    """steps until a game is cut off"""

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
        return EnvSpec("pong-memory", (len(sensors),), BUTTONS, self.horizon, sensors, rows=64)

    def see(self, consoles: Consoles) -> Tensor:
        ram = consoles.ram
        # lines and columns a step; the memory counts the ball's speed across towards the other player
        ball = np.stack([ram[:, BALL_X], ram[:, BALL_Y], -4 * signed(ram[:, BALL_DX]), 4 * signed(ram[:, BALL_DY])], 1)
        ball = ball * (ram[:, BALL_Y] > 0)[:, None]
        rest = np.stack([ram[:, OWN], consoles.rest, ram[:, OTHER], ram[:, FRAME] % 2], 1)
        return torch.from_numpy(np.concatenate([ball, rest], 1).astype(np.float32))

    def open(self) -> HostEnv:
        return HostEnv(self.spec, Consoles(self.horizon, 8, lambda consoles, frames: self.see(consoles)))
