"""Env over external simulators: EnvPool's batches, Gymnasium's environments, ViZDoom's games."""

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import EnvSpec, Step
from sensorium.core.errors import Failure
from sensorium.core.machine import load_triton

SEED = 0x7FFFFFFF
"""mask: simulators take seeds of 31 bits"""


@runtime_checkable
class Simulators(Protocol):
    """A batch of equal simulators."""

    def begin(self, seeds: list[int]) -> Tensor:
        """Start one episode per row and return the observations; may be called again, with another number of rows."""
        ...

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Observations, rewards and whether the episode has terminated; results of rows that are not `live` are ignored."""
        ...

    def close(self) -> None: ...


class HostEnv:
    """An Env over simulators: counts steps, clamps actions, and freezes rows that have ended."""

    def __init__(self, spec: EnvSpec, simulators: Simulators):
        self.spec, self.simulators = spec, simulators
        self.low = torch.tensor(spec.low or (-1.0,) * spec.action)

    def reset(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        self.t, self.device = 0, seeds.device
        self.ended = np.zeros(len(seeds), dtype=bool)
        self.obs = self.simulators.begin([seed & SEED for seed in seeds.tolist()])
        return self.obs.to(self.device)

    def step(self, action: Float[Tensor, "rows n"]) -> Step:
        bounded = torch.maximum(action.detach().cpu().float(), self.low).clamp(max=1.0).numpy()
        obs, reward, terminated = self.simulators.step(bounded, ~self.ended)
        return self.finish(obs, reward, terminated, np.zeros_like(terminated))

    def finish(self, obs: Tensor, reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray) -> Step:
        """The step of the batch: rows that had ended repeat their last observation; `truncated` is the simulators' own."""
        self.t += 1
        live = ~self.ended
        terminated = terminated & live
        truncated = (truncated | (self.t >= self.spec.horizon)) & live & ~terminated
        alive = torch.from_numpy(live)
        self.obs = torch.where(alive.view(-1, *[1] * (obs.dim() - 1)), obs, self.obs)
        self.ended = self.ended | terminated | truncated
        earned = np.where(live, reward, 0.0).astype(np.float32)
        parts = (self.obs, torch.from_numpy(earned), torch.from_numpy(terminated), torch.from_numpy(truncated))
        return Step(*(part.to(self.device) for part in parts))

    def close(self) -> None:
        self.simulators.close()


class Pool:
    """EnvPool. Seeds are fixed when a pool is created, so `begin` creates a new one; results after its automatic resets are ignored."""

    def __init__(self, task: str, observe: Callable[[Any], Tensor], act: Callable[[np.ndarray], np.ndarray], **settings: Any):
        self.task, self.observe, self.act, self.settings = task, observe, act, settings
        self.pool: Any = None

    def begin(self, seeds: list[int]) -> Tensor:
        with temporary_directory():
            self.pool = envpool().make(
                self.task, env_type="gymnasium", num_envs=len(seeds), env_seed=seeds, num_threads=min(torch.get_num_threads(), len(seeds)), **self.settings
            )  # fmt: skip
            obs, info = self.pool.reset()
        self.on_info(info, first=True)
        return self.observe(obs)

    def on_info(self, info: dict[str, np.ndarray], first: bool) -> None:
        """Called with the simulators' info dict after each reset and step; subclasses may override it."""

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        obs, reward, terminated, truncated, info = self.pool.step(self.act(action))
        self.on_info(info, first=False)
        return self.observe(obs), reward, terminated | truncated

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()


class Singles:
    """Gymnasium environments, one per row, stepped sequentially."""

    def __init__(self, make: Callable[[], Any], observe: Callable[[np.ndarray], Tensor]):
        self.make, self.observe = make, observe
        self.rows: list[Any] = []

    def begin(self, seeds: list[int]) -> Tensor:
        while len(self.rows) < len(seeds):
            self.rows.append(self.make())
        first = [row.reset(seed=seed)[0] for row, seed in zip(self.rows, seeds, strict=False)]
        self.last = first[0]
        return self.observe(np.stack(first))

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        results = {int(i): self.rows[i].step(action[i]) for i in np.flatnonzero(live)}
        blank = (np.zeros_like(self.last), 0.0, False) if not results else next(iter(results.values()))
        outputs = [results.get(i, blank) for i in range(len(live))]
        obs, reward, ended = (np.stack([output[part] for output in outputs]) for part in range(3))
        return self.observe(obs), reward, ended.astype(bool)

    def close(self) -> None:
        for row in self.rows:
            row.close()


class Stacked:
    """Simulators with the last frames stacked along the channels, oldest first; the first frame of an episode is repeated.

    With `channels_last` the simulators' frames are [rows, height, width, 3], else [rows, 3, height, width].
    """

    def __init__(self, inner: Simulators, frames: int, channels_last: bool = False):
        self.inner, self.frames, self.channels_last, self.close = inner, frames, channels_last, inner.close

    def begin(self, seeds: list[int]) -> Tensor:
        self.stack = self.channels_first(self.inner.begin(seeds)).repeat(1, self.frames, 1, 1)
        return self.stack

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        newest, reward, ended = self.inner.step(action, live)
        self.stack = torch.cat([self.stack[:, 3:], self.channels_first(newest)], 1)
        return self.stack, reward, ended

    def channels_first(self, frames: Tensor) -> Tensor:
        return frames.permute(0, 3, 1, 2) if self.channels_last else frames


def extra(module: str, name: str) -> Any:
    """Import an optional module. Errors: core.errors.Failure with the command that installs it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Failure(f"{module} cannot be imported ({error}); pip install 'sensorium[{name}]'") from None


def envpool() -> Any:
    """The module envpool, imported after libEGL is loaded; otherwise rendering MuJoCo crashes the process."""
    load_triton()
    with suppress(OSError):
        ctypes.CDLL("libEGL.so.1", mode=ctypes.RTLD_GLOBAL)
    return extra("envpool", "envpool")


@contextmanager
def quiet() -> Iterator[None]:
    """Context that discards what libraries print to stdout, which is reserved for results."""
    sys.stdout.flush()
    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)


@contextmanager
def temporary_directory() -> Iterator[None]:
    """Context with a permanent temporary folder as the current one: some simulators write files to it, even when they end."""
    before, folder = os.getcwd(), os.path.join(tempfile.gettempdir(), f"sensorium-{os.getuid()}")
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
