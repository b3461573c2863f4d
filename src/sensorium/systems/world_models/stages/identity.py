"""Identity: V for vector observations, which needs no training: the observation itself, normalised."""

from dataclasses import dataclass
from typing import NoReturn

import torch

from sensorium.core.errors import Usage
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, Metrics, State, at_least
from sensorium.data.episodes import Episodes
from sensorium.systems.world_models.model import IdentityVision
from sensorium.systems.world_models.stages.collect import whole

SMALLEST = 1e-3
"""smallest standard deviation; sensors that hardly change are not amplified beyond it"""


@dataclass(frozen=True)
class Identity:
    """Measure the mean and standard deviation of each sensor over the recorded episodes. z is the normalised observation plus noise."""

    learned = ("mean", "sd")

    episodes: Folder = Folder("../1-collect")
    """the recorded episodes"""
    noise: float = 0.01
    """standard deviation of the noise on z, which bounds M's likelihood where a sensor is predictable"""
    steps: int = 1
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        at_least(self, steps=0, checkpoint_every=1)
        if self.noise <= 0:
            raise Usage(f"noise cannot be {self.noise}; more than 0")

    def init(self, seeds: Seeds) -> State:
        episodes = Episodes(whole(self.episodes))
        sensors = episodes.frames(0).shape[1:]
        if len(sensors) != 1:
            raise Usage(f"{self.episodes} has observations {sensors}; without training V can only be the identity on vectors")
        return {"mean": torch.zeros(sensors), "sd": torch.ones(sensors)}

    def open(self, state: State) -> None:
        return None

    def step(self, state: State, live: None, seeds: Seeds) -> Metrics:
        episodes, count = Episodes(whole(self.episodes)), 0
        total = square = torch.zeros(state["mean"].shape, dtype=torch.float64)
        for number in range(len(episodes)):
            frames = torch.from_numpy(episodes.frames(number)).double()
            total, square, count = total + frames.sum(0), square + (frames**2).sum(0), count + len(frames)
        mean = total / count
        sd = (square / count - mean**2).clamp(min=0).sqrt().clamp(min=SMALLEST)
        state |= {name: part.float().to(state[name].device) for name, part in (("mean", mean), ("sd", sd))}
        return {"sensors": float(len(mean)), "frames": float(count), "sd/mean": float(sd.mean())}

    def model(self, state: State) -> IdentityVision:
        """V with the constants of a state."""
        return IdentityVision(state["mean"], state["sd"], self.noise)

    def policy(self, state: State) -> NoReturn:
        raise Usage("this stage holds V, which does not act; give a run with a controller")
