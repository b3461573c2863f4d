"""ShortHorizonActorCritic: climb an agent's return along its gradient, through a world that is torch."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.core.env import TorchWorld
from sensorium.core.machine import compiled
from sensorium.core.policy import Policy
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, Metrics, State, at_least
from sensorium.data import parallel_rollouts
from sensorium.nets import descent, whitening
from sensorium.nets.agent import first_vector, start_from
from sensorium.nets.mlp import mlp, orthogonal
from sensorium.rl.targets import lambda_returns


class Critic(nn.Module):
    """What an observation, its channels in order, is still worth, as a mean reward a step. Smooth, for its slope is what the agent climbs."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.body = mlp(channels, hidden, hidden, 1, between=nn.SiLU)

    def forward(self, obs: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch"]:
        return self.body(obs.sign() * obs.abs().log1p())[..., 0]


@dataclass
class Resources:
    """What climbing has open: the critic and its optimizer, on the state's tensors, one compiled step of agent and world, and how long episodes may last."""

    critic: Critic
    optimizer: torch.optim.Optimizer
    tick: Any
    lives: Int[Tensor, "rows"]


@dataclass
class Window:
    """What a window was like: the senses before and after each step, the reward of each, who had ended, and how each row's worth falls with the agent's parameters."""

    seen: Float[Tensor, "points rows channels"]
    rewards: Float[Tensor, "steps rows"]
    ends: Bool[Tensor, "points rows"]
    gradients: Float[Tensor, "rows n"]
    world: parallel_rollouts.Parts
    memory: parallel_rollouts.Parts


@dataclass(frozen=True)
class ShortHorizonActorCritic(parallel_rollouts.ParallelRollouts):
    """Climb the return along its gradient (short-horizon actor-critic, Xu et al. 2022, "Accelerated Policy Learning with Parallel Differentiable Simulation").

    The agent acts in a batch of worlds for a window of steps. What the window earned, and what a critic thinks its last observation is still worth, are
    differentiated through the world's physics and the agent's memory, for each row by itself: a few rows' gradients are a thousand times longer than the others' and are shortened,
    and how the rows scatter tells which directions are steep. The critic sees the senses in order and learns by TD(lambda); only training needs it.
    """

    start: Folder = Folder("../2-clone")
    """an earlier agent whose parameters to start from; empty: begin anew"""
    window: int = 20
    """steps through which gradients flow back: through many more they are chaos, and what is left of it when long ones are shortened leads astray"""
    windows: int = 50
    warmup_windows: int = 1000
    """windows from which only the critic and the spread of the gradients are learned; at least those of the first step"""
    half_life: int = 5000
    ema_decay: float = 0.999
    steps: int = 300
    discount: float = 0.995
    """of a reward that comes a step later"""
    gae_lambda: float = 0.95
    """lambda: how much the critic trusts what was really earned later on in the window, rather than itself"""
    hidden: int = 64
    """units of either layer of the critic"""
    parts: int = 4
    """updates of the critic after each window, each on a part of the rows"""
    critic_learning_rate: float = 2e-3
    """Adam's, of the critic"""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, hidden=1, parts=1)

    def critic(self) -> Critic:
        return Critic(self.world.spec.observation[0], self.hidden)

    def init(self, seeds: Seeds) -> State:
        start = seeds.rows("worlds", self.rows)
        critic = self.critic()
        if self.start:
            vector = start_from(self.start, self.agent)
        else:
            vector = first_vector(self.agent, self.init_scale, self.forget_bias, seeds("parameters"))
        orthogonal(critic, seeds("critic"))
        # the first step shows how large the memories are
        policy, obs = self.agent.policy(vector), self.world.observe(self.world.initial(start))
        memory = policy.act(obs, policy.begin(start), 0)[1]
        worlds = parallel_rollouts.begin(self.world, start, self.lives(start.device), memory=memory)
        return {**whitening.init_vector(vector), **descent.under("critic", descent.first(critic)), **worlds}

    def open(self, state: State) -> Resources:
        device, part = state["agent"].device, descent.part("critic", state)
        critic = descent.loaded(self.critic().to(device), part)
        optimizer = descent.optimizer(critic, part, self.critic_learning_rate)
        return Resources(critic, optimizer, compiled(climbing_tick) if self.compile else climbing_tick, self.lives(device))

    def update(self, state: State, live: Resources, fresh: Int[Tensor, "rows"]) -> tuple[Float[Tensor, "rows n"], Metrics]:
        """One window of acting, and updates of the critic."""
        window = self.fly(state, live)
        metrics = {
            "reward": float(window.rewards.sum() / (~window.ends[:-1]).sum()),
            "loss/critic": self.judge(state, live, window),
        }
        parallel_rollouts.store(state, self.world, fresh, self.window, window.ends[-1], live.lives, window.world, memory=window.memory)
        return window.gradients, metrics

    def fly(self, state: State, live: Resources) -> Window:
        """Act for a window."""
        weights, policy = self.policies(state)
        world, memory = parallel_rollouts.group(state, "world"), parallel_rollouts.group(state, "memory")
        obs = self.world.observe(world)
        ended, earned = torch.zeros_like(state["ages"], dtype=torch.bool), torch.zeros_like(obs[:, 0])
        seen, rewards, ends = [obs], [], [ended]
        for t in range(self.window):
            weight = earned.new_full((), self.discount**t)
            world, obs, memory, ended, earned, reward = live.tick(self.world, policy, world, obs, memory, ended, earned, weight)
            seen.append(obs)
            rewards.append(reward.detach())
            ends.append(ended)
        left = torch.where(ended, 0.0, live.critic(obs))
        worth = (1 - self.discount) * earned + self.discount**self.window * left
        (gradients,) = torch.autograd.grad(-worth.sum(), weights)
        return Window(torch.stack(seen).detach(), torch.stack(rewards), torch.stack(ends), gradients, world, memory)

    def judge(self, state: State, live: Resources, window: Window) -> float:
        """Demonstrate the critic what a window has shown, by TD(lambda); returns its mean squared error."""
        seen, rewards, ends = window.seen, window.rewards, window.ends
        with torch.no_grad():
            goals = lambda_returns((1 - self.discount) * rewards, live.critic(seen[1:]), ends[1:], self.discount, self.gae_lambda)
        losses = []
        for k in range(self.parts):
            # every `parts`-th row is a sample of them all
            alive = ~ends[:-1, k :: self.parts]
            error = (live.critic(seen[:-1, k :: self.parts]) - goals[:, k :: self.parts]) ** 2
            losses.append((error * alive).sum() / alive.sum())
            descent.descend(losses[-1], live.optimizer)
        state["critic/updates"] += self.parts
        return float(torch.stack(losses).detach().mean())


def climbing_tick(
    world: TorchWorld, policy: Policy, state: Any, obs: Tensor, memory: Any, ended: Tensor, earned: Tensor, weight: Tensor
) -> tuple[Any, Tensor, Any, Tensor, Tensor, Tensor]:
    """One step of agent and world, with its gradient; `earned` adds up what living rows get, times `weight`."""
    action, memory = policy.act(obs, memory, 0)
    state, step = world.transition(state, action, 0)
    reward = torch.where(ended, 0.0, step.reward)
    return state, step.obs, memory, ended | step.terminated, earned + weight * reward, reward
