"""Ant, a body on four legs of two joints each that is to run: PyBullet's, as in the paper, and MuJoCo's, another body of that name."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.core.env import EnvSpec
from sensorium.envs.host import HostEnv, Pool, Singles, extra, quiet

JOINTS = [f"{part} {leg}" for leg in range(1, 5) for part in ("hip", "ankle")]
SENSORS = (
    "height", "sin of the goal's angle", "cos of the goal's angle", "speed ahead", "speed aside", "speed up", "roll", "pitch",
    *(f"{what} of {joint}" for joint in JOINTS for what in ("place", "speed")), *(f"foot {leg} on the ground" for leg in range(1, 5)),
)  # fmt: skip


def floats(observations: Any) -> Tensor:
    """Observations as a float32 tensor."""
    return torch.from_numpy(np.asarray(observations, dtype=np.float32))


@dataclass(frozen=True)
class Ant:
    """AntBulletEnv-v0 (PyBullet), as in Tang & Ha 2021: 28 sensors, 8 torques.

    Reward: 1 for being alive, the speed towards a goal a kilometre away, less what electricity and joints at their limits cost. An episode
    ends when the body touches the ground.
    """

    horizon: int = 1000
    """steps until an episode is truncated"""
    shaped: bool = False
    """whether the reward is that of the paper's training: nothing for being alive, and never below 0"""

    @property
    def training(self) -> "Ant":
        """The world while an agent is evolved: one that pays for running alone (the authors' training)."""
        return replace(self, shaped=True)

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("ant", (len(SENSORS),), len(JOINTS), self.horizon, SENSORS, rows=64)

    def open(self) -> HostEnv:
        return HostEnv(self.spec, Singles(self.make, floats))

    def filmed(self) -> HostEnv:
        """One ant with a camera behind it."""
        return HostEnv(self.spec, Singles(lambda: replace(self, shaped=False).make("rgb_array"), floats))

    def picture(self, env: HostEnv) -> np.ndarray:
        """What the camera of `filmed` sees: uint8 [240, 320, 3]."""
        assert isinstance(env.simulators, Singles)
        return np.asarray(env.simulators.rows[0].render(), dtype=np.uint8)

    def make(self, mode: str | None = None) -> Any:
        import gymnasium

        with quiet():
            extra("pybullet_envs_gymnasium", "bullet")
            env = gymnasium.make("AntBulletEnv-v0", render_mode=mode).unwrapped
            # in its very first episode the simulator does not count the floor among the body's parts yet
            env.reset(seed=0)
        return Running(env) if self.shaped else env


class Running:
    """An ant of PyBullet whose reward is that of the paper's training."""

    def __init__(self, env: Any):
        self.env, self.reset, self.close = env, env.reset, env.close

    def step(self, action: np.ndarray) -> tuple[Any, ...]:
        obs, _, *rest = self.env.step(action)
        return (obs, max(0.0, float(sum(self.env.rewards[1:]))), *rest)


@dataclass(frozen=True)
class AntV5:
    """MuJoCo's Ant-v5 on EnvPool: 105 sensors, heavier, with contact forces among what it feels. A port, and no task of the paper."""

    horizon: int = 1000
    """steps until an episode is truncated"""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("ant-v5", (105,), 8, self.horizon, rows=64)

    def open(self) -> HostEnv:
        return HostEnv(self.spec, Pool("Ant-v5", floats, doubles, max_episode_steps=self.horizon + 1))


def doubles(action: np.ndarray) -> np.ndarray:
    """Actions as the float64 that MuJoCo takes."""
    return action.astype(np.float64)
