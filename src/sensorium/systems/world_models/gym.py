"""Dreams as Gymnasium environments, and the real world with the same observations, for agents of other libraries."""

from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.seeding import fold, normal, row_seeds
from sensorium.envs.gym import TorchGym, TorchVector, spaces
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.dream import DreamWorld, decoded, of_run
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN, ConvVAE


class DreamEnv(TorchGym):
    """A dream as a Gymnasium environment; `render` decodes z with V."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 35}  # noqa: RUF012  Gymnasium's own convention

    def __init__(self, world: DreamWorld, vision: ConvVAE, render_mode: str | None = None):
        super().__init__(world, render_mode)
        self.vision = vision

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        return decoded(self.vision, self.state[0])[0] if self.render_mode == "rgb_array" else None


class DreamVectorEnv(TorchVector):
    """A batch of dreams as a Gymnasium vector environment."""

    metadata = {**TorchVector.metadata, "render_fps": 35}  # noqa: RUF012

    def __init__(self, world: DreamWorld, vision: ConvVAE, num_envs: int = 1, render_mode: str | None = None):
        super().__init__(world, num_envs, render_mode)
        self.vision = vision

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        return tuple(decoded(self.vision, self.state[0])) if self.render_mode == "rgb_array" else None


class Awake(gymnasium.Env):
    """The real world with the observations of the dream, (z, c, h), so that agents trained in the dream can act in it."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 35}  # noqa: RUF012

    def __init__(self, world: Any, vision: ConvVAE, memory: MDNRNN, render_mode: str | None = None):
        self.env, self.vision, self.memory, self.render_mode = world.open(), vision, memory, render_mode
        self.observation_space, self.action_space = spaces(DreamWorld(memory, *blank(memory), 1.0, 1, world.spec.low))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds = row_seeds(seed if seed is not None else int(self.np_random.integers(2**31)), 1)
        self.frame, self.t = self.env.reset(self.seeds), 0
        self.hidden = self.cell = torch.zeros(1, self.memory.hidden)
        return self.look(), {}

    def look(self) -> np.ndarray:
        """The current observation (z, c, h)."""
        mu, log_variance = self.vision.posterior(self.frame)
        self.z = eq.latent(mu, log_variance, normal(fold(self.seeds, "z"), self.t, self.memory.latents))
        return torch.cat([self.z, self.cell, self.hidden], 1)[0].numpy()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        batch = torch.as_tensor(np.asarray(action, dtype=np.float32)).reshape(1, -1)
        self.hidden, self.cell = self.memory.step(self.z, batch, torch.full((1,), float(self.t == 0)), self.hidden, self.cell)
        step = self.env.step(batch)
        self.frame, self.t = step.obs, self.t + 1
        return self.look(), float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), {}

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        return self.frame[0].numpy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        self.env.close()


def blank(memory: MDNRNN) -> tuple[Tensor, Tensor]:
    """mu and log variance of one standard normal initial z, [1, z] each."""
    return torch.zeros(1, memory.latents), torch.zeros(1, memory.latents)


def dream(run: str, temperature: float = 1.0, render_mode: str | None = None) -> DreamEnv:
    """`gymnasium.make("sensorium/Dream-v0", run=DIR, temperature=1.15)`."""
    found, vision = of_run(run, temperature)
    return DreamEnv(found.world, vision, render_mode)


def dream_vector(run: str, num_envs: int = 1, temperature: float = 1.0, render_mode: str | None = None) -> DreamVectorEnv:
    """`gymnasium.make_vec("sensorium/Dream-v0", num_envs, run=DIR, temperature=1.15)`."""
    found, vision = of_run(run, temperature)
    return DreamVectorEnv(found.world, vision, num_envs, render_mode)


def awake(run: str, render_mode: str | None = None) -> Awake:
    """`gymnasium.make("sensorium/Awake-v0", run=DIR)`: the real world of a run, encoded by its V and M."""
    found, vision = of_run(run)
    stage: Any = checkpoint.stage(checkpoint.agent(run))
    return Awake(stage.world, vision, load_model(found.memory), render_mode)
