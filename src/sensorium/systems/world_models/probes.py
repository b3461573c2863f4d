"""Measures of how far to trust a dream: M's likelihood on new episodes, and policies of several strengths played in both worlds."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import closing
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import normal, row_seeds
from sensorium.core.stats import bootstrap_interval, rank_correlation
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.stages import Controller

SEED = 97
"""seed of the episodes, which no training uses"""


@dataclass(frozen=True)
class Trust:
    """A dream compared with its world."""

    likelihood: float
    """log likelihood of the next z in nats per dimension, one step ahead, on new episodes of the agent; z are samples, as in M's training"""
    persistence: float
    """the same of a normal distribution around the present z, with the best standard deviation of each dimension"""
    strengths: tuple[float, ...]
    """share of the agent's parameters in each policy; the rest is random"""
    dream: Float[np.ndarray, "policies episodes"]
    """returns in the dream"""
    world: Float[np.ndarray, "policies episodes"]
    """returns in the world"""

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of the policies' mean returns."""
        return rank_correlation(self.dream.mean(1), self.world.mean(1))

    @property
    def gap(self) -> tuple[float, float, float]:
        """The agent's mean return in the dream minus that in the world, with its 95 % interval; the episodes are not paired."""
        dream, world = self.dream[0], self.world[0]
        low, high = bootstrap_interval(np.stack([dream, -world]), statistic=lambda both: both.mean(-1).sum(-1))
        return float(dream.mean() - world.mean()), low, high


def weakened(vector: Tensor, policies: int) -> tuple[tuple[float, ...], Float[Tensor, "policies n"]]:
    """Parameter vectors from the agent's to random ones of the same size: sqrt(s) agent + sqrt(1 - s) random, with s from 1 to 0."""
    shares = torch.linspace(1, 0, policies)
    random = torch.randn(policies, len(vector), generator=torch.Generator().manual_seed(SEED)) * vector.square().mean().sqrt()
    return tuple(shares.tolist()), shares.sqrt()[:, None] * vector + (1 - shares).sqrt()[:, None] * random


def trust(folder: str | Path, policies: int = 6, episodes: int = 8) -> Trust:
    """Measure a run's dream. Errors: core.errors.Usage where the agent has none, or one without reward and end."""
    path = checkpoint.agent(folder)
    stage, state = checkpoint.restored(path)
    assert isinstance(stage, Controller)
    dream, _ = stage.in_dream(state)
    shares, vectors = weakened(state["agent"].float().cpu(), policies)
    found: dict[str, list[Any]] = {"dream": [], "world": []}
    seeds = row_seeds(SEED, episodes)
    with closing(dream) as dreams, closing(stage.world) as world:
        for vector in vectors:
            changed = {**state, "agent": vector}
            # compiling takes longer than so few episodes
            found["dream"].append(play(dreams, stage.in_dream(changed)[1], seeds, compile=False).returns.numpy())
            found["world"].append(play(world, stage.policy(changed), seeds, compile=False).returns.numpy())
        likelihood, persistence = one_step(stage, world, stage.policy(state), episodes)
    return Trust(likelihood, persistence, shares, *(np.stack(found[name]) for name in ("dream", "world")))


@torch.no_grad()
def one_step(stage: Controller, world: Any, policy: Policy, episodes: int) -> tuple[float, float]:
    """Log likelihoods per dimension of the next z, of M and of persistence, over episodes of a policy.

    A dimension of z that V does not use has a constant mean, which persistence would know exactly, so z are samples of the posterior.
    """
    vision, memory, seeds = load_model(stage.vision), load_model(stage.memory), row_seeds(SEED + 1, episodes)
    rollout = play(world, policy, seeds, keep=("observations", "actions"))
    hidden = cell = torch.zeros(episodes, memory.hidden)
    codes, scores, live = [], [], []
    expected = None
    for t in range(len(rollout.observations)):
        mu, log_variance = vision.posterior(rollout.observations[t])
        z = eq.latent(mu, log_variance, normal(seeds, t, vision.latents)).float()
        if expected is not None:
            scores.append(eq.mixture_log_likelihood(z, expected.log_weight, expected.mean, expected.log_sd).mean(1))
            live.append(t < rollout.lengths)
        codes.append(z)
        hidden, cell = memory.step(z, rollout.actions[t], torch.full((episodes,), float(t == 0)), hidden, cell)
        expected = memory.predict(hidden)
    alive = torch.stack(live)
    changes = (torch.stack(codes[1:]) - torch.stack(codes[:-1]))[alive]
    # the best normal around the present z: its entropy per dimension is log(sd) + (1 + log(2 pi)) / 2
    sd = changes.square().mean(0).sqrt().clamp(min=1e-6)
    return float(torch.stack(scores)[alive].mean()), float(-(torch.log(sd) + 0.5 * (1 + math.log(2 * math.pi))).mean())
