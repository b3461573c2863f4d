"""Treatments of the senses for any Gymnasium environment with a vector of observations, single and vector.

Senses(env, "shuffle,noise:5")            one environment
VectorSenses(envs, "shuffle:every=100")   a vector environment

The treatments are those of `--senses` (`envs.sensors`). They are functions of the seed given to `reset`, so that an environment of
Sensorium with this wrapper equals `sensorium.world(name, senses=...)`. An episode that begins without a seed has treatments that are a
function of the last seed given and of the number of episodes since. Without any seed they are random.

Images are refused: Sensorium's own worlds cut them into patches before they are treated (`envs.patches`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from sensorium.core.env import Env, EnvSpec, select
from sensorium.core.errors import Usage
from sensorium.core.seeding import row_seeds
from sensorium.envs.gym import RowSeeded, episode_seeds
from sensorium.envs.sensed import Sensed
from sensorium.envs.sensors import Shuffle


@dataclass(frozen=True)
class Channels:
    """The observations of an environment that Gymnasium steps, as the World of an `envs.sensed.Sensed`."""

    n: int

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("Gymnasium", (self.n,), action=0, horizon=0)

    def open(self) -> Env:
        raise Usage("Gymnasium steps this environment; it cannot be opened as a world")


class Rows:
    """The treatments of a batch of rows, each with its own seed, number of episodes and number of steps.

    Errors: core.errors.Usage for observations that are not a vector, and for specifications that cannot be read or need the policy.
    """

    def __init__(self, space: gymnasium.Space, senses: str, rows: int = 1):
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise Usage(f"senses need a vector as observation, and this environment has {space}; {advice(space)}")
        self.sensed, self.dtype = Sensed(Channels(space.shape[0]), senses), space.dtype
        if any(isinstance(sense, Shuffle) and sense.forget for sense in self.sensed.treatments):
            raise Usage("forget resets an agent's memory, which an environment does not know; reset the memory in the agent")
        bounds = torch.tensor(np.stack([space.low, space.high]))
        for sense in self.sensed.treatments:
            bounds = sense.limits(bounds)
        low, high = bounds.numpy()
        self.space = Box(low, high, dtype=low.dtype)
        # random until a seed is given
        self.seeds = row_seeds(int(np.random.SeedSequence().generate_state(1)[0]), rows)
        self.episodes = torch.full((rows,), -1)
        self.state = self._initial()

    def _initial(self) -> tuple[Any, ...]:
        """At the start of each row's episode: the seeds of the treatments, their layouts, 0 steps and blank histories."""
        own = self.sensed.own(episode_seeds(self.seeds, self.episodes))
        return own, self.sensed.layouts(own), torch.zeros_like(self.seeds), self.sensed.histories(own)

    def begin(self, rows: np.ndarray, seeds: Sequence[int | None]) -> None:
        """Begin an episode in the rows of a mask. A row seed of None: a function of the row's last seed and its number of episodes."""
        mask = torch.from_numpy(rows)
        given = mask & torch.tensor([seed is not None for seed in seeds])
        self.seeds = torch.where(given, torch.tensor([seed or 0 for seed in seeds]), self.seeds)
        self.episodes = torch.where(given, 0, self.episodes + mask)
        self.state = select(mask, self._initial(), self.state)

    def advance(self) -> None:
        """Count one step in every row and draw the layouts that are due."""
        own, layouts, t, histories = self.state
        self.state = own, self.sensed.redrawn(layouts, own, t + 1), t + 1, histories

    def treated(self, obs: Any, seen: np.ndarray | None = None) -> np.ndarray:
        """The treated observations [rows, channels] at the current step. Histories take over those of the rows `seen`, by default all."""
        own, layouts, t, histories = self.state
        found, after = self.sensed.alter(torch.tensor(np.asarray(obs, dtype=self.dtype)), layouts, histories, own, t)
        mask = torch.ones(len(t), dtype=torch.bool) if seen is None else torch.from_numpy(seen)
        self.state = own, layouts, t, select(mask, after, histories)
        return found.numpy()


def advice(space: gymnasium.Space) -> str:
    """What helps for a space that is not a vector."""
    if isinstance(space, Box) and len(space.shape) == 3:
        return "treatments of images are applied to patches, in Sensorium's own worlds (sensorium.world('car-racing', senses='patches'))"
    return "gymnasium.wrappers.FlattenObservation makes one"


def row_seed(seed: int | None) -> int | None:
    """The seed of the one row of an environment that was reset with `seed`, as in `core.seeding.row_seeds`."""
    return None if seed is None else int(row_seeds(int(seed), 1))


class Senses(gymnasium.Wrapper, RecordConstructorArgs):
    """An environment with treated observations.

    `Senses.wrapper_spec(senses="shuffle")` is for `additional_wrappers` of an EnvSpec. Errors: core.errors.Usage, as `Rows`.
    """

    def __init__(self, env: gymnasium.Env, senses: str):
        RecordConstructorArgs.__init__(self, senses=senses)
        gymnasium.Wrapper.__init__(self, env)
        self.rows, self.ended = Rows(env.observation_space, senses), False
        self.observation_space = self.rows.space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        self.rows.begin(np.ones(1, dtype=bool), [row_seed(seed)])
        self.ended = False
        return self.rows.treated(np.asarray(obs)[None])[0], info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        if self.ended:
            # as gymnasium.wrappers.Autoreset does
            self.rows.begin(np.ones(1, dtype=bool), [None])
        else:
            self.rows.advance()
        self.ended = terminated or truncated
        return self.rows.treated(np.asarray(obs)[None])[0], reward, terminated, truncated, info


class VectorSenses(VectorWrapper, RecordConstructorArgs):
    """A vector environment with treated observations, for every autoreset mode; `final_obs` is treated too.

    Row i of `reset(seed=s)` has the treatments of a single environment after `reset(seed=s + i)`, or of the row's own seed where the vector
    environment draws its rows' seeds itself (`envs.gym.RowSeeded`). Without metadata about autoreset, the mode is the next-step mode.
    Errors: core.errors.Usage, as `Rows`.
    """

    def __init__(self, env: VectorEnv, senses: str):
        RecordConstructorArgs.__init__(self, senses=senses)
        VectorWrapper.__init__(self, env)
        self.rows, self.ended = Rows(env.single_observation_space, senses, env.num_envs), np.zeros(env.num_envs, dtype=bool)
        self.single_observation_space = self.rows.space
        self.observation_space = batch_space(self.rows.space, env.num_envs)
        self.last = np.zeros((env.num_envs, *self.rows.space.shape), dtype=self.rows.space.dtype)
        self.mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        # the environment removes the mask from its options
        rows = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool)).copy()
        obs, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self.rows.begin(rows, self._row_seeds(seed))
        self.ended = self.ended & ~rows
        # rows that go on have been treated before
        self.last = np.where(rows[:, None], self.rows.treated(obs, rows), self.last)
        return self.last.copy(), info

    def _row_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """The row seeds after a reset; None where no seed was given."""
        if isinstance(self.unwrapped, RowSeeded):
            return self.unwrapped.seeds.tolist()
        if seed is None or isinstance(seed, (int, np.integer)):
            seed = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        return [row_seed(one) for one in seed]

    def step(self, actions: Any) -> tuple[np.ndarray, Any, Any, Any, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        self.rows.advance()
        restarted, self.ended = self.ended, np.asarray(terminated | truncated)
        if self.mode == AutoresetMode.SAME_STEP:
            restarted = self.ended
            if "final_obs" in info:
                info = {**info, "final_obs": self._final(info["final_obs"], restarted, obs)}
        if self.mode != AutoresetMode.DISABLED and restarted.any():
            self.rows.begin(restarted, [None] * self.num_envs)
        self.last = self.rows.treated(obs)
        return self.last.copy(), reward, terminated, truncated, info

    def _final(self, found: np.ndarray, ended: np.ndarray, obs: np.ndarray) -> np.ndarray:
        """The last observations of the episodes that have ended, treated: an array of objects, None in the other rows."""
        last = np.array(obs)
        last[ended] = np.stack(list(found[ended]))
        treated, final = self.rows.treated(last, np.zeros(self.num_envs, dtype=bool)), np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(ended):
            final[row] = treated[row]
        return final
