"""ShortHorizonActorCritic: gradient ascent on the return through a differentiable world."""

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
    """Value of an observation with its channels in fixed order, scaled to a mean reward per step. SiLU layers make its gradient smooth."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.body = mlp(channels, hidden, hidden, 1, between=nn.SiLU)

    def forward(self, obs: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch"]:
        return self.body(obs.sign() * obs.abs().log1p())[..., 0]


@dataclass
class Resources:
    """Open resources: critic and optimizer on the state's tensors, the (compiled) step of agent and world, and maximum episode lengths."""

    critic: Critic
    optimizer: torch.optim.Optimizer
    tick: Any
    max_lengths: Int[Tensor, "rows"]


@dataclass
class Window:
    """Results of a window: observations before and after each step, rewards, ended rows, gradients of each row's negative return, and the
    final state of world and memory."""

    obs: Float[Tensor, "points rows channels"]
    rewards: Float[Tensor, "steps rows"]
    ends: Bool[Tensor, "points rows"]
    gradients: Float[Tensor, "rows n"]
    world: parallel_rollouts.Parts
    memory: parallel_rollouts.Parts


@dataclass(frozen=True)
class ShortHorizonActorCritic(parallel_rollouts.ParallelRollouts):
    """Short-horizon actor-critic (Xu et al. 2022, "Accelerated Policy Learning with Parallel Differentiable Simulation").

    The agent acts in a batch of worlds for a window of steps. The window's rewards plus the critic's value of the last observation are
    differentiated through the world's physics and the agent's memory, separately for each row. A few rows' gradients are a thousand times
    longer than the others and are clipped; the rows' covariance preconditions the step. The critic takes observations with their channels
    in fixed order and learns by TD(lambda); it is used only in training.
    """

    start: Folder = Folder("../2-clone")
    """an earlier agent whose parameters to start from; empty: random parameters"""
    window: int = 20
    """steps of back-propagation through time; over many more steps gradients are chaotic, and clipping biases them"""
    windows: int = 50
    warmup_windows: int = 1000
    """initial windows without updates of the agent, only of the critic and the gradients' spread; at least those of the first step"""
    half_life: int = 5000
    ema_decay: float = 0.999
    steps: int = 300
    discount: float = 0.995
    """discount factor per step"""
    gae_lambda: float = 0.95
    """lambda of the critic's TD(lambda) targets"""
    hidden: int = 64
    """units of the critic's two hidden layers"""
    parts: int = 4
    """updates of the critic per window, each on a part of the rows"""
    critic_learning_rate: float = 2e-3
    """Adam's learning rate of the critic"""

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
        # one step, to get the shapes of the memory
        policy, obs = self.agent.policy(vector), self.world.observe(self.world.initial(start))
        memory = policy.act(obs, policy.begin(start), 0)[1]
        worlds = parallel_rollouts.begin(self.world, start, self.max_lengths(start.device), memory=memory)
        return {**whitening.init_vector(vector), **descent.under("critic", descent.first(critic)), **worlds}

    def open(self, state: State) -> Resources:
        device, part = state["agent"].device, descent.part("critic", state)
        critic = descent.loaded(self.critic().to(device), part)
        optimizer = descent.optimizer(critic, part, self.critic_learning_rate)
        return Resources(
            critic, optimizer, compiled(differentiable_tick) if self.compile else differentiable_tick, self.max_lengths(device)
        )

    def update(self, state: State, live: Resources, fresh: Int[Tensor, "rows"]) -> tuple[Float[Tensor, "rows n"], Metrics]:
        """Play one window and update the critic; returns the agent's gradients per row and metrics."""
        window = self.play_window(state, live)
        metrics = {
            "reward": float(window.rewards.sum() / (~window.ends[:-1]).sum()),
            "loss/critic": self.update_critic(state, live, window),
        }
        parallel_rollouts.store(
            state, self.world, fresh, self.window, window.ends[-1], live.max_lengths, window.world, memory=window.memory
        )
        return window.gradients, metrics

    def play_window(self, state: State, live: Resources) -> Window:
        """Act for one window and differentiate its return."""
        weights, policy = self.policies(state)
        world, memory = parallel_rollouts.group(state, "world"), parallel_rollouts.group(state, "memory")
        obs = self.world.observe(world)
        ended, earned = torch.zeros_like(state["ages"], dtype=torch.bool), torch.zeros_like(obs[:, 0])
        observations, rewards, ends = [obs], [], [ended]
        for t in range(self.window):
            weight = earned.new_full((), self.discount**t)
            world, obs, memory, ended, earned, reward = live.tick(self.world, policy, world, obs, memory, ended, earned, weight)
            observations.append(obs)
            rewards.append(reward.detach())
            ends.append(ended)
        value = torch.where(ended, 0.0, live.critic(obs))
        objective = (1 - self.discount) * earned + self.discount**self.window * value
        (gradients,) = torch.autograd.grad(-objective.sum(), weights)
        return Window(torch.stack(observations).detach(), torch.stack(rewards), torch.stack(ends), gradients, world, memory)

    def update_critic(self, state: State, live: Resources, window: Window) -> float:
        """Update the critic by TD(lambda) on a window; returns its mean squared error."""
        obs, rewards, ends = window.obs, window.rewards, window.ends
        with torch.no_grad():
            targets = lambda_returns((1 - self.discount) * rewards, live.critic(obs[1:]), ends[1:], self.discount, self.gae_lambda)
        losses = []
        for k in range(self.parts):
            # every `parts`-th row
            alive = ~ends[:-1, k :: self.parts]
            error = (live.critic(obs[:-1, k :: self.parts]) - targets[:, k :: self.parts]) ** 2
            losses.append((error * alive).sum() / alive.sum())
            descent.descend(losses[-1], live.optimizer)
        state["critic/updates"] += self.parts
        return float(torch.stack(losses).detach().mean())


def differentiable_tick(
    world: TorchWorld, policy: Policy, state: Any, obs: Tensor, memory: Any, ended: Tensor, earned: Tensor, weight: Tensor
) -> tuple[Any, Tensor, Any, Tensor, Tensor, Tensor]:
    """One differentiable step of agent and world; `earned` accumulates weight x reward over rows that have not ended."""
    action, memory = policy.act(obs, memory, 0)
    state, step = world.transition(state, action, 0)
    reward = torch.where(ended, 0.0, step.reward)
    return state, step.obs, memory, ended | step.terminated, earned + weight * reward, reward
