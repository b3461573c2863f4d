"""DDPG (Lillicrap et al. 2016) with two critics and scheduled noise on codes, as DrQ-v2 and URLB use it."""

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
from sensorium.rl.targets import Batch, Noise, follow, linear_schedule


@dataclass(frozen=True)
class DDPG:
    """What an actor and its critics are, and how they learn."""

    learning_rate: float = 1e-4
    """Adam's, of everything"""
    discount: float = 0.99
    returns: int = 3
    """rewards that are added up before the critic's own estimate takes over"""
    tau: float = 0.01
    """share by which the critics' target follows"""
    noise: float = 0.2
    """standard deviation of what is added to actions, at last"""
    noise_first: float = 0.2
    """at first"""
    noise_steps: int = 1
    """agent steps from the first to the last"""
    clip: float = 0.3
    """largest disturbance of an action in an update"""
    features: int = 50
    """numbers to which a code is reduced; 0: layers of `hidden` units on the code as it is"""
    hidden: int = 1024
    """units of a layer"""

    def sd(self, step: int) -> float:
        """Of the noise after so many agent steps."""
        return linear_schedule(self.noise_first, self.noise, self.noise_steps, step)

    def actor(self, width: int, actions: int, states: bool) -> Actor:
        return Actor(width, actions, self.features, self.hidden, True, states)

    def critic(self, width: int, actions: int, states: bool) -> Critic:
        return Critic(width, actions, self.features, self.hidden, True, states)

    def init(self, width: int, actions: int, states: bool, seeds: Seeds) -> State:
        """Actor, critic and its target, before their first update."""
        actor, critic = self.actor(width, actions, states), self.critic(width, actions, states)
        orthogonal(actor, seeds("actor"))
        orthogonal(critic, seeds("critic"))
        target = descent.under("critic-target", descent.parameters(critic))
        return {**descent.under("actor", descent.first(actor)), **descent.under("critic", descent.first(critic)), **target}

    def open(self, state: State, width: int, actions: int, states: bool) -> "DDPGLearner":
        return DDPGLearner(self, state, width, actions, states)

    def act(self, actor: Actor, code: Float[Tensor, "rows n"], noise: Float[Tensor, "rows a"] | None, step: int) -> Float[Tensor, "rows a"]:
        """Actions: disturbed where there is noise."""
        mean = torch.tanh(actor(code))
        return mean if noise is None else truncated(mean, self.sd(step), noise)


class DDPGLearner:
    """Actor and critics at work on a state, which they change in place."""

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
        """Update `number`; `also` are the optimizers of what made the codes, where the critic's gradient is to reach it."""
        sd = self.settings.sd(step)
        # critics: towards reward and the value of what follows
        with torch.no_grad():
            action = truncated(torch.tanh(self.actor(batch.next_code)), sd, noise("next"), self.settings.clip)
            goal = batch.reward + batch.discount * self.target(batch.next_code, action).amin(0)
        worth = self.critic(batch.code, batch.action)
        loss = ((worth - goal) ** 2).mean(1).sum()
        descent.descend(loss, self.optimizers["critic"], *also)
        # actor: towards what the critics think best
        code = batch.code.detach()
        self.critic.requires_grad_(False)
        action = truncated(torch.tanh(self.actor(code)), sd, noise("action"), self.settings.clip)
        descent.descend(-self.critic(code, action).amin(0).mean(), self.optimizers["actor"])
        self.critic.requires_grad_(True)
        follow(self.target.parameters(), self.critic.parameters(), self.settings.tau)
        for count in self.counts.values():
            count.add_(1)
        return {"loss/critic": loss.detach(), "q/mean": worth.detach().mean()}
