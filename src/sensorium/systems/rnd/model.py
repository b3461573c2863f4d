"""The predictor network, the fixed random network, and their settings."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.core.errors import Usage
from sensorium.core.machine import products
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics, State
from sensorium.nets import descent
from sensorium.nets.encoders import Encoder, Plain
from sensorium.nets.mlp import mlp, orthogonal
from sensorium.nets.moments import running_moments
from sensorium.systems.rnd import equations as eq


class Network(nn.Module):
    """An encoder with a head on its codes. Predictor and random network both have this architecture."""

    def __init__(self, encoder: Encoder | Plain, hidden: int, outputs: int):
        super().__init__()
        self.encoder, self.head = encoder, mlp(encoder.width, hidden, hidden, outputs)

    def forward(self, obs: Tensor) -> Float[Tensor, "rows outputs"]:
        return self.head(self.encoder(obs)).float()


@dataclass(frozen=True)
class RND:
    """Settings of random network distillation. Predictor and agent share one encoder; the critic's loss trains it too."""

    outputs: int = 512
    """outputs of either network"""
    hidden: int = 1024
    """units of each hidden layer of either network"""
    learning_rate: float = 1e-4
    channels: int = 32
    """channels of each convolution"""

    explores = True
    consecutive = False
    by_critic = True
    parts = ("representation", "random")

    @property
    def architecture(self) -> tuple[object, ...]:
        return self.outputs, self.hidden, self.channels

    def require(self, batch: int) -> None:
        """Errors: core.errors.Usage for a batch of one sample, which has no variance."""
        if batch < 2:
            raise Usage(f"batch cannot be {batch}; at least 2")

    def encoder(self, observation: tuple[int, ...]) -> Encoder | Plain:
        return Encoder(self.channels, 0.5, observation) if len(observation) == 3 else Plain(observation[0])

    def network(self, observation: tuple[int, ...]) -> Network:
        return Network(self.encoder(observation), self.hidden, self.outputs)

    def carried(self, observation: tuple[int, ...]) -> tuple[str, ...]:
        models = (f"{part}/{name}" for part in self.parts for name in descent.names(self.network(observation)))
        return (*models, "error/mean", "error/variance", "error/count")

    def init(self, observation: tuple[int, ...], seeds: Seeds) -> State:
        predictor, random = self.network(observation), self.network(observation)
        orthogonal(predictor, seeds("representation"))
        orthogonal(random, seeds("random"))
        return {
            **descent.under("representation", descent.first(predictor)),
            **descent.under("random", descent.parameters(random)),
            **descent.under("by-critic", descent.moments(predictor.encoder)),
            "error/mean": torch.zeros(()), "error/variance": torch.zeros(()), "error/count": torch.tensor(1e-4),
        }  # fmt: skip

    def open(self, state: State, observation: tuple[int, ...], represent: bool, dtype: torch.dtype) -> "Distillation":
        return Distillation(self, state, observation, represent, dtype)


class OnTask(RND):
    """Settings for learning a task: the predictor is not trained, and there is no intrinsic reward."""

    explores = False


class Distillation:
    """Predictor, random network and optimisers, opened on a state."""

    def __init__(self, settings: RND, state: State, observation: tuple[int, ...], represent: bool, dtype: torch.dtype):
        self.settings, self.state, self.dtype = settings, state, dtype
        part = descent.part("representation", state)
        self.predictor = descent.loaded(settings.network(observation), part)
        self.random = descent.loaded(settings.network(observation), descent.part("random", state)).requires_grad_(False)
        self.encoder = self.predictor.encoder
        self.optimizer = descent.optimizer(self.predictor, part, settings.learning_rate)
        trained = represent and any(True for _ in self.encoder.parameters())
        self.by_critic = (descent.optimizer(self.encoder, descent.part("by-critic", state), settings.learning_rate),) if trained else ()

    def begin(self) -> None:
        """Nothing to reset at the start of an episode."""

    def summary(self, means: Metrics) -> Metrics:
        return {}

    def error(self, obs: Tensor) -> Float[Tensor, "rows"]:
        """Prediction error of each observation (section 2.2)."""
        with products(obs.device, self.dtype):
            white = eq.whitened(obs.float())
            return eq.prediction_error(self.predictor(white), self.random(white).detach())

    def learn(self, obs: Tensor, following: Tensor, number: int) -> dict[str, Tensor]:
        """One optimiser step of the predictor, including the encoder that it shares with the agent."""
        if not self.settings.explores:
            return {}
        loss = self.error(obs).mean()
        descent.descend(loss, self.optimizer)
        self.state["representation/updates"] += 1
        return {"loss/representation": loss.detach()}

    @torch.no_grad()
    def intrinsic_reward(self, obs: Tensor, next_code: Float[Tensor, "rows n"], seeds: Seeds) -> Float[Tensor, "rows"]:
        """Prediction errors of the observations, normalised by the running variance, which is updated first (section 2.4)."""
        state, error = self.state, self.error(obs)
        moments = running_moments(state["error/mean"], state["error/variance"], state["error/count"], error)
        state["error/mean"], state["error/variance"], state["error/count"] = moments
        return eq.intrinsic_reward(error, state["error/variance"])
