"""Torch worlds as Gymnasium environments, single and vector; `register.py` registers their ids."""

from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Int
from torch import Tensor

from sensorium.core.env import TorchWorld, select, take
from sensorium.core.seeding import fold, row_seeds
from sensorium.envs.cart_pole import CartPole, draw

LARGE = float(np.finfo(np.float32).max)


def spaces(world: TorchWorld) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    """Observation and action space of a world."""
    spec = world.spec
    return (
        gymnasium.spaces.Box(-LARGE, LARGE, spec.observation, np.float32),
        gymnasium.spaces.Box(np.array(spec.low or (-1.0,) * spec.action, dtype=np.float32), 1.0, (spec.action,), np.float32),
    )


def episode_seeds(seeds: Int[Tensor, "rows"], episodes: Int[Tensor, "rows"]) -> Int[Tensor, "rows"]:
    """The seeds of rows that restart by themselves: a row's own seed in episode 0, later a function of it and the episode's number."""
    return torch.where(episodes > 0, fold(seeds + episodes, "next episode"), seeds)


@runtime_checkable
class RowSeeded(Protocol):
    """A vector environment that draws its rows' seeds itself; episode k of a row has the seed `episode_seeds(seeds, k)`."""

    seeds: Tensor
    """the seed of each row's episode 0, set by `reset`"""
    episodes: Tensor
    """the number of each row's current episode"""


def _render(state: Any) -> np.ndarray:
    """An image of the first row of a cart-pole's state."""
    return draw(float(state[0][0]), float(state[2][0]))


class TorchGym(gymnasium.Env):
    """One row of a torch world. All random numbers are functions of the seed given to `reset`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 100}  # noqa: RUF012  Gymnasium's own convention

    def __init__(self, world: TorchWorld, render_mode: str | None = None):
        self.world, self.render_mode = world, render_mode
        self.observation_space, self.action_space = spaces(world)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        root = seed if seed is not None else int(self.np_random.integers(2**31))
        self.state, self.t = self.world.initial(row_seeds(root, 1)), 0
        return self.world.observe(self.state)[0].numpy().copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        batch = torch.as_tensor(np.asarray(action, dtype=np.float32)).reshape(1, -1)
        self.state, step = self.world.transition(self.state, batch, self.t)
        self.t += 1
        return step.obs[0].numpy().copy(), float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), {}

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        return _render(self.state) if self.render_mode == "rgb_array" else None


class TorchVector(VectorEnv):
    """A batch of a torch world with Gymnasium's next-step autoreset: a row that has ended restarts at its next step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 100, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, world: TorchWorld, num_envs: int = 1, render_mode: str | None = None):
        self.world, self.num_envs, self.render_mode = world, num_envs, render_mode
        self.single_observation_space, self.single_action_space = spaces(world)
        self.observation_space, self.action_space = (batch_space(space, num_envs) for space in spaces(world))

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, int) else None)
        if isinstance(seed, (list, tuple)):
            self.seeds = torch.cat([row_seeds(int(s), 1) for s in seed])
        else:
            self.seeds = row_seeds(seed if seed is not None else int(self.np_random.integers(2**31)), self.num_envs)
        self.state = self.world.initial(self.seeds)
        self.ages = torch.zeros(self.num_envs, dtype=torch.int64)
        self.episodes = torch.zeros(self.num_envs, dtype=torch.int64)
        self.ended = torch.zeros(self.num_envs, dtype=torch.bool)
        return self.world.observe(self.state).numpy().copy(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        batch = torch.as_tensor(np.asarray(actions, dtype=np.float32)).reshape(self.num_envs, -1)
        # each row has its own step count, since rows restart at different times
        state, step = self.world.transition(self.state, batch, self.ages)
        fresh = self.world.initial(episode_seeds(self.seeds, self.episodes + 1))
        self.state = select(self.ended, fresh, state)
        obs = torch.where(self.ended[:, None], self.world.observe(fresh), step.obs)
        self.episodes = self.episodes + self.ended
        self.ages = torch.where(self.ended, 0, self.ages + 1)
        reward = torch.where(self.ended, 0.0, step.reward)
        terminated = step.terminated & ~self.ended
        truncated = (self.ages >= self.world.spec.horizon) & ~terminated & ~self.ended
        self.ended = terminated | truncated
        return obs.numpy().copy(), reward.numpy().astype(np.float64), terminated.numpy(), truncated.numpy(), {}

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        if self.render_mode != "rgb_array":
            return None
        rows = [take(self.state, torch.tensor([row])) for row in range(self.num_envs)]
        return tuple(_render(row) for row in rows)


def cart_pole(hard: bool = True, render_mode: str | None = None) -> TorchGym:
    """`gymnasium.make("sensorium/CartPoleSwingUpHarder-v0")`; Gymnasium's own time limit is not needed."""
    return TorchGym(CartPole(hard), render_mode)


def cart_pole_vector(num_envs: int = 1, hard: bool = True, render_mode: str | None = None) -> TorchVector:
    """`gymnasium.make_vec("sensorium/CartPoleSwingUpHarder-v0", num_envs)`."""
    return TorchVector(CartPole(hard), num_envs, render_mode)
