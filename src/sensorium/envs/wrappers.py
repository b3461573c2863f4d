"""Application of a senses specification (`--senses SPEC`) to a world and a policy.

Vector observations are treated by a wrapper (`sensed.Sensed`). Worlds of images apply treatments themselves, before frames are stacked
(`patches.PatchEnv`). The option `forget` resets the policy's memory.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.core.env import Env, EnvSpec, World, select
from sensorium.core.errors import Usage
from sensorium.core.policy import Memory, Policy
from sensorium.envs.sensed import Sensed
from sensorium.envs.sensors import Shuffle


@runtime_checkable
class Treated(Protocol):
    """A world that applies treatments itself: a frozen dataclass with a field `senses`."""

    @property
    def senses(self) -> str: ...

    @property
    def treatments(self) -> tuple[Any, ...]:
        """The parsed `senses`."""
        ...

    @property
    def spec(self) -> EnvSpec: ...

    def open(self) -> Env: ...


@dataclass(frozen=True)
class MemoryReset:
    """A policy whose memory is reset every `every` steps, for `shuffle:every=100:forget`."""

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
    """A world with the given senses specification; "" removes a Treated world's own. Errors: core.errors.Usage where it does not apply."""
    if isinstance(world, Treated):
        return replace(world, senses=senses)  # type: ignore[type-var]
    if senses and world.spec.kind != "vector":
        raise Usage(f"'{senses}' is for vector observations; {world.spec.name} has observations {world.spec.observation}")
    return Sensed(world, senses) if senses else world


@runtime_checkable
class Wrapping(Protocol):
    """A world made of another world."""

    @property
    def world(self) -> World: ...


@runtime_checkable
class Calibrated(Protocol):
    """A world whose transformation of observations belongs to the agents trained in it."""

    @property
    def spec(self) -> EnvSpec: ...

    def open(self) -> Env: ...

    def applied_to(self, world: World) -> World:
        """Another world with the same transformation."""
        ...


def shortened(world: World, horizon: int) -> World:
    """The world with episodes of at most `horizon` steps."""
    if isinstance(world, Wrapping):
        return replace(world, world=shortened(world.world, horizon))  # type: ignore[type-var]
    return replace(world, horizon=horizon)  # type: ignore[type-var]


def forgets(world: World) -> int:
    """Steps between two resets of the agent's memory by `forget`; 0: none."""
    treatments = world.treatments if isinstance(world, Treated) else ()
    return next((sense.every for sense in treatments if isinstance(sense, Shuffle) and sense.forget), 0)


def sensed(world: World, senses: str) -> World:
    """The world with treated observations; unchanged for "". Errors: core.errors.Usage for `forget`, which needs the policy."""
    treated = altered(world, senses) if senses else world
    if forgets(treated):
        raise Usage("forget resets an agent's memory and is available only in evaluation, not for a world or in training")
    return treated


def wrapped(world: World, policy: Policy, senses: str) -> tuple[World, Policy]:
    """World and policy with a senses specification applied."""
    treated = altered(world, senses)
    every = forgets(treated)
    return treated, MemoryReset(policy, every) if every else policy
