"""Atari's Pong in grey patches: 84 x 84, the score blacked out, a step every four frames, six buttons."""

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
        pool = Pool(
            "Pong-v5", lambda frames: torch.from_numpy(frames[:, -1]), press, max_episode_steps=min(self.horizon + 1, LONGEST), stack_num=1, frame_skip=4,
            noop_max=30, use_fire_reset=False, episodic_life=False, reward_clip=False, gray_scale=True, img_height=SIZE, img_width=SIZE,
        )  # fmt: skip
        return HostEnv(replace(self.spec, observation=(SIZE, SIZE)), pool)

    def grey(self, frames: Tensor) -> Tensor:
        grey = frames.clone()
        grey[:, :SCORE] = 0
        return grey

    def ground(self, frames: Tensor) -> Tensor:
        return torch.zeros_like(frames, dtype=torch.bool)


def press(action: np.ndarray) -> np.ndarray:
    """The button whose number is largest."""
    return action.argmax(1).astype(np.int32)
