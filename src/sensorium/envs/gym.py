"""Torch worlds as Gymnasium environments, single and vector; `register.py` registers their ids."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import State, Step, TorchWorld, select, take
from sensorium.core.machine import at_most, compiled
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


class Rows(NamedTuple):
    """A batch whose rows are at different steps of different episodes."""

    state: State
    """the world's state"""
    seeds: Tensor
    """[rows]: the seeds given to `reset`"""
    episodes: Tensor
    """[rows]: number of episodes that have ended and been followed by another"""
    ages: Tensor
    """[rows]: steps of the current episode"""
    ended: Tensor
    """[rows]: whether the current episode has ended"""


def advance(world: TorchWorld, rows: Rows, action: Float[Tensor, "rows n"]) -> tuple[Rows, Step]:
    """One step of every row; a row that has ended begins its next episode instead and earns nothing."""
    state, step = world.transition(rows.state, action, rows.ages)
    fresh = world.initial(episode_seeds(rows.seeds, rows.episodes + 1))
    obs = select(rows.ended, world.observe(fresh), step.obs)
    ages = torch.where(rows.ended, 0, rows.ages + 1)
    terminated = step.terminated & ~rows.ended
    truncated = (ages >= world.spec.horizon) & ~terminated & ~rows.ended
    after = Rows(select(rows.ended, fresh, state), rows.seeds, rows.episodes + rows.ended, ages, terminated | truncated)
    return after, Step(obs, torch.where(rows.ended, 0.0, step.reward), terminated, truncated)


def first_seeds(env: VectorEnv, seed: Any) -> Int[Tensor, "rows"]:
    """The row seeds for an argument of `VectorEnv.reset`: an integer, one integer per row, or None for the environment's generator."""
    if isinstance(seed, (list, tuple)):
        return torch.cat([row_seeds(int(s), 1) for s in seed])
    return row_seeds(seed if seed is not None else int(env.np_random.integers(2**31)), env.num_envs)


@functools.cache
def _compiled_advance() -> Callable[..., Any]:
    return compiled(advance)


class TorchVector(VectorEnv):
    """A batch of a torch world with Gymnasium's next-step autoreset: a row that has ended restarts at its next step.

    The step, restarts included, is compiled for `num_envs` rows at the first call of `step`, which takes some seconds; `compile=False`
    is the same step uncompiled. Small batches use one thread: synchronising threads would cost more than they save.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 100, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    rows_per_thread = 256
    """rows for each thread of torch that steps them; fewer where the step of a row takes longer"""

    def __init__(self, world: TorchWorld, num_envs: int = 1, render_mode: str | None = None, compile: bool = True):
        self.world, self.num_envs, self.render_mode = world, num_envs, render_mode
        self.single_observation_space, self.single_action_space = spaces(world)
        self.observation_space, self.action_space = (batch_space(space, num_envs) for space in spaces(world))
        self.advance = _compiled_advance() if compile else advance

    @property
    def seeds(self) -> Tensor:
        """The seed of each row's episode 0."""
        return self.rows.seeds

    @property
    def episodes(self) -> Tensor:
        """The number of each row's current episode."""
        return self.rows.episodes

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, int) else None)
        seeds = first_seeds(self, seed)
        zeros = torch.zeros_like(seeds)
        self.rows = Rows(self.world.initial(seeds), seeds, zeros, zeros.clone(), zeros.bool())
        return self.world.observe(self.rows.state).numpy().copy(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        batch = torch.from_numpy(np.array(actions, dtype=np.float32, order="C")).view(self.num_envs, -1)
        with torch.no_grad(), at_most(-(-self.num_envs // self.rows_per_thread)):
            self.rows, (obs, reward, terminated, truncated) = self.advance(self.world, self.rows, batch)
        return obs.numpy().copy(), reward.numpy().astype(np.float64), terminated.numpy(), truncated.numpy(), {}

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        if self.render_mode != "rgb_array":
            return None
        rows = [take(self.rows.state, torch.tensor([row])) for row in range(self.num_envs)]
        return tuple(_render(row) for row in rows)


def cart_pole(hard: bool = True, render_mode: str | None = None) -> TorchGym:
    """`gymnasium.make("sensorium/CartPoleSwingUpHarder-v0")`; Gymnasium's own time limit is not needed."""
    return TorchGym(CartPole(hard), render_mode)


def cart_pole_vector(num_envs: int = 1, hard: bool = True, render_mode: str | None = None, compile: bool = True) -> TorchVector:
    """`gymnasium.make_vec("sensorium/CartPoleSwingUpHarder-v0", num_envs)`."""
    return TorchVector(CartPole(hard), num_envs, render_mode, compile)
