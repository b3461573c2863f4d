"""Ascend: climb an agent's return along its gradient, through a world that is torch."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.core.env import TorchWorld
from sensorium.core.errors import Usage
from sensorium.core.machine import compiled
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import Folder, Metrics, State, at_least
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.toy import Toy
from sensorium.nets import descent, whitening
from sensorium.nets.mlp import mlp, orthogonal
from sensorium.rl.targets import lambda_returns
from sensorium.systems.attention_neuron.model import FeedForwardAgent, SensoryAgent
from sensorium.systems.attention_neuron.stages import flight
from sensorium.systems.attention_neuron.stages.evolve import first_vector, start_from


class Critic(nn.Module):
    """What an observation, its channels in order, is still worth, as a mean reward a step. Smooth, for its slope is what the agent climbs."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.body = mlp(channels, hidden, hidden, 1, between=nn.SiLU)

    def forward(self, obs: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch"]:
        return self.body(obs.sign() * obs.abs().log1p())[..., 0]


@dataclass
class Session:
    """What climbing has open: the critic and its optimizer, on the state's tensors, one compiled step of agent and world, and how long episodes may last."""

    critic: Critic
    optimizer: torch.optim.Optimizer
    tick: Any
    lives: Int[Tensor, "rows"]


@dataclass
class Window:
    """What a window was like: the senses before and after each step, the reward of each, who had ended, and how each row's worth falls with the agent's parameters."""

    seen: Float[Tensor, "moments rows channels"]
    rewards: Float[Tensor, "steps rows"]
    ends: Bool[Tensor, "moments rows"]
    gradients: Float[Tensor, "rows n"]
    world: flight.Parts
    memory: flight.Parts


@dataclass(frozen=True)
class Ascend:
    """Climb the return along its gradient (short-horizon actor-critic, Xu et al. 2022, "Accelerated Policy Learning with Parallel Differentiable Simulation").

    The agent acts in a batch of worlds for a window of steps. What the window earned, and what a critic thinks its last observation is still worth, are
    differentiated through the world's physics and the agent's memory, for each row by itself: a few rows' gradients are a thousand times longer than the others' and are shortened,
    and how the rows scatter tells which directions are steep (`nets/whitening.py`). The critic sees the senses in order and learns by TD(lambda); only training needs it.
    The agent is the running average of what the steps leave behind.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        return ("agent",)

    world: CartPole | Toy = CartPole()
    agent: SensoryAgent | FeedForwardAgent = SensoryAgent()
    start: Folder = Folder("../2-clone")
    """an earlier agent whose parameters to start from; empty: begin anew"""
    spread: float = 1.0
    """of random first parameters, sd spread / sqrt(inputs)"""
    remember: float = 2.0
    """first bias of the forget gates of new neurons"""
    rows: int = 512
    """episodes that are played at once"""
    window: int = 40
    """steps through which gradients flow back"""
    windows: int = 25
    """windows, each followed by one update, in a step of the stage"""
    short: int = 250
    """steps after which, at the end of a window, half of the rows begin anew, as the others do at the horizon: what matters most happens early; 0: none do"""
    discount: float = 0.995
    """of a reward that comes a step later"""
    trace: float = 0.95
    """lambda: how much the critic trusts what was really earned later on in the window, rather than itself"""
    hidden: int = 64
    """units of either layer of the critic"""
    warm: int = 150
    """windows in which only the critic learns; at least those of the first step"""
    parts: int = 4
    """updates of the critic after each window, each on a part of the rows"""
    critic_learning_rate: float = 2e-3
    """Adam's, of the critic"""
    learning_rate: float = 3.5e-3
    """of the agent, in whitened space, at the beginning"""
    half_life: int = 2500
    """updates in which it halves"""
    quantile: float = 0.9
    """of the lengths of the rows' gradients; longer ones are shortened to it"""
    measure_every: int = 5
    """windows from one measurement of the gradients' spread to the next"""
    average: float = 0.998
    """share of itself that the running average of the parameters keeps at an update"""
    steps: int = 200
    checkpoint_every: int = 10
    evaluate_every: int = 4
    """steps between two evaluations of the agent"""
    evaluation_episodes: int = 256
    """episodes of such an evaluation"""
    compile: bool = True
    """whether agent and world are compiled as one step"""

    def __post_init__(self) -> None:
        at_least(
            self, steps=0, rows=1, window=1, windows=1, short=0, hidden=1, warm=0, parts=1, half_life=1, measure_every=1, checkpoint_every=1,
            evaluate_every=1, evaluation_episodes=1,
        )  # fmt: skip
        if not 0 < self.quantile <= 1:
            raise Usage(f"quantile cannot be {self.quantile}; above 0, at most 1")

    def critic(self) -> Critic:
        return Critic(self.world.spec.observation[0], self.hidden)

    def init(self, seeds: Seeds) -> State:
        start = seeds.rows("worlds", self.rows)
        critic = self.critic()
        if self.start:
            vector = start_from(self.start, self.agent)
        else:
            vector = first_vector(self.agent, self.spread, self.remember, seeds("parameters"))
        orthogonal(critic, seeds("critic"))
        # the first step shows how large the memories are
        policy, obs = self.agent.policy(vector), self.world.observe(self.world.initial(start))
        memory = policy.act(obs, policy.begin(start), 0)[1]
        worlds = flight.begin(self.world, start, memory=memory)
        return {**whitening.taught(vector), **descent.under("critic", descent.first(critic)), **worlds}

    def open(self, state: State) -> Session:
        part = descent.part("critic", state)
        critic = descent.loaded(self.critic().to(state["agent"].device), part)
        optimizer = descent.optimizer(critic, part, self.critic_learning_rate)
        # blocks of rows as large as the critic's parts, so that each part has both kinds
        early = torch.arange(self.rows, device=state["agent"].device) // self.parts % 2 == 0
        horizon = self.world.spec.horizon
        lives = torch.where(early, min(self.short or horizon, horizon), horizon)
        return Session(critic, optimizer, compiled(climbing_tick) if self.compile else climbing_tick, lives)

    def step(self, state: State, live: Session, seeds: Seeds) -> Metrics:
        total: Metrics = {}
        whiten = whitening.whitener(state)
        for k in range(self.windows):
            found = self.update(state, live, whiten, seeds.rows(f"worlds {k}", self.rows, state["agent"].device))
            total = {name: total.get(name, 0.0) + value / self.windows for name, value in found.items()}
        if seeds.step % self.evaluate_every == 0 or seeds.step == 1:
            rows = row_seeds(seeds("evaluation"), self.evaluation_episodes, state["agent"].device)
            score = play(self.world.open(), self.policy(state), rows, compile=False).returns.mean()
            total = {"score/agent": float(score), **total}
        return total

    def update(self, state: State, live: Session, whiten: Tensor, fresh: Tensor) -> Metrics:
        """One window of acting, one step up the return, some for the critic."""
        window, number = self.fly(state, live), int(state["critic/updates"]) // self.parts
        # climb
        gradients = whitening.limited(window.gradients, self.quantile)
        if number % self.measure_every == 0:
            whitening.measure(state, gradients)
        if number >= max(self.warm, self.windows):
            whitening.teach(state, gradients, whiten, self.learning_rate, self.half_life, self.average)
        metrics = {
            "reward": float(window.rewards.sum() / (~window.ends[:-1]).sum()),
            "gradient": float(gradients.mean(0).norm()),
            "loss/critic": self.judge(state, live, window),
        }
        flight.land(state, self.world, fresh, self.window, window.ends[-1], window.world, lives=live.lives, memory=window.memory)
        return metrics

    def fly(self, state: State, live: Session) -> Window:
        """Act for a window; each row has parameters of its own, all the same, so that its gradient is its own."""
        weights = state["weights"].detach().expand(self.rows, -1).clone().requires_grad_()
        policy = self.agent.policy(weights)
        world, memory = flight.group(state, "world"), flight.group(state, "memory")
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
        world, memory = (tuple(part.detach() for part in parts) for parts in (world, memory))
        return Window(torch.stack(seen).detach(), torch.stack(rewards), torch.stack(ends), gradients, world, memory)

    def judge(self, state: State, live: Session, window: Window) -> float:
        """Teach the critic what a window has shown, by TD(lambda); returns its mean squared error."""
        seen, rewards, ends = window.seen, window.rewards, window.ends
        with torch.no_grad():
            goals = lambda_returns((1 - self.discount) * rewards, live.critic(seen[1:]), ends[1:], self.discount, self.trace)
        losses = []
        for k in range(self.parts):
            # every `parts`-th row is a sample of them all
            alive = ~ends[:-1, k :: self.parts]
            error = (live.critic(seen[:-1, k :: self.parts]) - goals[:, k :: self.parts]) ** 2
            losses.append((error * alive).sum() / alive.sum())
            descent.descend(losses[-1], live.optimizer)
        state["critic/updates"] += self.parts
        return float(torch.stack(losses).detach().mean())

    def policy(self, state: State) -> Policy:
        return self.agent.policy(state["agent"].detach())


def climbing_tick(
    world: TorchWorld, policy: Policy, state: Any, obs: Tensor, memory: Any, ended: Tensor, earned: Tensor, weight: Tensor
) -> tuple[Any, Tensor, Any, Tensor, Tensor, Tensor]:
    """One step of agent and world, with its gradient; `earned` adds up what living rows get, times `weight`."""
    action, memory = policy.act(obs, memory, 0)
    state, step = world.transition(state, action, 0)
    reward = torch.where(ended, 0.0, step.reward)
    return state, step.obs, memory, ended | step.terminated, earned + weight * reward, reward
