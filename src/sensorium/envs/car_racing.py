"""CarRacing-v3 as World Models sees it: the picture without the panel at its foot, 64 x 64, and three continuous actions."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.core.env import EnvSpec
from sensorium.core.errors import Usage
from sensorium.envs.host import HostEnv, Pool, Singles, extra
from sensorium.envs.pixels import SIZE, legacy, small

ROWS = 84
"""lines of the 96 that are kept: below them stands the panel"""


@dataclass(frozen=True)
class CarRacing:
    """Steering in [-1, 1], gas and brake in [0, 1]; 1000 / N for each of a track's N tiles, -0.1 a step, -100 for leaving the field.

    An episode ends when the lap is finished (95 % of the tiles) or the field is left; the 2018 version asked for every tile.
    """

    engine: Literal["envpool", "gymnasium"] = "envpool"
    """the simulator: batched, or one environment after another; tracks differ from seed to seed between the two"""
    horizon: int = 1000
    """steps until an episode is truncated"""
    legacy: bool = False
    """pictures as the authors' code prepared them, for their own weights"""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("car-racing", (SIZE, SIZE, 3), 3, self.horizon, low=(-1.0, 0.0, 0.0), rows=32)

    def see(self, frames: np.ndarray) -> Tensor:
        """Frames [rows, 96, 96, 3] as the agent gets them."""
        return (legacy if self.legacy else small)(torch.from_numpy(frames), ROWS)

    def open(self) -> HostEnv:
        if self.engine == "envpool":
            # one step more than we ask for, so that truncation is ours
            pool = Pool("CarRacing-v3", self.see, lambda action: action, max_episode_steps=self.horizon + 1)
            return HostEnv(self.spec, pool)
        if self.engine != "gymnasium":
            raise Usage(f"engine cannot be '{self.engine}'; allowed: envpool, gymnasium")
        extra("Box2D", "box2d")
        import gymnasium

        return HostEnv(self.spec, Singles(lambda: gymnasium.make("CarRacing-v3").unwrapped, self.see))
