"""Curiosity: the real world with M's prediction error as an additional reward (P section 5)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import Env, EnvSpec, Step, World
from sensorium.core.seeding import fold, normal
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN, ConvVAE


class CuriosityEnv:
    """An Env whose reward is that of `env` plus `weight` times M's negative log-likelihood of the next z, in nats per dimension."""

    def __init__(self, env: Env, vision: ConvVAE, memory: MDNRNN, weight: float):
        self.env, self.vision, self.memory, self.weight, self.spec = env, vision, memory, weight, env.spec

    def reset(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        obs, self.seeds, self.t = self.env.reset(seeds), fold(seeds, "curiosity"), 0
        self.hidden = self.cell = torch.zeros(len(seeds), self.memory.hidden, device=seeds.device)
        self.ended = torch.zeros_like(seeds, dtype=torch.bool)
        self.z = self.encode(obs)
        return obs

    @torch.no_grad()
    def encode(self, obs: Tensor) -> Float[Tensor, "rows z"]:
        """A sample of z from V's posterior of each frame."""
        mu, log_variance = self.vision.posterior(obs)
        return eq.latent(mu, log_variance, normal(self.seeds, self.t, self.memory.latents))

    @torch.no_grad()
    def step(self, action: Float[Tensor, "rows a"]) -> Step:
        first = torch.full_like(action[:, 0], float(self.t == 0))
        self.hidden, self.cell = self.memory.step(self.z, action, first, self.hidden, self.cell)
        expected, step = self.memory.predict(self.hidden), self.env.step(action)
        self.t += 1
        self.z = self.encode(step.obs)
        surprise = -eq.mixture_log_likelihood(self.z, expected.log_weight, expected.mean, expected.log_sd).mean(1)
        # no bonus for the last frame of an episode: M predicts the first frame of another episode there
        reward = step.reward + torch.where(self.ended | step.terminated, 0.0, self.weight * surprise)
        self.ended = self.ended | step.terminated | step.truncated
        return step._replace(reward=reward)

    def close(self) -> None:
        self.env.close()


@dataclass(frozen=True)
class CuriosityWorld:
    """A world with a curiosity reward, see `CuriosityEnv`."""

    world: World
    vision: str
    memory: str
    weight: float
    bfloat16: bool = True
    device: str = "cpu"

    @property
    def spec(self) -> EnvSpec:
        return self.world.spec

    def open(self) -> CuriosityEnv:
        vision, memory = (load_model(folder, self.device, self.bfloat16) for folder in (self.vision, self.memory))
        return CuriosityEnv(self.world.open(), vision, memory, self.weight)
