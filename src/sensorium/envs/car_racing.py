"""CarRacing-v3 with the observations of World Models (colour, without the indicator panel) and of AttentionNeuron (grey patches)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from sensorium.core.env import EnvSpec, World
from sensorium.core.errors import Usage
from sensorium.envs import patches
from sensorium.envs.host import HostEnv, Pool, Simulators, Singles, extra
from sensorium.envs.pixels import SIZE, legacy, small

FULL, ROWS = 96, 84
"""height of a frame, and of its part above the indicator panel"""


@dataclass(frozen=True)
class CarRacing:
    """Steering in [-1, 1], gas and brake in [0, 1]; 1000 / N for each of a track's N tiles, -0.1 per step, -100 for leaving the field.

    An episode ends when the lap is finished (95 % of the tiles) or the field is left; the 2018 version required every tile.
    """

    engine: Literal["envpool", "gymnasium"] = "envpool"
    """the simulator: EnvPool, batched, or Gymnasium, sequential; the same seed gives different tracks"""
    horizon: int = 1000
    """steps until an episode is truncated"""
    legacy: bool = False
    """images preprocessed as in the authors' code, for their weights"""

    @property
    def student(self) -> "CarPatches":
        """The world of a student of an agent of this one."""
        return CarPatches()

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("car-racing", (SIZE, SIZE, 3), 3, self.horizon, low=(-1.0, 0.0, 0.0), rows=64, kind="image")

    @property
    def steering(self) -> dict[str, tuple[str, tuple[float, ...]]]:
        """Key -> what it does and its action."""
        return {
            "left": ("steer left", (-1.0, 0.0, 0.0)), "right": ("steer right", (1.0, 0.0, 0.0)), "up": ("gas", (0.0, 1.0, 0.0)),
            "down": ("brake", (0.0, 0.0, 0.8)),
        }  # fmt: skip

    def observe(self, frames: np.ndarray) -> Tensor:
        """Observations [rows, 64, 64, 3] from frames [rows, 96, 96, 3]."""
        return (legacy if self.legacy else small)(torch.from_numpy(frames), ROWS)

    def open(self) -> HostEnv:
        return simulated(self.spec, self.engine, self.observe)


def simulated(spec: EnvSpec, engine: str, observe: Callable[[np.ndarray], Tensor]) -> HostEnv:
    """An Env of cars on a simulator, with observations from frames by `observe`. Errors: core.errors.Usage for an unknown engine."""
    if engine == "envpool":
        # one step more than the horizon, so that HostEnv truncates
        return HostEnv(spec, Pool("CarRacing-v3", observe, lambda action: action, max_episode_steps=spec.horizon + 1))
    if engine != "gymnasium":
        raise Usage(f"engine cannot be '{engine}'; allowed: envpool, gymnasium")
    extra("Box2D", "box2d")
    import gymnasium

    return HostEnv(spec, Singles(lambda: gymnasium.make("CarRacing-v3").unwrapped, observe))


GRASS = ((102, 204, 102), (102, 230, 102))
"""the two colours of grass, which a background replaces"""


@dataclass(frozen=True)
class CarPatches:
    """CarRacing observed as 256 grey patches of 6 x 6 pixels from the last four frames; the indicator panel is black."""

    engine: Literal["envpool", "gymnasium"] = "envpool"
    """the simulator: EnvPool, batched, or Gymnasium, sequential; the same seed gives different tracks"""
    horizon: int = 1000
    """steps until an episode is truncated"""
    senses: str = ""
    """senses specification for images, as for `evaluate --senses`"""
    patience: int = 0
    """number of consecutive steps with negative reward after which an episode ends: 20 in the paper's training; 0: no limit"""

    @property
    def student(self) -> "CarPatches":
        """The world of a student of an agent of this one: without its settings."""
        return CarPatches()

    @property
    def treatments(self) -> tuple[patches.Treatment, ...]:
        return patches.parse(self.senses)

    @property
    def training(self) -> "CarPatches":
        """The world for training by evolution, with `patience` 20 (the authors' training)."""
        return replace(self, patience=20)

    @property
    def spec(self) -> EnvSpec:
        n = patches.patches_of((FULL // patches.SIDE) ** 2, self.treatments)
        return EnvSpec("car-patches", (n, patches.STACK, patches.SIDE**2), 3, self.horizon, low=(-1.0, 0.0, 0.0), rows=32, kind="patches")

    def open(self) -> patches.PatchEnv:
        return patches.PatchEnv(self)

    def frames(self) -> HostEnv:
        spec = replace(self.spec, observation=(FULL, FULL, 3))
        env = simulated(spec, self.engine, torch.from_numpy)
        return HostEnv(spec, NegativeRewardLimit(env.simulators, self.patience)) if self.patience else env

    def offers(self, world: World) -> bool:
        return isinstance(world, CarRacing)

    def shown(self, env: HostEnv, frames: Tensor, world: CarRacing) -> Tensor:
        return world.observe(frames.cpu().numpy()).to(frames.device)

    def grey(self, frames: Tensor) -> Tensor:
        grey = patches.luma(frames)
        grey[:, ROWS:] = 0
        return grey

    def ground(self, frames: Tensor) -> Tensor:
        return grass(frames)


def grass(frames: UInt8[Tensor, "rows height width 3"]) -> Bool[Tensor, "rows height width"]:
    """Mask of the pixels with exactly a colour of grass."""
    colours = torch.tensor(GRASS, dtype=frames.dtype, device=frames.device)
    return (frames[..., None, :] == colours).all(-1).any(-1)


@dataclass(frozen=True)
class CarFrames:
    """CarRacing observed as the simulator's frames, 96 x 96 in colour with the panel: for AttentionAgent, the baseline."""

    engine: Literal["envpool", "gymnasium"] = "envpool"
    """the simulator: EnvPool, batched, or Gymnasium, sequential; the same seed gives different tracks"""
    horizon: int = 1000
    """steps until an episode is truncated"""
    senses: str = ""
    """a background specification, as for `evaluate --senses`"""
    patience: int = 0
    """number of consecutive steps with negative reward after which an episode ends: 20 in the paper's training; 0: no limit"""

    def __post_init__(self) -> None:
        if not all(isinstance(treatment, patches.Background) for treatment in self.treatments):
            raise Usage(f"'{self.senses}' is for patches; whole frames allow only background")

    @property
    def treatments(self) -> tuple[patches.Treatment, ...]:
        return patches.parse(self.senses)

    @property
    def training(self) -> "CarFrames":
        """The world for training by evolution, with `patience` 20 (the authors' training)."""
        return replace(self, patience=20)

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("car-frames", (FULL, FULL, 3), 3, self.horizon, low=(-1.0, 0.0, 0.0), rows=32, kind="image")

    def open(self) -> HostEnv:
        scenery = [
            patches.scenery(treatment.name, FULL, FULL) for treatment in self.treatments if isinstance(treatment, patches.Background)
        ]

        def observe(frames: np.ndarray) -> Tensor:
            obs = torch.from_numpy(frames)
            for background in scenery:
                obs = torch.where(grass(obs)[..., None], background, obs)
            return obs

        env = simulated(self.spec, self.engine, observe)
        return HostEnv(self.spec, NegativeRewardLimit(env.simulators, self.patience)) if self.patience else env


class NegativeRewardLimit:
    """Simulators whose episodes end after more than `steps` consecutive steps with negative reward; for training only."""

    def __init__(self, inner: Simulators, steps: int):
        self.inner, self.steps, self.close = inner, steps, inner.close

    def begin(self, seeds: list[int]) -> Tensor:
        self.idle = np.zeros(len(seeds), dtype=np.int64)
        return self.inner.begin(seeds)

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        obs, reward, ended = self.inner.step(action, live)
        self.idle = np.where(reward < 0, self.idle + 1, 0)
        return obs, reward, ended | (self.idle > self.steps)
