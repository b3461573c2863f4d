"""The DeepMind Control suite (Tassa et al. 2018), from states or pixels, with manipulation's reach_duplo and the tasks of URLB.

Pixel observations are three frames of 84 x 84, oldest first, rendered once per agent step, after the last repetition of its action.
"""

import functools
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.core.env import Coordinate, EnvSpec
from sensorium.core.errors import Usage, nearest
from sensorium.envs import renderer
from sensorium.envs.control_pool import ControlPool, load
from sensorium.envs.host import HostEnv, Pool, Simulators, Stacked, envpool

SUITE = {
    "acrobot": ("swingup", "swingup_sparse"),
    "ball_in_cup": ("catch",),
    "cartpole": ("balance", "balance_sparse", "swingup", "swingup_sparse"),
    "cheetah": ("run",),
    "finger": ("spin", "turn_easy", "turn_hard"),
    "hopper": ("stand", "hop"),
    "humanoid": ("stand", "walk", "run"),
    "pendulum": ("swingup",),
    "point_mass": ("easy", "hard"),
    "quadruped": ("walk", "run"),
    "reacher": ("easy", "hard"),
    "walker": ("stand", "walk", "run"),
}
"""domain -> tasks in dm_control's suite"""
CUSTOM = {
    "walker": ("flip",),
    "quadruped": ("stand", "jump"),
    "jaco": ("reach_top_left", "reach_top_right", "reach_bottom_left", "reach_bottom_right"),
    "reach": ("duplo",),
}
"""domain -> additional tasks of URLB, and manipulation's reach_duplo; see urlb.py"""
DOMAINS = {domain: (*SUITE.get(domain, ()), *CUSTOM.get(domain, ())) for domain in sorted({*SUITE, *CUSTOM})}
CAMERAS: dict[str, int | str] = {"quadruped": 2, "jaco": "front_close", "reach": "front_close"}
"""domain -> camera, where it is not camera 0"""
STEPS, ARM_STEPS = 1000, 250
"""control steps per episode: of the suite, and of the arm's tasks"""
SIZE, FRAMES = 84, 3


def angle(name: str, sine: str, cosine: str) -> Coordinate:
    """An angle as a Coordinate, from its sine and cosine."""
    return Coordinate(name, sine, -math.pi, math.pi, cosine)


WHERE: dict[str, tuple[Coordinate, ...]] = {
    "acrobot": (angle("upper angle", "orientations[0]", "orientations[2]"), angle("lower angle", "orientations[1]", "orientations[3]")),
    "ball_in_cup": (Coordinate("ball x", "position[2]", -0.4, 0.4), Coordinate("ball z", "position[3]", -0.4, 0.6)),
    "cartpole": (Coordinate("cart", "position[0]", -1.8, 1.8), angle("pole angle", "position[2]", "position[1]")),
    "cheetah": (
        Coordinate("height", "position[0]", -0.6, 0.6), Coordinate("pitch", "position[1]", -math.pi, math.pi), Coordinate("speed", "velocity[0]", -8, 8),
    ),
    "hopper": (
        Coordinate("height", "position[0]", -1.2, 0.6), Coordinate("pitch", "position[1]", -math.pi, math.pi), Coordinate("speed", "velocity[0]", -4, 4),
    ),
    "jaco": tuple(
        Coordinate(f"hand {axis}", f"jaco_arm/jaco_hand/pinch_site_pos[{i}]", low, 0.6) for i, (axis, low) in enumerate((("x", -0.6), ("y", -0.6), ("z", 0.0)))
    ),
    "pendulum": (angle("angle", "orientation[1]", "orientation[0]"), Coordinate("speed", "velocity", -12, 12)),
    "point_mass": (Coordinate("x", "position[0]", -0.3, 0.3), Coordinate("y", "position[1]", -0.3, 0.3)),
    "quadruped": (
        Coordinate("upright", "torso_upright", -1, 1), Coordinate("speed ahead", "torso_velocity[0]", -4, 4), Coordinate("speed aside", "torso_velocity[1]", -4, 4),
    ),
    "walker": (
        Coordinate("height", "height", 0, 2), angle("pitch", "orientations[1]", "orientations[0]"), Coordinate("speed", "velocity[1]", -8, 8),
    ),
}  # fmt: skip
"""domain -> coordinates for measuring and plotting exploration coverage"""
WHERE["reach"] = WHERE["jaco"]


def split(task: str) -> tuple[str, str]:
    """Domain and task of a name such as walker_run or ball_in_cup_catch. Errors: core.errors.Usage for an unknown name."""
    for domain, tasks in DOMAINS.items():
        if task.removeprefix(f"{domain}_") in tasks and task.startswith(f"{domain}_"):
            return domain, task.removeprefix(f"{domain}_")
    raise Usage(nearest(task, [f"{domain}_{name}" for domain, names in DOMAINS.items() for name in names], "task of the control suite"))


PRIMAL = {"walker": "walker_stand", "quadruped": "quadruped_walk", "jaco": "jaco_reach_top_left"}
"""domain -> task on which URLB pre-trains, without its reward"""


@dataclass(frozen=True)
class Control:
    """A task of the control suite. Actions in [-1, 1]; rewards in [0, 1] per control step, summed over an action's repetitions."""

    task: str = "walker_run"
    """domain_task, e.g. pendulum_swingup, quadruped_jump, jaco_reach_top_left, reach_duplo"""
    pixels: bool = False
    """whether observations are three frames, uint8 [9, 84, 84], instead of the state"""
    repeat: int = 1
    """control steps per agent step (action repeat)"""
    visuals: Literal["full", "fast"] = "full"
    """fast renders without shadows, reflections and multisampling: ten to twenty times faster on CPUs, with different images"""
    engine: Literal["envpool", "dm_control"] = "dm_control"
    """the simulator: EnvPool (the suite's tasks only), or dm_control"""
    horizon: int = 0
    """agent steps until an episode is truncated; 0: 1,000 control steps (250 for the arm's tasks)"""

    def __post_init__(self) -> None:
        split(self.task)
        if self.repeat < 1 or self.horizon < 0:
            raise Usage(f"repeat and horizon cannot be {self.repeat} and {self.horizon}; at least 1 and 0")
        if self.visuals not in ("full", "fast") or self.engine not in ("envpool", "dm_control"):
            raise Usage(f"visuals are full or fast and engines envpool or dm_control, not '{self.visuals}' and '{self.engine}'")

    @property
    def domain(self) -> str:
        return split(self.task)[0]

    @property
    def frames(self) -> int:
        """Control steps per episode."""
        return self.horizon * self.repeat or (ARM_STEPS if self.domain in ("jaco", "reach") else STEPS)

    @property
    def spec(self) -> EnvSpec:
        names, actions = layout(self.task, self.engine)
        looks = ["pixels", *(["fast visuals"] if self.visuals == "fast" else [])] if self.pixels else ["states"]
        name = f"{self.task} ({', '.join([*looks, f'action repeat {self.repeat}', self.engine])})"
        shape = (3 * FRAMES, SIZE, SIZE) if self.pixels else (len(names),)
        return EnvSpec(
            name,
            shape,
            actions,
            self.frames // self.repeat,
            () if self.pixels else names,
            rows=16,
            kind="frames" if self.pixels else "vector",
            stack=FRAMES if self.pixels else 1,
            fixed_length=True,
            domain=self.domain,
        )

    @property
    def where(self) -> tuple[Coordinate, ...]:
        """The coordinates for measuring exploration coverage; none for EnvPool, which has pixels or states, not both."""
        return WHERE.get(self.domain, ()) if self.engine == "dm_control" else ()

    @property
    def from_states(self) -> "Control":
        """The same world with state observations, without rendering."""
        return replace(self, pixels=False, engine="dm_control")

    def places(self, states: Float[Tensor, "rows n"]) -> Float[Tensor, "rows k"]:
        """The coordinates of states, each scaled from its range to [0, 1]."""
        names = layout(self.task, self.engine)[0]
        parts = []
        for c in self.where:
            value = states[:, names.index(c.entry)]
            value = torch.atan2(value, states[:, names.index(c.cosine)]) if c.cosine else value
            parts.append(((value - c.low) / (c.high - c.low)).clamp(0, 1))
        return torch.stack(parts, 1)

    def open(self) -> "ControlEnv":
        spec, domain = self.spec, self.domain
        if self.pixels:
            renderer.prepare()
        if self.engine == "dm_control":
            simulators = ControlPool(self.task, self.repeat, CAMERAS.get(domain, 0), self.visuals == "fast", SIZE if self.pixels else 0)
            return ControlEnv(spec, Stacked(simulators, FRAMES) if self.pixels else simulators, simulators)
        if self.visuals == "fast" and self.pixels:
            raise Usage("fast visuals need engine dm_control: EnvPool has full visuals only")
        settings: dict[str, Any] = {}
        if self.pixels:
            settings = {"from_pixels": True, "render_width": SIZE, "render_height": SIZE, "render_camera_id": CAMERAS.get(domain, 0)}
        pool = Pool(
            envpool_name(self.task), torch.from_numpy if self.pixels else flat_batch, lambda action: action.astype(np.float64),
            max_episode_steps=spec.horizon * self.repeat + 1, **settings,
        )  # fmt: skip
        repeated = Repeated(pool, self.repeat)
        return ControlEnv(spec, Stacked(repeated, FRAMES) if self.pixels else repeated)


class ControlEnv(HostEnv):
    """A HostEnv that also provides the states under its pixels, and images for videos."""

    def __init__(self, spec: EnvSpec, simulators: Simulators, control_pool: ControlPool | None = None):
        super().__init__(spec, simulators)
        self.control_pool = control_pool
        """the dm_control environments; None for EnvPool"""

    def states(self) -> Float[Tensor, "rows n"]:
        """The current state observations. Errors: core.errors.Usage for EnvPool with pixels."""
        if self.control_pool is not None:
            return torch.from_numpy(self.control_pool.states())
        if self.spec.kind == "vector":
            return self.obs.cpu()
        raise Usage("EnvPool provides pixels or states, not both; use engine dm_control")

    def segments(self, row: int = 0) -> list[tuple[float, ...]]:
        """The bodies of one row as capsules. Errors: core.errors.Usage for EnvPool, and for bodies with meshes."""
        if self.control_pool is None:
            raise Usage("EnvPool gives no positions of bodies; use engine dm_control")
        return self.control_pool.segments(row)

    def picture(self, row: int = 0) -> UInt8[np.ndarray, "240 240 3"]:
        """An image of one row with full visuals. Errors: core.errors.Usage for EnvPool."""
        if self.control_pool is None:
            raise Usage("EnvPool renders no images for videos; use engine dm_control")
        return self.control_pool.picture(row)


def envpool_name(task: str) -> str:
    """EnvPool's name of a task: walker_run is WalkerRun-v1. Errors: core.errors.Usage for tasks outside the suite."""
    domain, name = split(task)
    if name not in SUITE.get(domain, ()):
        raise Usage(f"EnvPool has no {task}; use engine dm_control")
    return "".join(part.capitalize() for part in task.split("_")) + "-v1"


@functools.cache
def layout(task: str, engine: str) -> tuple[tuple[str, ...], int]:
    """Names of the state entries, in order, and the number of actions."""
    if engine == "envpool":
        spec = envpool().make_spec(envpool_name(task))
        shapes: dict[str, tuple[int, ...]] = {key: box.shape for key, box in spec.observation_space.spaces.items()}
        return entries(shapes), spec.action_space.shape[0]
    env = load(task, np.random.RandomState(0))
    return entries({key: np.shape(value) for key, value in env.reset().observation.items()}), env.action_spec().shape[0]


def entries(shapes: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    """One name per number of a dict observation."""
    sizes = {key: math.prod(shape) for key, shape in shapes.items()}
    return tuple(key if size == 1 else f"{key}[{i}]" for key, size in sizes.items() for i in range(size))


def flat_batch(observation: dict[str, np.ndarray]) -> Tensor:
    """EnvPool's dict observations as float32 vectors [rows, n]."""
    return torch.from_numpy(np.concatenate([part.reshape(len(part), -1) for part in observation.values()], 1).astype(np.float32))


class Repeated:
    """Simulators with action repeat; rewards are summed."""

    def __init__(self, inner: Simulators, times: int):
        self.inner, self.times, self.begin, self.close = inner, times, inner.begin, inner.close

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        total, over = np.zeros(len(live)), ~live
        for _ in range(self.times):
            obs, reward, ended = self.inner.step(action, ~over)
            total += np.where(over, 0.0, reward)
            over = over | ended
        return obs, total, over & live
