"""Atari's Pong in grey patches: 84 x 84, the score blacked out, a step every four frames, six buttons."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sensorium.core.env import EnvSpec
from sensorium.core.errors import Usage
from sensorium.envs import eyes
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
        if any(isinstance(treatment, eyes.Background) for treatment in self.treatments):
            raise Usage("Pong has nothing behind its scene; a background can be seen in car-patches")

    @property
    def treatments(self) -> tuple[eyes.Treatment, ...]:
        return eyes.parse(self.senses)

    @property
    def spec(self) -> EnvSpec:
        n = eyes.patches_of((SIZE // eyes.SIDE) ** 2, self.treatments)
        return EnvSpec("pong", (n, eyes.STACK, eyes.SIDE**2), BUTTONS, self.horizon, rows=32)

    def open(self) -> eyes.Eyes:
        return eyes.Eyes(self)

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


class Consoles(Pool):
    """Batches of the game on EnvPool, which also tell what its memory holds now and held a step before."""

    def __init__(self, horizon: int, size: int, see: Callable[["Consoles", np.ndarray], Tensor]):
        super().__init__(
            "Pong-v5", lambda frames: see(self, frames), press, max_episode_steps=min(horizon + 1, LONGEST), stack_num=1, frame_skip=4, noop_max=30,
            use_fire_reset=False, episodic_life=False, reward_clip=False, gray_scale=True, img_height=size, img_width=size,
        )  # fmt: skip

    def told(self, info: dict[str, np.ndarray], first: bool) -> None:
        ram = info["ram"].astype(np.float32)
        self.before = ram if first else self.ram
        self.ram = ram


BALL_X, BALL_Y, OTHER, OWN, REST = 49, 54, 50, 51, 4
"""bytes of the game's memory; ball and paddles have other origins. A button moves the place where the own paddle will rest at once, by some 23 lines a
step, and the paddle glides after it: 0.2 of the way are left after a step"""
LINE, TOP, BOTTOM = 187.0, 44.0, 207.0
"""where the ball meets the player's paddle, and the walls"""


def crossing(x: np.ndarray, y: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a ball that flies towards the player's line will cross it, walls being mirrors, and after how many steps; (y, 0) for any other."""
    coming = dx > 0
    steps = np.where(coming, np.maximum(LINE - x, 0) / np.where(coming, dx, 1), 0)
    height = BOTTOM - TOP
    folded = np.mod(y + steps * dy - TOP, 2 * height)
    return TOP + np.minimum(folded, 2 * height - folded), steps


@dataclass(frozen=True)
class PongMemory:
    """The same game, read from the console's memory: for a teacher.

    Seven numbers: where the ball will cross the player's line, seen from where the paddle will rest, and where it is, seen from the paddle; the way
    that the paddle still glides, the ball's two speeds, the steps until the crossing, and where the other paddle is. No ball: what has to do with it is 0.
    """

    horizon: int = LONGEST
    """steps until a game is cut off"""
    praise: float = 0.0
    """reward for playing a ball back, on top of points, while a teacher is evolved"""
    lesson: int = 0
    """steps of a game while a teacher is evolved; 0: no fewer than else"""
    learning: bool = False
    """whether a teacher is being evolved"""

    @property
    def school(self) -> "PongMemory":
        """The world while a teacher is evolved."""
        return replace(self, horizon=min(self.horizon, self.lesson or self.horizon), learning=True)

    @property
    def spec(self) -> EnvSpec:
        sensors = ("crossing", "ball", "way to glide", "ball's speed across", "ball's speed along", "steps left", "other paddle")
        return EnvSpec("pong-memory", (len(sensors),), BUTTONS, self.horizon, sensors, rows=64)

    def see(self, consoles: Consoles) -> Tensor:
        now, before = consoles.ram, consoles.before
        x, y, own, other, rest = (now[:, byte] for byte in (BALL_X, BALL_Y, OWN, OTHER, REST))
        there = (y > 0) & (before[:, BALL_Y] > 0)
        dx, dy = (np.where(there, now[:, byte] - before[:, byte], 0) for byte in (BALL_X, BALL_Y))
        y_then, steps = crossing(x, y, dx, dy)
        where = np.stack([(y_then - rest) / 32, (y - own) / 32], 1) * there[:, None]
        flight = np.stack([dy / 8, dx / 4, steps / 32], 1) * there[:, None]
        paddles = np.stack([(rest - own) / 16, (other - own) / 64], 1)
        return torch.from_numpy(np.concatenate([where, paddles[:, :1], flight, paddles[:, 1:]], 1).astype(np.float32))

    def open(self) -> HostEnv:
        consoles = Consoles(self.horizon, 8, lambda consoles, frames: self.see(consoles))
        return HostEnv(self.spec, Praised(consoles, self.praise) if self.learning and self.praise else consoles)


class Praised:
    """Games in which a ball that is played back is worth something: for training alone."""

    def __init__(self, inner: Consoles, praise: float):
        self.inner, self.praise, self.begin, self.close = inner, praise, inner.begin, inner.close

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        coming = self.inner.ram[:, BALL_X] > self.inner.before[:, BALL_X]
        obs, reward, ended = self.inner.step(action, live)
        now, before = self.inner.ram, self.inner.before
        back = coming & (now[:, BALL_X] < before[:, BALL_X]) & (now[:, BALL_Y] > 0) & (before[:, BALL_X] > 150)
        return obs, reward + self.praise * back, ended
