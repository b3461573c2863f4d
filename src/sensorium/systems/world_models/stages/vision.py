"""Vision: train the VAE (V) on recorded frames."""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from sensorium.core.errors import Usage
from sensorium.core.machine import compiled, product_type
from sensorium.core.seeding import Seeds
from sensorium.core.stage import NOWHERE, Folder, Metrics, State, at_least
from sensorium.data.episodes import Episodes, Shuffled
from sensorium.nets import descent
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.model import ConvVAE, fit_initial_weights, pixels
from sensorium.systems.world_models.stages.collect import whole

FITTED = 1000
"""largest number of frames to which initial weights are fitted"""


def losses(model: ConvVAE, frames: Tensor, noise: Tensor, tolerance: float, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and its two terms, squared error and KL divergence in nats, as means over the batch of uint8 frames [rows, 64, 64, 3]."""
    image = pixels(frames)
    with torch.autocast(frames.device.type, dtype, enabled=dtype != torch.float32):
        mu, log_variance = model.encode(image)
        decoded = model.decode(eq.latent(mu, log_variance, noise))
    error, divergence = eq.reconstruction(image, decoded).mean(), eq.divergence(mu, log_variance)
    return error + eq.floored(divergence, tolerance, model.latents).mean(), error, divergence.mean()


@dataclass
class Resources:
    """Open resources of the stage."""

    model: ConvVAE
    optimizer: torch.optim.Adam
    frames: Shuffled
    losses: Any
    dtype: torch.dtype

    def close(self) -> None:
        self.frames.close()


@dataclass(frozen=True)
class Vision:
    """Train the VAE on recorded frames (P section 4.2, step 2)."""

    episodes: Folder = Folder("../1-collect")
    """the recorded episodes"""
    start: Folder = NOWHERE
    """an earlier V whose parameters training starts from"""
    latents: int = 32
    """dimensions of z"""
    tolerance: float = 0.5
    """free nats per dimension: the KL divergence costs nothing below tolerance * latents"""
    batch: int = 100
    """frames per update"""
    updates: int = 100
    """updates per step"""
    learning_rate: float = 1e-4
    """learning rate of Adam"""
    fitted: bool = False
    """whether the initial weights are fitted to the mean colour and the standard deviation of the recorded frames"""
    group: int = 32
    """episodes decompressed at a time, from which a step draws its frames (12 MB each for 1,000 steps)"""
    bfloat16: bool = True
    """whether matrix products use bfloat16 if the processor supports it"""
    compile: bool = True
    """whether the loss is compiled"""
    steps: int = 1000
    checkpoint_every: int = 10

    def __post_init__(self) -> None:
        at_least(self, steps=0, latents=1, batch=1, updates=1, group=1, checkpoint_every=1)

    @property
    def learned(self) -> tuple[str, ...]:
        return descent.names(ConvVAE(self.latents))

    def init(self, seeds: Seeds) -> State:
        model = ConvVAE(self.latents)
        descent.glorot(model, seeds("parameters"))
        if self.fitted:
            episodes = Episodes(whole(self.episodes))
            frames = np.concatenate([episodes.frames(i) for i in range(min(self.group, len(episodes)))])
            fit_initial_weights(model, torch.from_numpy(frames[:: -(-len(frames) // FITTED)]))
        return {**descent.first(model), **descent.earlier(self.start)}

    def model(self, state: State) -> ConvVAE:
        """V with the parameters of a state."""
        return descent.loaded(ConvVAE(self.latents), state)

    def open(self, state: State) -> Resources:
        model = self.model(state)
        frames = Shuffled(Episodes(whole(self.episodes)), self.group, self.batch * self.updates)
        device = state["updates"].device
        dtype = product_type(device) if self.bfloat16 else torch.float32
        optimizer = descent.optimizer(model, state, self.learning_rate)
        return Resources(model, optimizer, frames, compiled(losses) if self.compile else losses, dtype)

    def step(self, state: State, live: Resources, seeds: Seeds) -> Metrics:
        sums, device = torch.zeros(3), state["updates"].device
        frames = live.frames.take(seeds.step - 1, Seeds(seeds.root, seeds.stage)("order"))
        for k, batch in enumerate(frames.split(self.batch)):
            noise = descent.noise(seeds(f"noise {k}"), self.batch, self.latents, device=device)
            parts = live.losses(live.model, batch.to(device), noise, self.tolerance, live.dtype)
            live.optimizer.zero_grad()
            parts[0].backward()
            live.optimizer.step()
            sums += torch.stack(parts).detach().cpu()
        state["updates"] = state["updates"] + self.updates
        loss, error, divergence = (sums / self.updates).tolist()
        return {"loss": loss, "reconstruction": error, "kl": divergence}

    def policy(self, state: State) -> NoReturn:
        raise Usage("this stage holds V, which does not act; give a run with a controller")
