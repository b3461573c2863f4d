"""Normalised: a world whose sensors are shifted and scaled by constants, which are measured once and stand in the card."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import Coordinate, EnvSpec, MultiView, Step, World, closing, coordinates, frames_per_episode, frames_per_step
from sensorium.core.errors import Usage
from sensorium.core.policy import Policy
from sensorium.core.rollout import stream
from sensorium.core.seeding import row_seeds

LIMIT = 10.0
"""bound on normalised observations, in standard deviations"""
SMALLEST = 1e-3
"""smallest standard deviation; sensors that hardly change are not amplified beyond it"""


@dataclass(frozen=True)
class Normalised:
    """A world with observations (x - mean) / sd per sensor, limited to 10 standard deviations. Errors: core.errors.Usage for other sizes."""

    world: World
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.sd, default=1.0) <= 0:
            raise Usage(f"sd cannot be {min(self.sd)}; it is positive")

    @property
    def spec(self) -> EnvSpec:
        spec = self.world.spec
        if spec.kind != "vector" or not len(self.mean) == len(self.sd) == spec.observation[0]:
            raise Usage(f"mean and sd have {len(self.mean)} and {len(self.sd)} numbers; {spec.name} observes {spec.observation}")
        return spec

    @property
    def repeat(self) -> int:
        return frames_per_step(self.world)

    @property
    def frames(self) -> int:
        return frames_per_episode(self.world)

    @property
    def where(self) -> tuple[Coordinate, ...]:
        return coordinates(self.world)

    @property
    def from_states(self) -> World:
        """The world without normalisation."""
        return self.world

    def places(self, states: Float[Tensor, "rows n"]) -> Float[Tensor, "rows k"]:
        return self.world.places(states)  # type: ignore[attr-defined]

    def applied_to(self, world: World) -> "Normalised":
        """Another world with the same constants."""
        return Normalised(world, self.mean, self.sd)

    def normalise(self, obs: Float[Tensor, "rows n"]) -> Float[Tensor, "rows n"]:
        """Observations of the world as this one gives them."""
        mean, sd = (torch.tensor(values, device=obs.device) for values in (self.mean, self.sd))
        return ((obs - mean) / sd).clamp(-LIMIT, LIMIT)

    def open(self) -> "NormalisedEnv":
        return NormalisedEnv(self)


class NormalisedEnv:
    """An Env with normalised observations; a teacher from the world without normalisation gets its own observations."""

    def __init__(self, world: Normalised):
        self.world, self.spec, self.env = world, world.spec, world.world.open()

    def reset(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        self.raw = self.env.reset(seeds)
        return self.world.normalise(self.raw)

    def step(self, action: Tensor) -> Step:
        step = self.env.step(action)
        self.raw = step.obs
        return step._replace(obs=self.world.normalise(self.raw))

    def states(self) -> Float[Tensor, "rows n"]:
        """The observations without normalisation."""
        return self.raw.cpu()

    def views(self, world: World) -> bool:
        return self.within(world) or (isinstance(self.env, MultiView) and self.env.views(world))

    def within(self, world: World) -> bool:
        """Whether a world is the one that is normalised, up to the length of episodes."""
        inner = self.world.world
        return type(world) is type(inner) and world.spec.observation == inner.spec.observation

    def shown(self, world: World) -> Tensor:
        if self.within(world) or not isinstance(self.env, MultiView):
            return self.raw
        return self.env.shown(world)

    def close(self) -> None:
        self.env.close()


def fitted(world: World, policy: Policy, episodes: int, seed: int = 0) -> Normalised:
    """The world normalised by the mean and standard deviation of its sensors over a policy's episodes."""
    total, square, count = (
        torch.zeros(world.spec.observation, dtype=torch.float64),
        torch.zeros(world.spec.observation, dtype=torch.float64),
        0,
    )
    with closing(world) as env:
        for transition in stream(env, policy, row_seeds(seed, episodes)):
            obs = transition.obs[transition.live].double()
            total, square, count = total + obs.sum(0), square + (obs**2).sum(0), count + len(obs)
    mean = total / count
    sd = (square / count - mean**2).clamp(min=0).sqrt().clamp(min=SMALLEST)
    # rounded, so that the card is short and does not depend on the order of additions
    return Normalised(world, *(tuple(float(f"{value:.4g}") for value in part.tolist()) for part in (mean, sd)))
