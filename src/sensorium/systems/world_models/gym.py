"""Dreams as Gymnasium environments, and the real world with the same observations, for agents of other libraries."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import Step
from sensorium.core.seeding import fold, normal, row_seeds
from sensorium.envs.gym import TorchGym, TorchVector, episode_seeds, first_seeds, spaces
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.dream import DreamWorld, decoded, of_run
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN, ConvVAE, Seeing


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
    rows_per_thread = 32

    def __init__(self, world: DreamWorld, vision: ConvVAE, num_envs: int = 1, render_mode: str | None = None, compile: bool = True):
        super().__init__(world, num_envs, render_mode, compile)
        self.vision = vision

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        return tuple(decoded(self.vision, self.rows.state[0])) if self.render_mode == "rgb_array" else None


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
        self.z = latents(self.vision, self.frame, self.seeds, self.t)
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


class AwakeVector(VectorEnv):
    """Rows of the real world with the observations of the dream, and Gymnasium's next-step autoreset.

    Each row has an Env of its own, since the rows of one Env can only be reset together. Rows are stepped one after another; V and M
    encode all of them in one batch. A row's first episode is that of `Awake` with the same seed.
    """

    metadata = {**Awake.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, world: Any, vision: ConvVAE, memory: MDNRNN, num_envs: int = 1, render_mode: str | None = None):
        self.envs, self.vision, self.memory = [world.open() for _ in range(num_envs)], vision, memory
        self.num_envs, self.render_mode = num_envs, render_mode
        single = spaces(DreamWorld(memory, *blank(memory), 1.0, 1, world.spec.low))
        self.single_observation_space, self.single_action_space = single
        self.observation_space, self.action_space = (batch_space(space, num_envs) for space in single)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, int) else None)
        self.seeds = self.playing = first_seeds(self, seed)
        self.episodes = self.ages = torch.zeros_like(self.seeds)
        self.ended = torch.zeros_like(self.seeds, dtype=torch.bool)
        self.frames = torch.cat([env.reset(one) for env, one in zip(self.envs, self.seeds.split(1), strict=True)])
        self.hidden = self.cell = torch.zeros(self.num_envs, self.memory.hidden)
        return self.look(), {}

    def look(self) -> np.ndarray:
        """The current observations (z, c, h)."""
        self.z = latents(self.vision, self.frames, self.playing, self.ages)
        return torch.cat([self.z, self.cell, self.hidden], 1).numpy()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        batch = torch.from_numpy(np.array(actions, dtype=np.float32, order="C")).view(self.num_envs, -1)
        begins = self.ended[:, None]
        states = self.memory.step(self.z, batch, (self.ages == 0).float(), self.hidden, self.cell)
        self.hidden, self.cell = (torch.where(begins, 0.0, state) for state in states)
        self.playing = torch.where(self.ended, episode_seeds(self.seeds, self.episodes + 1), self.playing)
        self.episodes, self.ages = self.episodes + self.ended, torch.where(self.ended, 0, self.ages + 1)
        rows = [self.step_row(row, action) for row, action in enumerate(batch.split(1))]
        self.frames, reward, terminated, truncated = (torch.cat(parts) for parts in zip(*rows, strict=True))
        self.ended = terminated | truncated
        return self.look(), reward.numpy().astype(np.float64), terminated.numpy(), truncated.numpy(), {}

    def step_row(self, row: int, action: Float[Tensor, "1 a"]) -> Step:
        """One step of a row, or the begin of its next episode."""
        if not self.ended[row]:
            return self.envs[row].step(action)
        nothing = torch.zeros(1)
        return Step(self.envs[row].reset(self.playing[row : row + 1]), nothing, nothing.bool(), nothing.bool())

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        return tuple(self.frames.numpy()) if self.render_mode == "rgb_array" else None

    def close_extras(self) -> None:
        for env in self.envs:
            env.close()


def latents(vision: Seeing, frames: Tensor, seeds: Int[Tensor, "rows"], t: int | Int[Tensor, "rows"]) -> Float[Tensor, "rows z"]:
    """z of each frame, with noise that is a function of the episode's seed and step."""
    mu, log_variance = vision.posterior(frames)
    return eq.latent(mu, log_variance, normal(fold(seeds, "z"), t, vision.latents))


def blank(memory: MDNRNN) -> tuple[Tensor, Tensor]:
    """mu and log variance of one standard normal initial z, [1, z] each."""
    return torch.zeros(1, memory.latents), torch.zeros(1, memory.latents)


def dream(run: str, temperature: float = 1.0, render_mode: str | None = None) -> DreamEnv:
    """`gymnasium.make("sensorium/Dream-v0", run=DIR, temperature=1.15)`."""
    found, vision = of_run(run, temperature)
    return DreamEnv(found.world, vision, render_mode)


def dream_vector(
    run: str, num_envs: int = 1, temperature: float = 1.0, render_mode: str | None = None, compile: bool = True
) -> DreamVectorEnv:
    """`gymnasium.make_vec("sensorium/Dream-v0", num_envs, run=DIR, temperature=1.15)`."""
    found, vision = of_run(run, temperature)
    return DreamVectorEnv(found.world, vision, num_envs, render_mode, compile)


def awake(run: str, render_mode: str | None = None) -> Awake:
    """`gymnasium.make("sensorium/Awake-v0", run=DIR)`: the real world of a run, encoded by its V and M."""
    return Awake(*parts_of(run), render_mode)


def awake_vector(run: str, num_envs: int = 1, render_mode: str | None = None) -> AwakeVector:
    """`gymnasium.make_vec("sensorium/Awake-v0", num_envs, run=DIR)`."""
    return AwakeVector(*parts_of(run), num_envs, render_mode)


def parts_of(run: str) -> tuple[Any, ConvVAE, MDNRNN]:
    """The real world, V and M of a run. Errors: core.errors.Usage if the run has no M."""
    found, vision = of_run(run)
    stage: Any = checkpoint.stage(checkpoint.agent(run))
    return stage.world, vision, load_model(found.memory)
