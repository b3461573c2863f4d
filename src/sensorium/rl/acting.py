"""Policies of actor-critic learners."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.core.machine import products
from sensorium.core.policy import Policy, with_action
from sensorium.core.seeding import fold, normal, uniform
from sensorium.nets.heads import Actor
from sensorium.rl.learner import Learner


class Acting:
    """An encoder and an actor as a Policy: deterministic, or with exploration noise where `noisy` (its memory is then the rows' seeds).

    `step` is the number of agent steps before this episode; the first `random` agent steps take uniform actions.
    """

    members = 1

    def __init__(
        self, encoder: Callable[[Tensor], Tensor], actor: Actor, learner: Learner, actions: int, dtype: torch.dtype = torch.float32, *,
        noisy: bool = False, step: int = 0, random: int = 0,
    ):  # fmt: skip
        self.encoder, self.actor, self.learner, self.actions, self.dtype = encoder, actor, learner, actions, dtype
        self.noisy, self.step, self.random = noisy, step, random

    def take(self, members: Int[Tensor, "some"]) -> "Acting":
        return self

    def float32(self) -> "Acting":
        """The same policy with matrix products in float32."""
        how: Any = {"noisy": self.noisy, "step": self.step, "random": self.random}
        return Acting(self.encoder, self.actor, self.learner, self.actions, **how)

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        return seeds if self.noisy else ()

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        step = self.step + int(t) * obs.shape[0]
        if self.noisy and step < self.random:
            return 2 * uniform(memory, t, self.actions) - 1, memory
        noise = normal(memory, t, self.actions) if self.noisy else None
        with torch.no_grad(), products(obs.device, self.dtype):
            return self.learner.act(self.actor, self.encoder(obs), noise, step).float(), memory


class RandomTurns:
    """A Policy that holds a random action in a share of its turns of `turn_steps` steps, so that it visits states to recover from."""

    members = 1

    def __init__(self, policy: Policy, actions: int, share: float, turn_steps: int, low: tuple[float, ...] = ()):
        self.policy, self.actions, self.share, self.turn_steps = policy, actions, share, turn_steps
        # the highest value of each action is 1
        self.low = torch.tensor(low or (-1.0,) * actions)

    def take(self, members: Int[Tensor, "some"]) -> "RandomTurns":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        return fold(seeds, "stumble"), self.policy.begin(seeds)

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, inner = memory
        action, inner = self.policy.act(obs, inner, t)
        drawn = uniform(seeds, t // self.turn_steps, self.actions + 1)
        low = self.low.to(action.device)
        action = torch.where(drawn[:, :1] < self.share, low + (1 - low) * drawn[:, 1:], action)
        return action, (seeds, with_action(self.policy, inner, action))
