"""The dream: M as a world. Observations are (z, c, h). The next z is drawn from M's mixtures."""

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
from sensorium.core.stage import below_one
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN, ConvVAE, Seeing

State = tuple[Tensor, Tensor, Tensor, Tensor]
"""z, hidden state, cell state, row seeds"""


class DreamWorld:
    """M as a world in torch: pure functions of state, action and row seed (P section 4.4; details from the authors' code, S).

    The first z of an episode is drawn from V's posterior of a real first frame. The reward is M's prediction, or 1 if M predicts no
    reward. The episode terminates when M's restart probability exceeds 1/2. With `dropout` each episode has its own mask on M's inputs.
    """

    def __init__(
        self, memory: MDNRNN, mu: Tensor, log_variance: Tensor, temperature: float, horizon: int, low: tuple[float, ...],
        dropout: float = 0.0,
    ):  # fmt: skip
        self.memory, self.mu, self.log_variance, self.temperature, self.dropout = memory, mu, log_variance, temperature, dropout
        weight, bias = memory.output_layer()
        self.output_layer = weight.detach(), bias.detach()
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
        first = (t == 0).to(z.dtype).expand(len(z))  # t is a scalar or one number per row
        hidden, cell = self.memory.step(z, action, first, hidden, cell, self.mask(seeds))
        following = self.memory.predict(hidden, layer=self.output_layer)
        choice, noise = uniform(seeds, 2 * t, self.memory.latents), normal(seeds, 2 * t + 1, self.memory.latents)
        z = eq.mixture_sample(following.logit, following.mean, following.log_sd, self.temperature, choice, noise)
        terminated = torch.zeros_like(first, dtype=torch.bool) if following.restart is None else eq.ends(following.restart)
        reward = torch.ones_like(first) if following.reward is None else following.reward
        truncated = (t + 1 >= self.spec.horizon) & ~terminated
        state = (z, hidden, cell, seeds)
        return state, Step(self.observe(state), reward, terminated, truncated)

    def mask(self, seeds: Int[Tensor, "rows"]) -> Float[Tensor, "rows z_and_h"] | None:
        """The mask of each episode on z and the hidden state as inputs of M; None without dropout."""
        if not self.dropout:
            return None
        return eq.dropout_mask(uniform(seeds, 2**31 + 2, self.memory.latents + self.memory.hidden), self.dropout)


@dataclass(frozen=True)
class Dream:
    """The dream of the M in a stage's folder. Errors: core.errors.Usage if the temperature is not positive or dropout not in [0, 1)."""

    memory: str
    """the folder of a `Memory` stage"""
    temperature: float = 1.0
    """sampling temperature of M's mixtures: 1 as trained; higher values make errors of M harder to exploit"""
    horizon: int = 2100
    """steps until an episode is truncated"""
    low: tuple[float, ...] = ()
    """lowest value of each action, as in the real world"""
    bfloat16: bool = True
    """whether matrix products use bfloat16 if the processor supports it"""
    device: str = "cpu"
    dropout: float = 0.0
    """probability that an element of M's input z or hidden state is zero throughout an episode"""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise Usage(f"temperature cannot be {self.temperature:g}; more than 0")
        below_one(self, "dropout")

    @property
    def spec(self) -> EnvSpec:
        return self.world.spec

    @property
    def world(self) -> DreamWorld:
        state = starts(self.memory, self.device)
        memory = load_model(self.memory, self.device, self.bfloat16)
        return DreamWorld(memory, *state, self.temperature, self.horizon, self.low, self.dropout)

    def open(self) -> TorchEnv:
        return TorchEnv(self.world)


def starts(memory: str, device: str) -> tuple[Tensor, Tensor]:
    """V's posterior of the first frames stored with M: mu and log variance, [n, z]. Errors: core.errors.Usage if M is not trained."""
    loaded = checkpoint.load(Path(memory), device)
    if loaded is None:
        raise Usage(f"{memory} holds no trained model; train the earlier stages first")
    return loaded[1]["start/mu"].float(), loaded[1]["start/log_variance"].float()


def decoded(vision: Seeing, z: Float[Tensor, "rows z"]) -> np.ndarray:
    """Frames decoded from latent vectors, uint8 [rows, 64, 64, 3]. Errors: core.errors.Usage for a V of vectors."""
    if not isinstance(vision, ConvVAE):
        raise Usage("a dream of vectors has no images to render")
    image = vision.decode(z.to(next(vision.parameters()).dtype))
    return (image.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()


@runtime_checkable
class DreamWithVision(Protocol):
    """A stage with a dream and the folder of the V that decodes it."""

    @property
    def vision(self) -> str: ...

    def dream_world(self, temperature: float | None = None) -> Dream: ...


def of_run(run: str | Path, temperature: float = 1.0) -> tuple[Dream, ConvVAE]:
    """The dream of a run, and the V that decodes it. Errors: core.errors.Usage if the run has no M."""
    folder = checkpoint.agent(run)
    stage = checkpoint.placed(checkpoint.stage(folder), folder)
    if not isinstance(stage, DreamWithVision):
        raise Usage(f"{run} has no dream; it is not a world model with an M")
    return stage.dream_world(temperature), load_model(stage.vision)
