"""Rows of a registered Gymnasium environment. Imports no torch, so that workers start in half a second.

A row is a function of its seed and its actions. A row that raises, returns NaN or takes too long is named with its seed and step.
"""

import importlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim, flatten, flatten_space
from PIL import Image

from sensorium.core.errors import Failure, Usage, nearest
from sensorium.core.processes import MODULES

FOREIGN = ("GymV21Environment-v0", "GymV26Environment-v0")
"""ids whose keyword arguments name a module to import"""
TRIAL = 0.05
"""seconds of random actions that estimate the time per step"""


class Made(NamedTuple):
    """How an environment is made, and what of it is observed."""

    id: str
    kwargs: str
    """keyword arguments of the environment, as a JSON object; empty: none"""
    keys: tuple[str, ...]
    """entries of a Dict observation to use; empty: all"""
    pixels: int
    """side of the observed square image; 0: the environment's observation as it is"""
    repeat: int
    """environment steps per action"""
    anew: bool
    """whether each episode gets a new environment"""
    patience: float
    """seconds after which a step of a process's rows counts as hung"""


class Layout(NamedTuple):
    """Observations and actions of an environment."""

    kind: Literal["vector", "image", "frames"]
    shape: tuple[int, ...]
    sensors: tuple[str, ...]
    actions: int
    discrete: bool
    bounds: tuple[tuple[float, float], ...]
    horizon: int
    """registered limit of environment steps; 0: none"""
    seconds: float
    """seconds per step"""
    limits: tuple[tuple[float, float], ...]
    """the space's lower and upper bound of each entry of a vector, infinite where it has none"""


def known(id: str) -> None:
    """Check that an id is registered, if need be after importing the user's modules. Errors: core.errors.Usage."""
    if id in FOREIGN or ":" in id:
        raise Usage(f"gym:{id} would import a module that its name or arguments choose; import it yourself (--import MODULE)")
    if id not in gymnasium.registry:
        import_modules(os.environ.get(MODULES, "").split(","))
    if id not in gymnasium.registry:
        raise Usage(
            f"{nearest(id, list(gymnasium.registry), 'registered Gymnasium environment')}; --import MODULE registers a package's own"
        )


def import_modules(names: Sequence[str]) -> None:
    """Import modules that register environments. Errors: core.errors.Usage where one cannot be imported."""
    for name in filter(None, names):
        try:
            importlib.import_module(name)
        except Exception as error:
            raise Usage(f"module {name} cannot be imported: {one_line(error)}") from None


def make(made: Made) -> gymnasium.Env:
    """A new environment without a limit of steps. Errors: core.errors.Usage where it cannot be made with these arguments."""
    known(made.id)
    kwargs = json.loads(made.kwargs or "{}")
    try:
        env = gymnasium.make(made.id, max_episode_steps=-1, disable_env_checker=True, **kwargs)
        if not made.pixels or image_shape(env.observation_space):
            return env
        env.close()
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            # without a screen SDL prints an error for each environment
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        return gymnasium.make(made.id, max_episode_steps=-1, disable_env_checker=True, **{"render_mode": "rgb_array", **kwargs})
    except Exception as error:
        raise Usage(f"gym:{made.id} cannot be made{f' with {made.kwargs}' if made.kwargs else ''}: {one_line(error)}") from None


def one_line(error: BaseException) -> str:
    """An exception's type and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def image_shape(space: spaces.Space) -> tuple[int, int] | None:
    """Height and width of an image space: uint8 [height, width], [height, width, 1] or [height, width, 3]; None for others."""
    shape = space.shape or ()
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or min(shape, default=0) < 1:
        return None
    return (shape[0], shape[1]) if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)) else None


class Observer:
    """Turns an environment's observations into vectors, images [height, width, 3] or frames [channels, height, width].

    Errors: core.errors.Usage for spaces without a vector or image.
    """

    kind: Literal["vector", "image", "frames"]
    shape: tuple[int, ...]

    def __init__(self, made: Made, env: gymnasium.Env):
        self.made, self.space = made, env.observation_space
        self.image, self.names = image_shape(self.space), tuple[str, ...]()
        if made.pixels:
            self.kind, self.shape = "image", (made.pixels, made.pixels, 3)
        elif self.image:
            self.kind, self.shape = "image", (*self.image, 3)
        elif isinstance(self.space, spaces.Box) and self.space.dtype == np.uint8 and len(self.space.shape) == 3:
            self.kind, self.shape = "frames", self.space.shape
        else:
            self.space = self.chosen(self.space)
            self.kind, self.shape = "vector", (int(flatdim(self.space)),)
        if made.keys and not isinstance(self.space, spaces.Dict):
            raise Usage(f"gym:{made.id} observes {self.space}, no Dict from which keys could be chosen")

    def chosen(self, space: spaces.Space) -> spaces.Space:
        """The space whose flattened elements are the vector."""
        if isinstance(space, spaces.Dict):
            usable = [key for key, inner in space.spaces.items() if flat(inner)]
            keys = self.made.keys or tuple(space.spaces)
            for key in keys:
                if key not in usable:
                    raise Usage(f"gym:{self.made.id} observes {key}, which is not a vector; choose keys of {', '.join(usable)}")
            space = spaces.Dict({key: space.spaces[key] for key in keys})
            sizes = {key: int(flatdim(inner)) for key, inner in space.spaces.items()}
            self.names = tuple(key if n == 1 else f"{key}[{i}]" for key, n in sizes.items() for i in range(n))
            return space
        if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)) or not flat(space):
            raise Usage(f"gym:{self.made.id} observes {space}; allowed: Box vectors and images, and Dict or Tuple of vectors")
        return space

    @property
    def rendered(self) -> bool:
        """Whether the observed image is rendered."""
        return self.kind == "image" and self.image is None

    def __call__(self, env: gymnasium.Env | None, obs: Any) -> np.ndarray:
        if self.kind == "vector":
            if isinstance(self.space, spaces.Dict):
                obs = {key: obs[key] for key in self.space.spaces}
            return np.asarray(obs if isinstance(self.space, spaces.Box) else flatten(self.space, obs), dtype=np.float32).ravel()
        if self.kind == "frames":
            return np.asarray(obs)
        if env is not None and self.rendered:
            obs = env.render()
        image = np.asarray(obs)
        image = image[..., None] if image.ndim == 2 else image
        image = image if image.shape[2] == 3 else image[..., :1].repeat(3, 2)
        if image.shape == self.shape:
            return image
        height, width, _ = self.shape
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def flat(space: spaces.Space) -> bool:
    """Whether the elements of a space are vectors of a fixed length."""
    if isinstance(space, (spaces.Text, spaces.Graph, spaces.Sequence)):
        return False
    try:
        return flatdim(space) > 0
    except (NotImplementedError, ValueError):
        return False


def actions_of(made: Made, space: spaces.Space) -> tuple[int, bool, tuple[tuple[float, float], ...]]:
    """Number of actions, whether they are a choice, and their bounds. Errors: core.errors.Usage for other spaces."""
    if isinstance(space, spaces.Discrete):
        return int(space.n), True, ()
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise Usage(f"gym:{made.id} has actions without bounds, {space}; wrap it in gymnasium.wrappers.RescaleAction")
        return space.shape[0], False, tuple((float(low), float(high)) for low, high in zip(space.low, space.high, strict=True))
    raise Usage(f"gym:{made.id} has actions {space}; allowed: Box [n] and Discrete")


def layout(made: Made) -> Layout:
    """Observations and actions of an environment, and its time per step. Errors: core.errors.Usage, core.errors.Failure."""
    rows = Rows(made)
    rows.begin([0])
    env, observer = rows.envs[0], rows.observer
    assert observer is not None
    env.action_space.seed(0)
    start, steps = time.perf_counter(), 0
    encode = encoder(env.action_space)
    while time.perf_counter() - start < TRIAL and not rows.over[0]:
        rows.step(encode(env.action_space.sample())[None], np.array([True]))
        steps += 1
    seconds = (time.perf_counter() - start) / max(steps, 1)
    rows.close()
    limit = gymnasium.spec(made.id).max_episode_steps or 0
    return Layout(observer.kind, observer.shape, observer.names, *rows.actions, limit, seconds, limits(observer))


def limits(observer: Observer) -> tuple[tuple[float, float], ...]:
    """The bounds of each entry of a vector; () for images."""
    space = flatten_space(observer.space) if observer.kind == "vector" else None
    if not isinstance(space, spaces.Box):
        return ()
    return tuple((float(low), float(high)) for low, high in zip(space.low.ravel(), space.high.ravel(), strict=True))


def encoder(space: Any) -> Callable[[Any], np.ndarray]:
    """The function from a space's actions to ours: one-hot, or scaled to [-1, 1]."""
    if isinstance(space, spaces.Discrete):
        return lambda action: np.eye(int(space.n), dtype=np.float32)[int(action) - int(space.start)]
    middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
    return lambda action: ((np.asarray(action) - middle) / np.where(half > 0, half, 1)).astype(np.float32)


def decoder(space: Any) -> Callable[[np.ndarray], Any]:
    """The function from our actions to those of a space, the inverse of `encoder`."""
    if isinstance(space, spaces.Discrete):
        return lambda action: int(space.start) + int(action.argmax())
    middle, half = ((part / 2).astype(np.float32) for part in (space.high + space.low, space.high - space.low))
    return lambda action: (middle + half * action).astype(space.dtype)


class Rows:
    """Environments of this process, one per row, stepped one after another."""

    def __init__(self, made: Made):
        self.made = made
        self.envs: list[gymnasium.Env] = []
        self.observer: Observer | None = None

    def begin(self, seeds: Sequence[int]) -> np.ndarray:
        """Start an episode per row; the observations [rows, ...]."""
        if self.made.anew:
            self.close()
        while len(self.envs) < len(seeds):
            self.envs.append(make(self.made))
        if self.observer is None:
            self.actions = actions_of(self.made, self.envs[0].action_space)
            self.observer, self.action = Observer(self.made, self.envs[0]), decoder(self.envs[0].action_space)
            self.unseen: dict[int, Any] = {}
        self.seeds, self.over, self.t = list(seeds), np.zeros(len(seeds), dtype=bool), 0
        self.rewards, self.terminated, self.truncated = np.zeros(len(seeds), np.float32), self.over.copy(), self.over.copy()
        with alarm(self.made.patience):
            self.last = np.stack([self.observed(row, None) for row in range(len(seeds))])
        return self.last

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Observations, rewards, terminations and truncations of the live rows; the others repeat their last observation."""
        self.t += 1
        obs = self.last.copy()
        for part in (self.rewards, self.terminated, self.truncated):
            part.fill(0)
        with alarm(self.made.patience):
            for row in np.flatnonzero(live).tolist():
                obs[row] = self.observed(row, action[row])
        self.over |= self.terminated | self.truncated
        self.last = obs
        return obs, self.rewards.copy(), self.terminated.copy(), self.truncated.copy()

    def states(self) -> np.ndarray:
        """The environments' own observations [rows, n], where the rows observe rendered images. Errors: core.errors.Usage for others."""
        observer = Observer(self.made._replace(pixels=0), self.envs[0])
        if observer.kind != "vector":
            raise Usage(f"gym:{self.made.id} observes {observer.kind}s and has no states")
        return np.stack([observer(self.envs[row], self.unseen[row]) for row in range(len(self.seeds))])

    def observed(self, row: int, action: np.ndarray | None) -> np.ndarray:
        """A row's observation after a reset (no action) or a step. Errors: core.errors.Failure with the row's seed and step."""
        where = f"gym:{self.made.id} (seed {self.seeds[row]}, step {self.t})"
        observer = self.observer
        assert observer is not None
        try:
            env = self.envs[row]
            self.unseen[row] = env.reset(seed=self.seeds[row])[0] if action is None else self.advance(row, self.action(action))
            obs = observer(env, self.unseen[row])
        except TimeoutError:
            raise Failure(f"{where} took more than {self.made.patience:g} s") from None
        except Exception as error:
            raise Failure(f"{where} failed: {one_line(error)}") from None
        if obs.shape != observer.shape:
            raise Failure(f"{where} observed {obs.shape}, not {observer.shape}")
        if not np.isfinite(self.rewards[row]) or (observer.kind == "vector" and not np.isfinite(obs).all()):
            raise Failure(f"{where} gave a reward or an observation that is not finite")
        return obs

    def advance(self, row: int, action: Any) -> Any:
        """One action of one row, `repeat` times or until the episode ends; the environment's observation."""
        obs = None
        for _ in range(self.made.repeat):
            obs, reward, self.terminated[row], self.truncated[row], _ = self.envs[row].step(action)
            self.rewards[row] += reward
            if self.terminated[row] or self.truncated[row]:
                break
        return obs

    def close(self) -> None:
        while self.envs:
            with suppress(Exception):
                self.envs.pop().close()


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Context that raises TimeoutError after some seconds, in a process's main thread; calls into C are not interrupted."""

    def late(number: int, frame: Any) -> None:
        raise TimeoutError

    try:
        before = signal.signal(signal.SIGALRM, late)
    except ValueError:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
