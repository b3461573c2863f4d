"""How a world and an agent meet through altered senses: what `--senses SPEC` means for either.

A vector of observations is altered around the world (`sensors.Sensed`); a world of pictures treats its own senses, before frames are
stacked (`patches.PatchEnv`). `forget` is about neither: it clears the agent's memory.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.core.env import Env, EnvSpec, World, select
from sensorium.core.errors import Usage
from sensorium.core.policy import Memory, Policy
from sensorium.envs.sensors import Sensed, Shuffle


@runtime_checkable
class Treated(Protocol):
    """A world that treats its own senses: a frozen dataclass with `senses` as a field."""

    @property
    def senses(self) -> str: ...

    @property
    def treatments(self) -> tuple[Any, ...]:
        """What `senses` says, parsed."""
        ...

    @property
    def spec(self) -> EnvSpec: ...

    def open(self) -> Env: ...


@dataclass(frozen=True)
class MemoryReset:
    """A policy whose memory is cleared every `every` steps: what `shuffle:every=100:forget` asks for."""

    policy: Policy
    every: int

    @property
    def members(self) -> int:
        return self.policy.members

    def take(self, members: Int[Tensor, "some"]) -> Policy:
        return replace(self, policy=self.policy.take(members))

    def begin(self, seeds: Int[Tensor, "rows"]) -> Memory:
        return self.policy.begin(seeds)

    def act(self, obs: Tensor, memory: Memory, t: int | Tensor) -> tuple[Tensor, Memory]:
        time = torch.as_tensor(t, device=obs.device)
        blank = self.policy.begin(torch.zeros(len(obs), dtype=torch.int64, device=obs.device))
        clear = ((time % self.every == 0) & (time > 0)).expand(len(obs))
        return self.policy.act(obs, select(clear, blank, memory), t)


def altered(world: World, senses: str) -> World:
    """A world with its senses replaced; "": none are altered."""
    if isinstance(world, Treated):
        return replace(world, senses=senses)  # type: ignore[type-var]
    if senses and len(world.spec.observation) != 1:
        raise Usage(f"'{senses}' is for vectors of observations; {world.spec.name} shows {world.spec.observation}")
    return Sensed(world, senses) if senses else world


def forgets(world: World) -> int:
    """Steps between two moments in which the agent's memory is to be cleared; 0: it is not."""
    return next((sense.every for sense in getattr(world, "treatments", ()) if isinstance(sense, Shuffle) and sense.forget), 0)


def sensed(world: World, senses: str) -> World:
    """The world with altered senses, or as it is where none are named. Where `forget` cannot be done it is refused."""
    seen = altered(world, senses) if senses else world
    if forgets(seen):
        raise Usage("forget clears an agent's memory while it is evaluated; a world, or training, cannot")
    return seen


def wrapped(world: World, policy: Policy, senses: str) -> tuple[World, Policy]:
    """World and policy as `--senses SPEC` has them meet."""
    seen = altered(world, senses)
    every = forgets(seen)
    return seen, MemoryReset(policy, every) if every else policy
