"""PGPE: policy gradients with parameter-based exploration (Sehnke et al. 2010), symmetric sampling, centred ranks, Adam or ClipUp.

"S" is Sehnke et al. 2010, "Parameter-exploring policy gradients"; "T" is Toklu et al. 2020, "ClipUp" (arXiv 2008.02387).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.errors import Usage
from sensorium.core.seeding import normal
from sensorium.es.ranking import centred_ranks
from sensorium.es.strategy import State


@dataclass(frozen=True)
class PGPE:
    """Gaussian search distribution with one standard deviation per parameter; maximises."""

    population: int = 256
    """candidates per generation, in symmetric pairs"""
    sigma: float = 0.1
    """initial standard deviation of every parameter"""
    learning_rate: float = 0.05
    """learning rate of the mean: Adam's, or ClipUp's as a share of `max_speed`"""
    sigma_learning_rate: float = 0.1
    """learning rate of the standard deviations"""
    max_change: float = 0.2
    """largest relative change of a standard deviation per generation (T section 3.3)"""
    optimizer: Literal["adam", "clipup"] = "adam"
    max_speed: float = 0.3
    """largest norm of ClipUp's step of the mean"""
    momentum: float = 0.9
    """ClipUp's momentum, or Adam's beta1"""
    decay: float = 1.0
    """factor on both learning rates after each generation"""
    sigma_decay: float = 1.0
    """factor on the standard deviations after each generation"""

    def __post_init__(self) -> None:
        if self.population < 2 or self.population % 2:
            raise Usage(f"population cannot be {self.population}; PGPE samples pairs, so an even number")

    def init(self, mean: Float[Tensor, "n"]) -> State:
        zeros = torch.zeros_like(mean)
        return {
            "mean": mean.clone(), "sigma": torch.full_like(mean, self.sigma), "first": zeros.clone(), "second": zeros.clone(),
            "generation": torch.zeros((), dtype=torch.int64),
        }  # fmt: skip

    def ask(self, state: State, seed: int) -> Float[Tensor, "population n"]:
        """Pairs mean + e, mean - e with e ~ N(0, sigma^2) (S section 3.2): rows 2k and 2k + 1."""
        mean = state["mean"]
        pairs = torch.arange(self.population // 2, dtype=torch.int64, device=mean.device)
        noise = normal(seed ^ (pairs << 32), 0, len(mean)) * state["sigma"]
        return torch.stack([mean + noise, mean - noise], 1).view(self.population, -1)

    def tell(self, state: State, candidates: Float[Tensor, "population n"], fitness: Float[Tensor, "population"]) -> None:
        """Update the mean and the standard deviations in place, towards higher fitness."""
        plus, minus = centred_ranks(fitness).view(-1, 2).unbind(1)
        noise = (candidates[0::2] - candidates[1::2]) / 2
        sigma, rate = state["sigma"], self.decay ** int(state["generation"])
        state["generation"] = state["generation"] + 1
        # S eq. 14: along the differences within the pairs
        self.move(state, ((plus - minus) / 2) @ noise / len(noise), rate)
        # S eq. 15: sigma grows where distant pairs have above-average fitness
        reward = (plus + minus) / 2
        spread = (reward - reward.mean()) @ ((noise**2 - sigma**2) / sigma) / len(noise)
        change = (self.sigma_learning_rate * rate * spread).clamp(-self.max_change * sigma, self.max_change * sigma)
        state["sigma"] = self.sigma_decay * (sigma + change)

    def move(self, state: State, gradient: Float[Tensor, "n"], rate: float) -> None:
        """One ascent step of the mean."""
        if self.optimizer == "clipup":
            # T algorithm 1: normalised gradient, velocity clipped to max_speed
            step = self.learning_rate * rate * self.max_speed * gradient / gradient.norm().clamp(min=1e-12)
            velocity = self.momentum * state["first"] + step
            state["first"] = velocity * (self.max_speed / velocity.norm().clamp(min=1e-12)).clamp(max=1.0)
            state["mean"] = state["mean"] + state["first"]
            return
        # Kingma & Ba 2015, algorithm 1
        t = int(state["generation"])
        state["first"] = self.momentum * state["first"] + (1 - self.momentum) * gradient
        state["second"] = 0.999 * state["second"] + 0.001 * gradient**2
        unbiased = state["second"] / (1 - 0.999**t)
        state["mean"] = state["mean"] + self.learning_rate * rate * state["first"] / (1 - self.momentum**t) / (unbiased.sqrt() + 1e-8)
