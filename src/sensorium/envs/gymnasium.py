"""Any registered Gymnasium environment as a World: `gym:ID` wherever a world is named."""

import functools
import json
import math
import multiprocessing
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.env import Coordinate, EnvSpec, Step, World
from sensorium.core.errors import Usage, nearest
from sensorium.core.stage import at_least
from sensorium.envs.host import HostEnv, Stacked
from sensorium.envs.row_workers import Unknown, Workers
from sensorium.envs.rows import Layout, Made, Observer, Rows, encoder, known, layout, make

PREFIX = "gym:"
BUSY = 1e-3
"""seconds per step of all rows from which worker processes are faster than this process"""

layouts = functools.lru_cache(layout)


@functools.lru_cache
def recorders(made: Made) -> tuple[Observer, Callable[[Any], np.ndarray]]:
    """The functions that convert an environment's observations and actions to a world's."""
    env = make(made)
    try:
        return Observer(made, env), encoder(env.action_space)
    finally:
        env.close()


@dataclass(frozen=True)
class Gymnasium:
    """A registered Gymnasium environment with Box [n] or Discrete actions and a vector or image to observe.

    Actions in [-1, 1] are scaled to the environment's bounds. Discrete actions are one-hot vectors or logits. Dict and Tuple observations
    are flattened. The environment's own random numbers come from the row's seed. Errors: core.errors.Usage for an unknown id, and for
    spaces that do not fit.
    """

    id: str = "CartPole-v1"
    """a registered id; card files cannot name modules to import"""
    kwargs: str = ""
    """keyword arguments of the environment, as a JSON object; empty: none"""
    keys: tuple[str, ...] = ()
    """entries of a Dict observation to use; empty: all"""
    pixels: int = 0
    """side of a square image to observe, rendered where the observation is no image; 0: the environment's observation"""
    stack: int = 0
    """images stacked to observations uint8 [3 stack, height, width], oldest first; 0: single images [height, width, 3]"""
    coverage: tuple[str, ...] = ()
    """entries of the environment's vector in which the coverage of exploration is measured: NUMBER or SENSOR, or NUMBER:LOW:HIGH where the
    space has no bounds"""
    repeat: int = 1
    """environment steps per action"""
    horizon: int = 0
    """steps after which an episode is truncated; 0: the registered limit, or 1,000 where there is none"""
    anew: bool = False
    """whether each episode gets a new environment: slower, for environments that an earlier episode changes (`doctor --world` names them)"""
    processes: int = 0
    """worker processes that step the rows; 0: one per torch thread where a step of all rows takes over a millisecond; 1: this process"""
    patience: float = 60.0
    """seconds after which a step counts as hung"""

    def __post_init__(self) -> None:
        at_least(self, pixels=0, stack=0, repeat=1, horizon=0, processes=0)
        if self.patience <= 0:
            raise Usage(f"patience cannot be {self.patience}; it is a number of seconds")
        try:
            if not isinstance(json.loads(self.kwargs or "{}"), dict):
                raise ValueError
        except ValueError:
            raise Usage(f"kwargs cannot be {self.kwargs!r}; it is a JSON object, e.g. '{{\"gravity\": -5}}'") from None
        known(self.id)

    @property
    def made(self) -> Made:
        return Made(self.id, self.kwargs, tuple(self.keys), self.pixels, self.repeat, self.anew, self.patience)

    @property
    def layout(self) -> Layout:
        """Observations and actions. The first call in a process makes the environment."""
        return layouts(self.made)

    @property
    def spec(self) -> EnvSpec:
        found = self.layout
        horizon = self.horizon or -(-found.horizon // self.repeat) or 1000
        spec = EnvSpec(
            PREFIX + self.id, found.shape, found.actions, horizon, found.sensors, bounds=found.bounds, rows=64, discrete=found.discrete, kind=found.kind,
        )  # fmt: skip
        if not self.stack:
            return spec
        if found.kind != "image":
            raise Usage(
                f"{spec.name} observes {found.kind}s {found.shape}; stack is for images: give pixels, the side of the rendered image"
            )
        return replace(spec, observation=(3 * self.stack, *found.shape[:2]), kind="frames", stack=self.stack)

    @property
    def frames(self) -> int:
        """Environment steps per episode of full length."""
        return self.spec.horizon * self.repeat

    @property
    def renders(self) -> bool:
        """Whether the images are rendered, and the environment's own observation is a vector."""
        return bool(self.pixels) and self.from_states.layout.kind == "vector"

    @property
    def student(self) -> World:
        """The world of a student of an agent of this one: images are cut into patches."""
        from sensorium.envs.gym_patches import as_patches

        return self if self.layout.kind == "vector" else as_patches(self)

    @property
    def from_states(self) -> "Gymnasium":
        """The same environment with its own observations."""
        return replace(self, pixels=0, stack=0)

    @property
    def where(self) -> tuple[Coordinate, ...]:
        """The coordinates named by `coverage`. Errors: core.errors.Usage for an unknown entry, and one without bounds."""
        return tuple(coordinate(text, self.from_states.layout) for text in self.coverage)

    def places(self, states: Float[Tensor, "rows n"]) -> Float[Tensor, "rows k"]:
        """The coordinates of states, each scaled from its range to [0, 1]."""
        return torch.stack([((states[:, int(c.entry)] - c.low) / (c.high - c.low)).clamp(0, 1) for c in self.where], 1)

    def observed(self, obs: Any) -> np.ndarray:
        """A recorded observation of the environment as this world gives it. Errors: core.errors.Usage for rendered images."""
        observer, _ = recorders(self.made)
        if observer.rendered:
            raise Usage(f"gym:{self.id} renders its images, and recorded observations have none; leave out pixels")
        return observer(None, obs)

    def acted(self, action: Any) -> np.ndarray:
        """A recorded action of the environment as this world takes it."""
        return recorders(self.made)[1](action)

    def with_pixels(self, side: int) -> "Gymnasium":
        """The world observed as square images of this side."""
        return replace(self, pixels=side)

    def open(self) -> "GymnasiumEnv":
        return GymnasiumEnv(self)


def entry(text: str, layout: Layout) -> tuple[str, int, tuple[float, float]]:
    """Name, number and range of NUMBER or SENSOR, with :LOW:HIGH or the space's bounds. Errors: core.errors.Usage for an unknown entry."""
    name, *ends = text.split(":")
    size, sensors = len(layout.limits), layout.sensors
    number = sensors.index(name) if name in sensors else int(name) if name.isdecimal() else size
    if number >= size:
        allowed = ", ".join(sensors) or (f"0 to {size - 1}" if size else "none, because it is no vector")
        raise Usage(f"coverage cannot name the entry '{name}' of the observation; allowed: {allowed}")
    try:
        low, high = (float(end) for end in ends) if ends else layout.limits[number]
    except ValueError:
        low, high = math.nan, math.nan
    if not low < high:
        raise Usage(f"coverage cannot be '{text}'; allowed: NUMBER or SENSOR, with a range as NUMBER:LOW:HIGH")
    return name, number, (low, high)


def coordinate(text: str, layout: Layout) -> Coordinate:
    """An entry as a Coordinate. Errors: core.errors.Usage as `entry`, and for one without bounds."""
    name, number, (low, high) = entry(text, layout)
    if math.isinf(high - low):
        raise Usage(f"coverage needs a range for '{text}', which has no bounds; give {name}:LOW:HIGH, e.g. {name}:-1:1")
    return Coordinate(name if name in layout.sensors else f"entry {name}", str(number), low, high)


def named(
    id: str, kwargs: dict[str, Any] | str = "", keys: Sequence[str] = (), coverage: Sequence[str] = (), **settings: Any
) -> Gymnasium:  # fmt: skip
    """The world of an id, with the environment's arguments as a dict. Errors: core.errors.Usage."""
    text = kwargs if isinstance(kwargs, str) else json.dumps(kwargs, sort_keys=True) if kwargs else ""
    allowed = [field.name for field in fields(Gymnasium) if field.name != "id"]
    for name in settings:
        if name not in allowed:
            raise Usage(nearest(name, allowed, f"setting of gym:{id}") + "; the environment's own arguments are kwargs.NAME")
    return Gymnasium(id, text, tuple(keys), coverage=tuple(coverage), **settings)


class GymnasiumEnv(HostEnv):
    """An Env over rows of a Gymnasium environment."""

    def __init__(self, world: Gymnasium):
        self.batch = Batch(world)
        super().__init__(world.spec, Stacked(self.batch, world.stack, channels_last=True) if world.stack else self.batch)

    def step(self, action: Float[Tensor, "rows n"]) -> Step:
        values = action.detach().cpu().float()
        obs, reward, terminated = self.simulators.step((values if self.spec.discrete else values.clamp(-1.0, 1.0)).numpy(), ~self.ended)
        return self.finish(obs, reward, terminated, self.batch.truncated)

    def states(self) -> Float[Tensor, "rows n"]:
        """The environment's own observations, also where rendered images are observed. Errors: core.errors.Usage where they are images."""
        return self.obs if self.spec.kind == "vector" else torch.from_numpy(self.batch.states())


class Batch:
    """Simulators of a Gymnasium environment, in this process or in worker processes."""

    def __init__(self, world: Gymnasium):
        self.world = world
        self.rows: Rows | Workers | None = None
        self.count = 0

    def begin(self, seeds: list[int]) -> Tensor:
        count = min(self.processes(len(seeds)), len(seeds))
        if self.rows is None or count != self.count:
            self.close()
            self.rows, self.count = self.opened(count), count
        self.truncated = np.zeros(len(seeds), dtype=bool)
        return torch.from_numpy(self.rows.begin(seeds))

    def processes(self, rows: int) -> int:
        """The number of processes for a batch of this size."""
        if self.world.processes:
            return self.world.processes
        # a worker process has no workers of its own
        idle = multiprocessing.parent_process() is None
        return torch.get_num_threads() if idle and rows * self.world.layout.seconds > BUSY else 1

    def opened(self, count: int) -> Rows | Workers:
        """Rows in `count` processes; in this one where only it has the environment's class."""
        with suppress(Unknown):
            if count > 1:
                return Workers(self.world.made, count)
        return Rows(self.world.made)

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        assert self.rows is not None
        obs, reward, terminated, self.truncated = self.rows.step(action, live)
        return torch.from_numpy(obs), reward, terminated

    def states(self) -> np.ndarray:
        """The environments' own observations [rows, n] under rendered images."""
        assert self.rows is not None
        return self.rows.states()

    def close(self) -> None:
        if self.rows is not None:
            self.rows.close()
            self.rows = None
