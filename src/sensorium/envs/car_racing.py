"""CarRacing-v3: as World Models sees it, in colour without the panel at its foot, and as AttentionNeuron does, in grey patches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from sensorium.core.env import EnvSpec
from sensorium.core.errors import Usage
from sensorium.envs import patches
from sensorium.envs.host import HostEnv, Pool, Simulators, Singles, extra
from sensorium.envs.pixels import SIZE, legacy, small

FULL, ROWS = 96, 84
"""lines of a frame, and of those that are kept: below them stands the panel"""


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
        return EnvSpec("car-racing", (SIZE, SIZE, 3), 3, self.horizon, low=(-1.0, 0.0, 0.0), rows=64)

    def see(self, frames: np.ndarray) -> Tensor:
        """Frames [rows, 96, 96, 3] as the agent gets them."""
        return (legacy if self.legacy else small)(torch.from_numpy(frames), ROWS)

    def open(self) -> HostEnv:
        return simulated(self.spec, self.engine, self.see)


def simulated(spec: EnvSpec, engine: str, see: Callable[[np.ndarray], Tensor]) -> HostEnv:
    """Cars on a simulator."""
    if engine == "envpool":
        # one step more than we ask for, so that truncation is ours
        return HostEnv(spec, Pool("CarRacing-v3", see, lambda action: action, max_episode_steps=spec.horizon + 1))
    if engine != "gymnasium":
        raise Usage(f"engine cannot be '{engine}'; allowed: envpool, gymnasium")
    extra("Box2D", "box2d")
    import gymnasium

    return HostEnv(spec, Singles(lambda: gymnasium.make("CarRacing-v3").unwrapped, see))


GRASS = ((102, 204, 102), (102, 230, 102))
"""the two greens beside the road, where a background shows through"""


@dataclass(frozen=True)
class CarPatches:
    """The same cars, seen as 256 grey patches of 6 x 6 of the last four frames; the panel at the foot is black."""

    engine: Literal["envpool", "gymnasium"] = "envpool"
    """the simulator: batched, or one environment after another; tracks differ from seed to seed between the two"""
    horizon: int = 1000
    """steps until an episode is truncated"""
    senses: str = ""
    """what is done to the eyes, as for `evaluate --senses`"""
    patience: int = 0
    """steps in a row that earn less than nothing after which an episode ends: 20 in the paper's training; 0: it does not"""

    @property
    def treatments(self) -> tuple[patches.Treatment, ...]:
        return patches.parse(self.senses)

    @property
    def training(self) -> "CarPatches":
        """The world while an agent is evolved: it does not wait for who has lost the road (the authors' training)."""
        return replace(self, patience=20)

    @property
    def spec(self) -> EnvSpec:
        n = patches.patches_of((FULL // patches.SIDE) ** 2, self.treatments)
        return EnvSpec("car-patches", (n, patches.STACK, patches.SIDE**2), 3, self.horizon, low=(-1.0, 0.0, 0.0), rows=32)

    def open(self) -> patches.PatchEnv:
        return patches.PatchEnv(self)

    def frames(self) -> HostEnv:
        spec = replace(self.spec, observation=(FULL, FULL, 3))
        env = simulated(spec, self.engine, torch.from_numpy)
        return HostEnv(spec, Patience(env.simulators, self.patience)) if self.patience else env

    @property
    def others(self) -> tuple[type, ...]:
        return (CarRacing,)

    def shown(self, env: HostEnv, frames: Tensor, world: CarRacing) -> Tensor:
        return world.see(frames.cpu().numpy()).to(frames.device)

    def grey(self, frames: Tensor) -> Tensor:
        grey = patches.luma(frames)
        grey[:, ROWS:] = 0
        return grey

    def ground(self, frames: Tensor) -> Tensor:
        return grass(frames)


def grass(frames: UInt8[Tensor, "rows height width 3"]) -> Bool[Tensor, "rows height width"]:
    """Where the grass is, to the colour."""
    colours = torch.tensor(GRASS, dtype=frames.dtype, device=frames.device)
    return (frames[..., None, :] == colours).all(-1).any(-1)


@dataclass(frozen=True)
class CarFrames:
    """The same cars, seen as the simulator draws them, 96 x 96 in colour with the panel: for AttentionAgent, the baseline."""

    engine: Literal["envpool", "gymnasium"] = "envpool"
    """the simulator: batched, or one environment after another; tracks differ from seed to seed between the two"""
    horizon: int = 1000
    """steps until an episode is truncated"""
    senses: str = ""
    """a background, as for `evaluate --senses`"""
    patience: int = 0
    """steps in a row that earn less than nothing after which an episode ends: 20 in the paper's training; 0: it does not"""

    def __post_init__(self) -> None:
        if not all(isinstance(treatment, patches.Background) for treatment in self.treatments):
            raise Usage(f"'{self.senses}' is for patches; whole frames can only be put before a background")

    @property
    def treatments(self) -> tuple[patches.Treatment, ...]:
        return patches.parse(self.senses)

    @property
    def training(self) -> "CarFrames":
        """The world while an agent is evolved: it does not wait for who has lost the road (the authors' training)."""
        return replace(self, patience=20)

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("car-frames", (FULL, FULL, 3), 3, self.horizon, low=(-1.0, 0.0, 0.0), rows=32)

    def open(self) -> HostEnv:
        scenery = [
            patches.scenery(treatment.name, FULL, FULL) for treatment in self.treatments if isinstance(treatment, patches.Background)
        ]

        def see(frames: np.ndarray) -> Tensor:
            seen = torch.from_numpy(frames)
            for behind in scenery:
                seen = torch.where(grass(seen)[..., None], behind, seen)
            return seen

        env = simulated(self.spec, self.engine, see)
        return HostEnv(self.spec, Patience(env.simulators, self.patience)) if self.patience else env


class Patience:
    """Simulators whose episodes end after a number of steps in a row that earned less than nothing: for training alone."""

    def __init__(self, inner: Simulators, steps: int):
        self.inner, self.steps, self.close = inner, steps, inner.close

    def begin(self, seeds: list[int]) -> Tensor:
        self.idle = np.zeros(len(seeds), dtype=np.int64)
        return self.inner.begin(seeds)

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        obs, reward, ended = self.inner.step(action, live)
        self.idle = np.where(reward < 0, self.idle + 1, 0)
        return obs, reward, ended | (self.idle > self.steps)
