"""A world for tests that is learned in seconds: move a point to the origin."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import EnvSpec, Step, TorchEnv
from sensorium.core.seeding import uniform


@dataclass(frozen=True)
class Toy:
    """A point on a line, at x in [-1, 1], moves by at most 0.2 per step. Reward 1 - |x|; leaving [-2, 2] ends the episode.

    Observation: x, its last move times 5, and the constant 1.
    """

    horizon: int = 20

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("toy", (3,), 1, self.horizon, ("place", "move", "one"))

    def open(self) -> TorchEnv:
        return TorchEnv(self)

    def initial(self, seeds: Int[Tensor, "rows"]) -> tuple[Tensor, ...]:
        place = 2 * uniform(seeds, 0, 1)[:, 0] - 1
        return place, torch.zeros_like(place)

    def observe(self, state: tuple[Tensor, ...]) -> Float[Tensor, "rows 3"]:
        place, move = state
        return torch.stack([place, 5 * move, torch.ones_like(place)]).mT

    def transition(self, state: tuple[Tensor, ...], action: Float[Tensor, "rows 1"], t: int | Tensor) -> tuple[tuple[Tensor, ...], Step]:
        move = 0.2 * action[:, 0].clamp(-1, 1)
        state = (state[0] + move, move)
        terminated = state[0].abs() > 2
        truncated = (torch.as_tensor(t) + 1 >= self.horizon) & ~terminated
        return state, Step(self.observe(state), 1 - state[0].abs(), terminated, truncated)
