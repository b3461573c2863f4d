"""Ant, a four-legged body with eight joints that has to run: PyBullet's version, used in the paper, and MuJoCo's, which differs."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.core.env import EnvSpec
from sensorium.envs.host import HostEnv, Pool, Singles, extra, quiet

JOINTS = [f"{part} {leg}" for leg in range(1, 5) for part in ("hip", "ankle")]
TRUNK, LIMB = 0.25, 0.08
"""radius of the trunk and of a limb, in metres"""
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

    Reward: 1 for being alive, plus the speed towards a goal 1 km away, minus costs of electricity and of joints at their limits. An
    episode ends when the body touches the ground.
    """

    horizon: int = 1000
    """steps until an episode is truncated"""
    shaped: bool = False
    """whether the reward is that of the paper's training: without the alive bonus, and at least 0"""

    @property
    def training(self) -> "Ant":
        """The world for training by evolution, with the shaped reward (the authors' training)."""
        return replace(self, shaped=True)

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("ant", (len(SENSORS),), len(JOINTS), self.horizon, SENSORS, rows=64)

    def open(self) -> "AntEnv":
        return AntEnv(self.spec, Singles(self.make, floats))

    def filmed(self) -> HostEnv:
        """An Env of one ant with a camera, for `picture`."""
        return HostEnv(self.spec, Singles(lambda: replace(self, shaped=False).make("rgb_array"), floats))

    def picture(self, env: HostEnv) -> np.ndarray:
        """A rendered image of the Env of `filmed`: uint8 [240, 320, 3]."""
        assert isinstance(env.simulators, Singles)
        return np.asarray(env.simulators.rows[0].render(), dtype=np.uint8)

    def make(self, mode: str | None = None) -> Any:
        import gymnasium

        with quiet():
            extra("pybullet_envs_gymnasium", "bullet")
            env = gymnasium.make("AntBulletEnv-v0", render_mode=mode).unwrapped
            # in its first episode the simulator does not count the floor among the body's parts
            env.reset(seed=0)
        return Running(env) if self.shaped else env


class AntEnv(HostEnv):
    """PyBullet's ants, with the positions of their limbs."""

    def segments(self, row: int = 0) -> list[tuple[float, ...]]:
        """The capsules of one ant, each (x1, y1, z1, x2, y2, z2, radius) in metres, z up: the trunk, then three of each leg."""
        assert isinstance(self.simulators, Singles)
        ant = self.simulators.rows[row]
        places = {name: np.asarray(part.get_position()) for name, part in ant.robot.parts.items() if name != "floor"}
        trunk = places.pop("torso")
        found = [(*trunk, *trunk, TRUNK)]
        # PyBullet lists for each leg: its first part, the hip, its second part, the knee and the foot, all by their centres of mass
        for _, hip, _, knee, foot in zip(*[iter(places.values())] * 5, strict=True):
            ends = (trunk, hip, knee, 2 * foot - knee)
            found += [(*start, *end, LIMB) for start, end in pairwise(ends)]
        return [tuple(float(value) for value in capsule) for capsule in found]


class Running:
    """PyBullet's ant with the reward of the paper's training."""

    def __init__(self, env: Any):
        self.env, self.reset, self.close, self.robot = env, env.reset, env.close, env.robot

    def step(self, action: np.ndarray) -> tuple[Any, ...]:
        obs, _, *rest = self.env.step(action)
        return (obs, max(0.0, float(sum(self.env.rewards[1:]))), *rest)


@dataclass(frozen=True)
class AntV5:
    """MuJoCo's Ant-v5 on EnvPool: 105 sensors, heavier, with contact forces in its observations. Not a task of the paper."""

    horizon: int = 1000
    """steps until an episode is truncated"""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("ant-v5", (105,), 8, self.horizon, rows=64)

    def open(self) -> HostEnv:
        return HostEnv(self.spec, Pool("Ant-v5", floats, doubles, max_episode_steps=self.horizon + 1))


def doubles(action: np.ndarray) -> np.ndarray:
    """Actions as float64."""
    return action.astype(np.float64)
