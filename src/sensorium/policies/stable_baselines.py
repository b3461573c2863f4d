"""Models of Stable-Baselines3 and sb3-contrib as policies, batched through the model's own network.

The library is imported only for objects that come from it.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.core.env import EnvSpec
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Policy
from sensorium.core.seeding import fold, normal, uniform
from sensorium.policies.actions import Actions, Units, uncompiled

LIBRARIES = ("stable_baselines3", "sb3_contrib")


def made(source: Any) -> bool:
    """Whether an object comes from Stable-Baselines3 or sb3-contrib."""
    return any(kind.__module__.partition(".")[0] in LIBRARIES for kind in type(source).__mro__)


def adapted(source: Any, spec: EnvSpec | None, deterministic: bool, units: Units, normalise: Any) -> "Model":
    """The Policy of a model, or of a model's `policy`. Errors: core.errors.Usage where it does not fit the world, or is no model."""
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy

    name = f"the {type(source).__name__} model"
    network = source.policy if isinstance(source, BaseAlgorithm) else source
    if not isinstance(network, BasePolicy):
        raise Usage(f"{type(source).__name__} of Stable-Baselines3 is no model; give a model such as PPO, or its policy")
    if normalise is None and isinstance(source, BaseAlgorithm):
        normalise = source.get_vec_normalize_env()
    recurrent = any(kind.__name__ == "RecurrentActorCriticPolicy" for kind in type(network).__mro__)
    return (RecurrentModel if recurrent else Model)(name, network, spec, deterministic, units, normalise)


class Model:
    """A Stable-Baselines3 network as a Policy: deterministic as `model.predict(obs, deterministic=True)`, or with sampled actions.

    Sampled actions are Stable-Baselines3's distributions with our random numbers, functions of (row seed, t, index): mean + sd * normal for
    Gaussians, its tanh for squashed ones (SAC, TQC), and for categorical ones the inverse of the distribution function at a uniform number.
    The memory is then the rows' seeds. The network is used, not copied: training the model changes the policy.
    """

    members = 1

    def __init__(self, name: str, network: Any, spec: EnvSpec | None, deterministic: bool, units: Units, normalise: Any):
        self.name, self.network, self.normalise = name, network, normalise
        self.units: Units = units
        self.spec, self.sampled = spec, not deterministic
        self.observed = observation_shapes(network.observation_space, name)
        self.to_world = converter(name, network, spec, units)
        # choices become one-hot vectors, checked as in other policies
        self.actions = Actions(name, spec or spec_of(network.action_space))
        if spec is not None and spec.observation not in self.observed:
            raise Usage(f"{name} was trained on observations {self.observed[0]}; those of {spec.name} are {spec.observation}")
        if self.sampled:
            require_distribution(name, network)

    def deterministic(self) -> Policy:
        """The policy without random numbers."""
        return type(self)(self.name, self.network, self.spec, True, self.units, self.normalise)

    def take(self, members: Int[Tensor, "some"]) -> "Model":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        self.network.set_training_mode(False)
        return (fold(seeds, "action"),) if self.sampled else ()

    @uncompiled
    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        with torch.no_grad():
            given = self.given(obs)
            if not self.sampled:
                found = self.network._predict(given, deterministic=True)
            elif hasattr(self.network, "get_distribution"):
                found = sample(self.network.get_distribution(given).distribution, memory[0], t)
            else:
                mean, log_sd, _ = self.network.actor.get_action_dist_params(given)
                found = torch.tanh(mean + log_sd.exp() * normal(memory[0], t, mean.shape[1]).to(mean))
            return self.actions(self.to_world(found), len(obs), obs.device), memory

    def given(self, obs: Tensor) -> Any:
        """Observations as the network takes them: normalised, images channel first, a flat vector split into a dict's parts."""
        if tuple(obs.shape[1:]) not in self.observed:
            raise Failure(f"{self.name} was trained on observations {self.observed[0]}, not {tuple(obs.shape[1:])}")
        space, array = self.network.observation_space, obs.cpu().numpy()
        parts: Any = array
        if hasattr(space, "spaces"):
            sizes = [math.prod(part.shape) for part in space.spaces.values()]
            split = np.split(array, np.cumsum(sizes)[:-1], 1)
            parts = {key: x.reshape(-1, *part.shape) for (key, part), x in zip(space.spaces.items(), split, strict=True)}
        return self.network.obs_to_tensor(self.normalise.normalize_obs(parts) if self.normalise is not None else parts)[0]


class RecurrentModel(Model):
    """RecurrentPPO of sb3-contrib. Its memory is the LSTM's hidden and cell state, [rows, layers, units] each, after the seeds if sampled."""

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        layers, _, units = self.network.lstm_hidden_state_shape
        states = (torch.zeros(len(seeds), layers, units, device=seeds.device) for _ in range(2))
        return (*super().begin(seeds), *states)

    @uncompiled
    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        *seeds, hidden, cell = memory
        states = tuple(part.transpose(0, 1).to(self.network.device).contiguous() for part in (hidden, cell))
        with torch.no_grad():
            starts = torch.zeros(len(obs), device=self.network.device)
            distribution, states = self.network.get_distribution(self.given(obs), states, starts)
            found = sample(distribution.distribution, seeds[0], t) if self.sampled else distribution.get_actions(deterministic=True)
        action = self.actions(self.to_world(found), len(obs), obs.device)
        return action, (*seeds, *(part.transpose(0, 1).to(obs.device) for part in states))


def sample(distribution: Any, seeds: Int[Tensor, "rows"], t: int | Tensor) -> Tensor:
    """Actions [rows, a] of a torch Normal, or choices [rows] of a Categorical, with random numbers of (row seed, t, index)."""
    if isinstance(distribution, torch.distributions.Normal):
        return distribution.mean + distribution.stddev * normal(seeds, t, distribution.mean.shape[1]).to(distribution.mean)
    drawn = uniform(seeds, t, 1).to(distribution.probs)
    return (distribution.probs.cumsum(1) <= drawn).sum(1).clamp(max=distribution.probs.shape[1] - 1)


def require_distribution(name: str, network: Any) -> None:
    """Check that a network has a distribution to sample from. Errors: core.errors.Usage."""
    actor = getattr(network, "actor", None)
    if getattr(network, "use_sde", False) or getattr(actor, "use_sde", False):
        raise Usage(f"{name} explores with state-dependent noise (use_sde), which is not sampled here; leave deterministic True")
    if not hasattr(network, "get_distribution") and not hasattr(actor, "get_action_dist_params"):
        raise Usage(f"{name} has no distribution to sample from; leave deterministic True")


def observation_shapes(space: Any, name: str) -> tuple[tuple[int, ...], ...]:
    """The shapes of observations that a model takes: its own, and for images also channels last. Errors: core.errors.Usage."""
    from gymnasium.spaces import Box, Dict

    if isinstance(space, Dict) and all(isinstance(part, Box) for part in space.spaces.values()):
        return ((sum(math.prod(part.shape) for part in space.spaces.values()),),)  # type: ignore[arg-type]
    if not isinstance(space, Box):
        raise Usage(f"{name} takes observations of a {type(space).__name__} space; allowed: Box, or a Dict of Box")
    channels_last = (space.shape[1], space.shape[2], space.shape[0]) if len(space.shape) == 3 else space.shape
    return tuple(dict.fromkeys((space.shape, channels_last)))


def spec_of(space: Any) -> EnvSpec:
    """A spec with the actions of a space, for a model without a world."""
    from gymnasium.spaces import Discrete

    discrete = isinstance(space, Discrete)
    return EnvSpec("", (), int(space.n) if discrete else math.prod(space.shape), 0, discrete=discrete)


def converter(name: str, network: Any, spec: EnvSpec | None, units: Units) -> Any:
    """A function from the network's outputs to the actions of the world.

    Where the world scales actions (`EnvSpec.bounds`), they are scaled by the model's own bounds to [-1, 1]; elsewhere they stay in the
    environment's units, clipped to the bounds, as `predict` returns them. Errors: core.errors.Usage where the two do not fit.
    """
    from gymnasium.spaces import Box, Discrete

    space = network.action_space
    if units not in ("world", "environment"):
        raise Usage(f"units cannot be '{units}'; allowed: world, environment")
    if not isinstance(space, (Box, Discrete)):
        raise Usage(f"{name} acts in a {type(space).__name__} space; allowed: Box, Discrete")
    own = spec_of(space)
    if spec is not None and (own.action, own.discrete) != (spec.action, spec.discrete):
        mine, worlds = (f"{s.action} {'discrete' if s.discrete else 'continuous'} actions" for s in (own, spec))
        raise Usage(f"{name} has {mine}, {spec.name} has {worlds}")
    if isinstance(space, Discrete):
        return lambda found: found.reshape(-1)
    low, high = (torch.tensor(bound.flatten(), dtype=torch.float32, device=network.device) for bound in (space.low, space.high))
    if units == "environment":
        require_bounds(name, low.tolist(), high.tolist(), spec)
    squashed, scaled = network.squash_output, units == "environment" and spec is not None and bool(spec.bounds)

    def convert(found: Tensor) -> Tensor:
        found = found.flatten(1)
        if squashed:
            return found if scaled else low + 0.5 * (found + 1) * (high - low)
        clipped = torch.minimum(torch.maximum(found, low), high)
        # between infinite bounds nothing is clipped, and NaN stays NaN
        return 2 * (clipped - low) / (high - low) - 1 if scaled else clipped

    return convert


def require_bounds(name: str, low: list[float], high: list[float], spec: EnvSpec | None) -> None:
    """Check that a model's bounds are those of the world's actions, or [-1, 1] where the world scales them. Errors: core.errors.Usage."""
    unit = ([-1.0] * len(low), [1.0] * len(low))
    if spec is None:
        allowed = [unit]
    elif spec.bounds:
        allowed = [tuple(list(side) for side in zip(*spec.bounds, strict=True)), unit]
    else:
        allowed = [(list(spec.low) or unit[0], unit[1])]
    if not any(np.allclose((low, high), pair) for pair in allowed):
        there = "without a world, actions are" if spec is None else f"those of {spec.name} are"
        raise Usage(
            f"the actions of {name} are in [{low}, {high}]; {there} in {list(allowed[0])}: "
            "give the world that it was trained in, or units='world' to take its actions as they are"
        )
