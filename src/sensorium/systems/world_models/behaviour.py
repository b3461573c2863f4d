"""Behaviour policies for the first data collection: the authors' random policies. S is the authors' released code."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import one_hot

from sensorium.core.seeding import fold, normal, uniform
from sensorium.systems.world_models import equations as eq


@dataclass(frozen=True)
class RandomNetworks:
    """The authors' random policy for CarRacing: untrained V, M and C, with Cauchy weights whose scale is drawn per episode (S).

    The weights of their V and M are so small that z is standard normal noise and h is zero. Here z is drawn, and only C has random
    weights. An action is a constant of the episode plus noise, both heavy-tailed.
    """

    latents: int = 32
    scale: float = 0.01
    """upper bound of the scale of the weights"""
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "RandomNetworks":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        seeds = fold(seeds, "random networks")
        scale = self.scale * uniform(seeds, 0, 1)
        cauchy = torch.tan(math.pi * (uniform(seeds, 1, 3 * (self.latents + 1)) - 0.5)) * scale
        weight, bias = cauchy.split([3 * self.latents, 3], 1)
        return fold(seeds, "z"), weight.unflatten(1, (3, self.latents)), bias

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, weight, bias = memory
        z = normal(seeds, t, self.latents)
        return eq.car_action(torch.tanh((weight * z[:, None]).sum(-1) + bias)), memory


@dataclass(frozen=True)
class HeldActions:
    """The authors' random policy for TakeCover (S): an action from U(-1, 1), held until the tic is a multiple of n, 1 <= n <= `longest`.

    n and the action are drawn together; with `longest` 1 there is a new action at every tic. `varied` is ours: the upper bound of an episode
    is drawn log-uniformly between 1 and `varied` times `longest`, so that the data also contain long constant actions.
    """

    longest: int = 10
    actions: int = 1
    varied: int = 0
    discrete: bool = False
    """whether an action is a choice: the one-hot vector of one of `actions` buttons"""
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "HeldActions":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        rows, seeds = len(seeds), fold(seeds, "held actions")
        # log-uniform
        share = uniform(seeds, 2**31, 1)[:, 0]
        longest = (self.longest * max(self.varied, 1)) ** share if self.varied else torch.full_like(share, self.longest)
        return seeds, torch.zeros(rows, self.actions, device=seeds.device), torch.ones_like(seeds), longest

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, action, repeat, longest = memory
        draws = uniform(seeds, t, self.actions + 1)
        due = torch.as_tensor(t, device=seeds.device) % repeat == 0
        fresh = one_hot(draws[:, 1:].argmax(1), self.actions).to(action.dtype) if self.discrete else 2 * draws[:, 1:] - 1
        action = torch.where(due[:, None], fresh, action)
        repeat = torch.where(due, 1 + (draws[:, 0] * longest).long(), repeat)
        return action, (seeds, action, repeat, longest)
