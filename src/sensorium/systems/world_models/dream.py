"""The dream: M as a world. What one sees there is (z, c, h); what one does there M believes, and draws what follows from its mixtures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import EnvSpec, Step, TorchEnv
from sensorium.core.errors import Usage
from sensorium.core.seeding import fold, normal, uniform
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.latents import opened
from sensorium.systems.world_models.model import MDNRNN, ConvVAE

State = tuple[Tensor, Tensor, Tensor, Tensor]
"""z, hidden state, cell state, row seeds"""


class DreamWorld:
    """M as a world in torch: pure functions of state, action and row seed (P section 4.4; S for the details).

    An episode begins with what V made of a real first frame. A step is worth what M predicts, or 1 where M predicts no reward, and
    the episode ends when M holds it for more likely than not that the next frame belongs to another one.
    """

    def __init__(self, memory: MDNRNN, mu: Tensor, log_variance: Tensor, temperature: float, horizon: int, low: tuple[float, ...]):
        self.memory, self.mu, self.log_variance, self.temperature = memory, mu, log_variance, temperature
        self.spec = EnvSpec("dream", (memory.latents + 2 * memory.hidden,), memory.actions, horizon, low=low)

    def open(self) -> TorchEnv:
        return TorchEnv(self)

    def initial(self, seeds: Int[Tensor, "rows"]) -> State:
        seeds = fold(seeds, "dream")
        chosen = (uniform(seeds, 2**31, 1)[:, 0] * len(self.mu)).long()
        z = eq.latent(self.mu[chosen], self.log_variance[chosen], normal(seeds, 2**31 + 1, self.memory.latents))
        blank = z.new_zeros(len(seeds), self.memory.hidden)
        return z, blank, blank.clone(), seeds

    def observe(self, state: State) -> Float[Tensor, "rows zch"]:
        z, hidden, cell, _ = state
        return torch.cat([z, cell, hidden], 1)

    def transition(self, state: State, action: Float[Tensor, "rows a"], t: int | Tensor) -> tuple[State, Step]:
        z, hidden, cell, seeds = state
        t = torch.as_tensor(t, device=seeds.device)
        first = (t == 0).to(z.dtype).expand(len(z))  # t is one number, or one for every row
        hidden, cell = self.memory.step(z, action, first, hidden, cell)
        seen = self.memory.predict(hidden)
        choice, noise = uniform(seeds, 2 * t, self.memory.latents), normal(seeds, 2 * t + 1, self.memory.latents)
        z = eq.mixture_sample(seen.log_weight, seen.mean, seen.log_sd, self.temperature, choice, noise)
        terminated = torch.zeros_like(first, dtype=torch.bool) if seen.restart is None else eq.ends(seen.restart)
        reward = torch.ones_like(first) if seen.reward is None else seen.reward
        truncated = (t + 1 >= self.spec.horizon) & ~terminated
        state = (z, hidden, cell, seeds)
        return state, Step(self.observe(state), reward, terminated, truncated)


@dataclass(frozen=True)
class Dream:
    """The dream of the M in a stage's folder."""

    memory: str
    """the folder of a `Memory` stage"""
    temperature: float = 1.0
    """uncertainty of the dream: 1 as M has learned it, more makes it harder to exploit"""
    horizon: int = 2100
    """steps until an episode is truncated"""
    low: tuple[float, ...] = ()
    """lowest value of each action, as in the real world"""
    bfloat16: bool = True
    """whether products run in bfloat16 where this machine has it built in"""
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise Usage(f"temperature cannot be {self.temperature:g}; more than 0")

    @property
    def spec(self) -> EnvSpec:
        return self.world.spec

    @property
    def world(self) -> DreamWorld:
        state = starts(self.memory, self.device)
        return DreamWorld(opened(self.memory, self.device, self.bfloat16), *state, self.temperature, self.horizon, self.low)

    def open(self) -> TorchEnv:
        return TorchEnv(self.world)


def starts(memory: str, device: str) -> tuple[Tensor, Tensor]:
    """What V made of the first frames that M keeps: mu and log variance."""
    loaded = checkpoint.load(Path(memory), device)
    if loaded is None:
        raise Usage(f"{memory} holds no trained model; train the earlier stages first")
    return loaded[1]["start/mu"].float(), loaded[1]["start/log_variance"].float()


def drawn(vision: ConvVAE, z: Float[Tensor, "rows z"]) -> np.ndarray:
    """Pictures of latent vectors, uint8 [rows, 64, 64, 3]."""
    image = vision.decode(z.to(next(vision.parameters()).dtype))
    return (image.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()


@runtime_checkable
class SeeingDreamer(Protocol):
    """A stage with M's dream and the folder of the V that draws it."""

    @property
    def vision(self) -> str: ...

    def dream_world(self, temperature: float | None = None) -> Dream: ...


def of_run(run: str | Path, temperature: float = 1.0) -> tuple[Dream, ConvVAE]:
    """The dream of a run, and the V that draws it."""
    folder = checkpoint.agent(run)
    stage = checkpoint.placed(checkpoint.stage(folder), folder)
    if not isinstance(stage, SeeingDreamer):
        raise Usage(f"{run} has no dream: it is no world model with a memory")
    return stage.dream_world(temperature), opened(stage.vision)
