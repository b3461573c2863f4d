"""DDPG (Lillicrap et al. 2016) on codes with two critics and a noise schedule, as in DrQ-v2 and URLB."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.seeding import Seeds
from sensorium.core.stage import State
from sensorium.nets import descent
from sensorium.nets.distributions import truncated
from sensorium.nets.heads import Actor, Critic
from sensorium.nets.mlp import orthogonal
from sensorium.rl.targets import Batch, Noise, ema_update, linear_schedule


@dataclass(frozen=True)
class DDPG:
    """Settings of DDPG."""

    learning_rate: float = 1e-4
    """Adam's learning rate of all parts"""
    discount: float = 0.99
    returns: int = 3
    """n of the n-step returns"""
    tau: float = 0.01
    """update rate of the target critics"""
    noise: float = 0.2
    """final standard deviation of the action noise"""
    noise_first: float = 0.2
    """initial standard deviation"""
    noise_steps: int = 1
    """agent steps from the initial to the final standard deviation"""
    clip: float = 0.3
    """bound on the action noise in updates"""
    features: int = 50
    """features of the trunk; 0: no trunk"""
    hidden: int = 1024
    """units per hidden layer"""

    def sd(self, step: int) -> float:
        """Standard deviation of the noise after `step` agent steps."""
        return linear_schedule(self.noise_first, self.noise, self.noise_steps, step)

    @property
    def sizes(self) -> tuple[str, int, int]:
        """The settings that have to be equal for networks to be exchanged."""
        return type(self).__name__, self.features, self.hidden

    def actor(self, width: int, actions: int, states: bool) -> Actor:
        return Actor(width, actions, self.features, self.hidden, True, states)

    def critic(self, width: int, actions: int, states: bool) -> Critic:
        return Critic(width, actions, self.features, self.hidden, True, states)

    def init(self, width: int, actions: int, states: bool, seeds: Seeds) -> State:
        """The initial state of actor, critics and target critics."""
        actor, critic = self.actor(width, actions, states), self.critic(width, actions, states)
        orthogonal(actor, seeds("actor"))
        orthogonal(critic, seeds("critic"))
        target = descent.under("critic-target", descent.parameters(critic))
        return {**descent.under("actor", descent.first(actor)), **descent.under("critic", descent.first(critic)), **target}

    def open(self, state: State, width: int, actions: int, states: bool) -> "DDPGLearner":
        return DDPGLearner(self, state, width, actions, states)

    def act(self, actor: Actor, code: Float[Tensor, "rows n"], noise: Float[Tensor, "rows a"] | None, step: int) -> Float[Tensor, "rows a"]:
        """Actions tanh(actor), with noise added where it is given."""
        mean = torch.tanh(actor(code))
        return mean if noise is None else truncated(mean, self.sd(step), noise)


class DDPGLearner:
    """DDPG on a state, which is updated in place."""

    def __init__(self, settings: DDPG, state: State, width: int, actions: int, states: bool):
        self.settings = settings
        parts = {name: descent.part(name, state) for name in ("actor", "critic")}
        self.actor = descent.loaded(settings.actor(width, actions, states), parts["actor"])
        self.critic = descent.loaded(settings.critic(width, actions, states), parts["critic"])
        self.target = descent.loaded(settings.critic(width, actions, states), descent.part("critic-target", state)).requires_grad_(False)
        self.optimizers = {
            "actor": descent.optimizer(self.actor, parts["actor"], settings.learning_rate),
            "critic": descent.optimizer(self.critic, parts["critic"], settings.learning_rate),
        }
        self.counts = {name: parts[name]["updates"] for name in parts}

    def update(self, batch: Batch, number: int, noise: Noise, step: int, also: tuple[torch.optim.Optimizer, ...] = ()) -> dict[str, Tensor]:
        """Update `number`; `also`: optimizers of the encoder that take the critic's gradient. Returns the metrics."""
        sd = self.settings.sd(step)
        # critics: regression to reward + discounted target value
        with torch.no_grad():
            action = truncated(torch.tanh(self.actor(batch.next_code)), sd, noise("next"), self.settings.clip)
            target = batch.reward + batch.discount * self.target(batch.next_code, action).amin(0)
        values = self.critic(batch.code, batch.action)
        loss = ((values - target) ** 2).mean(1).sum()
        descent.descend(loss, self.optimizers["critic"], *also)
        # actor: maximise the smaller Q-value
        code = batch.code.detach()
        self.critic.requires_grad_(False)
        action = truncated(torch.tanh(self.actor(code)), sd, noise("action"), self.settings.clip)
        descent.descend(-self.critic(code, action).amin(0).mean(), self.optimizers["actor"])
        self.critic.requires_grad_(True)
        ema_update(self.target.parameters(), self.critic.parameters(), self.settings.tau)
        for count in self.counts.values():
            count.add_(1)
        return {"loss/critic": loss.detach(), "q/mean": values.detach().mean()}
