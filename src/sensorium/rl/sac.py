"""Soft actor-critic (Haarnoja et al. 2018) on codes, as in Proto-RL and DrQ: two critics on one trunk, a learned temperature."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.core.seeding import Seeds
from sensorium.core.stage import State
from sensorium.nets import descent
from sensorium.nets.distributions import bounded_log_sd, squashed
from sensorium.nets.heads import Actor, Critic
from sensorium.nets.mlp import orthogonal
from sensorium.rl.targets import Batch, Noise, ema_update

LOG_SD = (-10.0, 2.0)


class Temperature(nn.Module):
    """The entropy temperature alpha, stored as its logarithm."""

    def __init__(self, alpha: float):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(alpha)))


@dataclass(frozen=True)
class SAC:
    """Settings of soft actor-critic."""

    learning_rate: float = 1e-4
    """Adam's learning rate of all parts"""
    discount: float = 0.99
    returns: int = 1
    """n of the n-step returns"""
    tau: float = 0.01
    """update rate of the target critics"""
    alpha: float = 0.1
    """initial temperature"""
    slow: int = 2
    """critic updates per update of actor, temperature and target"""
    features: int = 50
    """features of the trunk; 0: no trunk (Haarnoja et al. 2018)"""
    hidden: int = 1024
    """units per hidden layer"""
    bounded: bool = False
    """whether a tanh bounds the features"""

    @property
    def sizes(self) -> tuple[str, int, int]:
        """The settings that have to be equal for networks to be exchanged."""
        return type(self).__name__, self.features, self.hidden

    def actor(self, width: int, actions: int, states: bool) -> Actor:
        return Actor(width, 2 * actions, self.features, self.hidden, self.bounded, states)

    def critic(self, width: int, actions: int, states: bool) -> Critic:
        return Critic(width, actions, self.features, self.hidden, self.bounded, states)

    def init(self, width: int, actions: int, states: bool, seeds: Seeds) -> State:
        """The initial state of actor, critics, target critics and temperature."""
        actor, critic = self.actor(width, actions, states), self.critic(width, actions, states)
        orthogonal(actor, seeds("actor"))
        orthogonal(critic, seeds("critic"))
        parts = {"actor": descent.first(actor), "critic": descent.first(critic), "alpha": descent.first(Temperature(self.alpha))}
        state = {key: tensor for name, inner in parts.items() for key, tensor in descent.under(name, inner).items()}
        return {**state, **descent.under("critic-target", descent.parameters(critic))}

    def open(self, state: State, width: int, actions: int, states: bool) -> "SACLearner":
        return SACLearner(self, state, width, actions, states)

    def act(self, actor: Actor, code: Float[Tensor, "rows n"], noise: Float[Tensor, "rows a"] | None, step: int) -> Float[Tensor, "rows a"]:
        """Actions: sampled with the given noise, else tanh of the mean."""
        mean, raw = actor(code).chunk(2, 1)
        return torch.tanh(mean) if noise is None else squashed(mean, bounded_log_sd(raw, *LOG_SD).exp(), noise)[0]


class SACLearner:
    """Soft actor-critic on a state, which is updated in place."""

    def __init__(self, settings: SAC, state: State, width: int, actions: int, states: bool):
        self.settings, self.target_entropy = settings, -float(actions)
        kinds = {
            "actor": settings.actor(width, actions, states),
            "critic": settings.critic(width, actions, states),
            "alpha": Temperature(1.0),
        }
        parts = {name: descent.part(name, state) for name in kinds}
        loaded = {name: descent.loaded(module, parts[name]) for name, module in kinds.items()}
        self.actor, self.critic, self.temperature = loaded["actor"], loaded["critic"], loaded["alpha"]
        self.target = descent.loaded(settings.critic(width, actions, states), descent.part("critic-target", state)).requires_grad_(False)
        self.optimizers = {name: descent.optimizer(loaded[name], parts[name], settings.learning_rate) for name in kinds}
        self.counts = {name: parts[name]["updates"] for name in kinds}

    def sample(self, code: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions and their log densities."""
        mean, raw = self.actor(code).chunk(2, 1)
        return squashed(mean, bounded_log_sd(raw, *LOG_SD).exp(), noise)

    def update(self, batch: Batch, number: int, noise: Noise, step: int, also: tuple[torch.optim.Optimizer, ...] = ()) -> dict[str, Tensor]:
        """Update `number`; `also`: optimizers of the encoder that take the critic's gradient. Returns the metrics."""
        alpha = self.temperature.log.exp().detach()  # type: ignore[operator]
        # critics: regression to reward + discounted soft target value
        with torch.no_grad():
            action, log_density = self.sample(batch.next_code, noise("next"))
            value = self.target(batch.next_code, action).amin(0) - alpha * log_density
            target = batch.reward + batch.discount * value
        values = self.critic(batch.code, batch.action)
        loss = ((values - target) ** 2).mean(1).sum()
        descent.descend(loss, self.optimizers["critic"], *also)
        self.counts["critic"].add_(1)
        metrics = {"loss/critic": loss.detach(), "q/mean": values.detach().mean()}
        if number % self.settings.slow:
            return metrics
        # actor: maximise the smaller Q-value plus entropy
        code = batch.code.detach()
        self.critic.requires_grad_(False)
        action, log_density = self.sample(code, noise("action"))
        descent.descend((alpha * log_density - self.critic(code, action).amin(0)).mean(), self.optimizers["actor"])
        self.critic.requires_grad_(True)
        # temperature: towards an entropy of -1 nat per action
        surplus = (-log_density - self.target_entropy).detach().mean()
        descent.descend(self.temperature.log.exp() * surplus, self.optimizers["alpha"])  # type: ignore[operator]
        ema_update(self.target.parameters(), self.critic.parameters(), self.settings.tau)
        self.counts["actor"].add_(1)
        self.counts["alpha"].add_(1)
        return {**metrics, "alpha": alpha, "entropy": -log_density.detach().mean()}
