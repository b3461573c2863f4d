"""Env over simulators that are not torch: EnvPool's batches, Gymnasium's single environments, ViZDoom's games."""

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
"""simulators take seeds of 31 bits"""


@runtime_checkable
class Simulators(Protocol):
    """A batch of simulators of one kind."""

    def begin(self, seeds: list[int]) -> Tensor:
        """Begin an episode a row and return the observations; may be called again, with another number of rows."""
        ...

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Observations, rewards and whether the episode has ended, of rows that live; what it says of others is not read."""
        ...

    def close(self) -> None: ...


class HostEnv:
    """An Env over simulators: counts the steps, clamps actions, and freezes rows that have ended."""

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
        live = ~self.ended
        obs, reward, terminated = self.simulators.step(bounded, live)
        self.t += 1
        terminated = terminated & live
        truncated = (self.t >= self.spec.horizon) & live & ~terminated
        alive = torch.from_numpy(live)
        # a row that had ended repeats its last observation
        self.obs = torch.where(alive.view(-1, *[1] * (obs.dim() - 1)), obs, self.obs)
        self.ended = self.ended | terminated | truncated
        reward = torch.from_numpy(np.where(live, reward, 0.0).astype(np.float32))
        parts = (self.obs, reward, torch.from_numpy(terminated), torch.from_numpy(truncated))
        return Step(*(part.to(self.device) for part in parts))

    def close(self) -> None:
        self.simulators.close()


class Pool:
    """EnvPool. Seeds are fixed when a pool is made, so each beginning makes a new one; its rows restart by themselves, unread."""

    def __init__(self, task: str, see: Callable[[Any], Tensor], act: Callable[[np.ndarray], np.ndarray], **settings: Any):
        self.task, self.see, self.act, self.settings = task, see, act, settings

    def begin(self, seeds: list[int]) -> Tensor:
        with elsewhere():
            self.pool = envpool().make(
                self.task, env_type="gymnasium", num_envs=len(seeds), env_seed=seeds, num_threads=min(torch.get_num_threads(), len(seeds)), **self.settings
            )  # fmt: skip
            obs, info = self.pool.reset()
        self.told(info, first=True)
        return self.see(obs)

    def told(self, info: dict[str, np.ndarray], first: bool) -> None:
        """What else the simulators tell with every observation: for worlds that listen."""

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        obs, reward, terminated, truncated, info = self.pool.step(self.act(action))
        self.told(info, first=False)
        return self.see(obs), reward, terminated | truncated

    def close(self) -> None:
        getattr(getattr(self, "pool", None), "close", lambda: None)()


class Singles:
    """Gymnasium environments, one a row, one after another."""

    def __init__(self, make: Callable[[], Any], see: Callable[[np.ndarray], Tensor]):
        self.make, self.see = make, see
        self.rows: list[Any] = []

    def begin(self, seeds: list[int]) -> Tensor:
        while len(self.rows) < len(seeds):
            self.rows.append(self.make())
        first = [row.reset(seed=seed)[0] for row, seed in zip(self.rows, seeds, strict=False)]
        self.last = first[0]
        return self.see(np.stack(first))

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        told = {int(i): self.rows[i].step(action[i]) for i in np.flatnonzero(live)}
        blank = (np.zeros_like(self.last), 0.0, False) if not told else next(iter(told.values()))
        answers = [told.get(i, blank) for i in range(len(live))]
        obs, reward, ended = (np.stack([answer[part] for answer in answers]) for part in range(3))
        return self.see(obs), reward, ended.astype(bool)

    def close(self) -> None:
        for row in self.rows:
            row.close()


def extra(module: str, name: str) -> Any:
    """An optional library, or one sentence that says how to get it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Failure(f"{module} cannot be imported ({error}); pip install 'sensorium[{name}]'") from None


def envpool() -> Any:
    """EnvPool. Before it is first imported libEGL has to be there, or its MuJoCo pixels end the process."""
    load_triton()
    with suppress(OSError):
        ctypes.CDLL("libEGL.so.1", mode=ctypes.RTLD_GLOBAL)
    return extra("envpool", "envpool")


@contextmanager
def quiet() -> Iterator[None]:
    """Within, what libraries print to stdout is not heard: stdout is for results."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def elsewhere() -> Iterator[None]:
    """Within, the current folder is a temporary one that stays: some simulators write files where they stood, even when they end."""
    before, folder = os.getcwd(), os.path.join(tempfile.gettempdir(), f"sensorium-{os.getuid()}")
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
