"""Who plays before anything was learned: the authors' random players."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.core.seeding import fold, normal, uniform
from sensorium.systems.world_models import equations as eq


@dataclass(frozen=True)
class RandomNetworks:
    """The authors' random driver: an untrained V, M and C with Cauchy weights of a scale of its own in every episode (S).

    Their V and M have weights so small that z is standard normal noise and h is zero; so z is drawn, and C alone is random:
    an action that is constant in an episode, plus noise, both with heavy tails.
    """

    latents: int = 32
    scale: float = 0.01
    """largest scale of the weights"""
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
    """The authors' random player: an action from U(-1, 1), kept until the tic is a multiple of a number from 1 to `longest` (S).

    Number and action are drawn anew together; with `longest` 1 there is a new action at every tic. With `varied`, ours, an episode has a
    longest of its own, between 1 and `varied` times `longest` and mostly small: so that M also sees what comes of going on and on.
    """

    longest: int = 10
    actions: int = 1
    varied: int = 0
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "HeldActions":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        rows, seeds = len(seeds), fold(seeds, "held actions")
        # the logarithm of the longest is uniform
        share = uniform(seeds, 2**31, 1)[:, 0]
        longest = (self.longest * max(self.varied, 1)) ** share if self.varied else torch.full_like(share, self.longest)
        return seeds, torch.zeros(rows, self.actions, device=seeds.device), torch.ones_like(seeds), longest

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, action, repeat, longest = memory
        draws = uniform(seeds, t, self.actions + 1)
        due = torch.as_tensor(t, device=seeds.device) % repeat == 0
        action = torch.where(due[:, None], 2 * draws[:, 1:] - 1, action)
        repeat = torch.where(due, 1 + (draws[:, 0] * longest).long(), repeat)
        return action, (seeds, action, repeat, longest)
