"""What an actor-critic has learned, as a Policy."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.core.machine import products
from sensorium.core.policy import Policy
from sensorium.core.seeding import fold, normal, uniform
from sensorium.nets.heads import Actor
from sensorium.rl.ddpg import DDPG
from sensorium.rl.sac import SAC


class Acting:
    """Codes of observations and an actor on them: deterministic, or `noisy` as they act while they learn. Its memory is the rows' seeds
    where it draws.

    `step` is the number of agent steps taken before this episode, the first `random` of which are of random actions.
    """

    members = 1

    def __init__(
        self, encoder: Callable[[Tensor], Tensor], actor: Actor, learner: SAC | DDPG, actions: int, dtype: torch.dtype = torch.float32, *,
        noisy: bool = False, step: int = 0, random: int = 0,
    ):  # fmt: skip
        self.encoder, self.actor, self.learner, self.actions, self.dtype = encoder, actor, learner, actions, dtype
        self.noisy, self.step, self.random = noisy, step, random

    def take(self, members: Int[Tensor, "some"]) -> "Acting":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        return seeds if self.noisy else ()

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        step = self.step + int(t) * len(obs)
        if self.noisy and step < self.random:
            return 2 * uniform(memory, t, self.actions) - 1, memory
        noise = normal(memory, t, self.actions) if self.noisy else None
        with torch.no_grad(), products(obs.device, self.dtype):
            return self.learner.act(self.actor, self.encoder(obs), noise, step).float(), memory


class RandomTurns:
    """A Policy that in a share of its turns, of so many steps, does something at random and holds on to it: so it comes to where it has to find a way back from."""

    members = 1

    def __init__(self, policy: Policy, actions: int, share: float, turn_steps: int):
        self.policy, self.actions, self.share, self.turn_steps = policy, actions, share, turn_steps

    def take(self, members: Int[Tensor, "some"]) -> "RandomTurns":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        return fold(seeds, "stumble"), self.policy.begin(seeds)

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, inner = memory
        action, inner = self.policy.act(obs, inner, t)
        drawn = uniform(seeds, t // self.turn_steps, self.actions + 1)
        return torch.where(drawn[:, :1] < self.share, 2 * drawn[:, 1:] - 1, action), (seeds, inner)
