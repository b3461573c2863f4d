"""Parallel rollouts in torch worlds, stored in the stage's state: episodes continue from window to window and restart when they end."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.core.env import TorchWorld, closing, select
from sensorium.core.errors import Usage
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import Metrics, State, at_least
from sensorium.nets import whitening
from sensorium.nets.agent import Agent

Parts = tuple[Tensor, ...]
"""the tensors of a world's state or an agent's memory, rows first"""


def begin(world: TorchWorld, seeds: Int[Tensor, "rows"], max_lengths: Int[Tensor, "rows"], **memories: Parts) -> State:
    """The state of new episodes of at most `max_lengths` steps, with zero memories of the given shapes."""
    # initial ages are spread over the horizon, so that every batch has all phases of an episode
    state: State = {"ages": torch.arange(len(seeds), device=seeds.device) * world.spec.horizon // len(seeds) % max_lengths}
    keep(state, "world", tuple(part.clone() for part in world.initial(seeds)))
    for name, memory in memories.items():
        keep(state, name, tuple(torch.zeros(part.shape, device=part.device) for part in memory))
    return state


def keep(state: State, name: str, parts: Parts) -> None:
    """Store the parts in a state as name/0, name/1, ..."""
    state.update({f"{name}/{i}": part.contiguous() for i, part in enumerate(parts)})


def group(state: State, name: str) -> Parts:
    """The tensors name/0, name/1, ... of a state; the inverse of `keep`."""
    return tuple(state[f"{name}/{i}"] for i in range(sum(key.startswith(f"{name}/") for key in state)))


@torch.no_grad()
def store(
    state: State, world: TorchWorld, seeds: Int[Tensor, "rows"], steps: int, ended: Bool[Tensor, "rows"],
    max_lengths: Int[Tensor, "rows"], worlds: Parts, **memories: Parts,
) -> None:  # fmt: skip
    """Store the state after a window of `steps` steps. Rows that ended or reached `max_lengths` restart from `seeds` with zero memory."""
    ages = state["ages"] + steps
    ended = ended | (ages >= max_lengths)
    state["ages"] = torch.where(ended, 0, ages)
    keep(state, "world", select(ended, world.initial(seeds), worlds))
    for name, memory in memories.items():
        keep(state, name, select(ended, tuple(torch.zeros_like(part) for part in memory), memory))


@dataclass(frozen=True)
class ParallelRollouts(ABC):
    """Base of stages that learn by gradient in parallel rollouts, with one whitened update (`nets/whitening.py`) after each window.

    The agent is the moving average of the weights, which scores far higher than the weights themselves.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        return ("agent",)

    world: TorchWorld
    agent: Agent
    init_scale: float = 1.0
    """scale of random initial parameters, sd init_scale / sqrt(inputs)"""
    forget_bias: float = 2.0
    """initial bias of the forget gates; identifying the connected sensor needs a long memory"""
    rows: int = 512
    """parallel episodes"""
    window: int = 40
    """steps of back-propagation through time"""
    windows: int = 25
    """windows, each with one update, per step of the stage"""
    early_reset_steps: int = 250
    """episode length at which half of the rows restart, for more data from early steps; 0: all restart at the horizon"""
    warmup_windows: int = 0
    """initial windows without updates of the agent, only of the gradients' spread; at least those of the first step"""
    learning_rate: float = 3.5e-3
    """initial learning rate of the agent, in whitened space"""
    half_life: int = 2500
    """updates in which the learning rate halves"""
    quantile: float = 0.9
    """quantile of the norms of the rows' gradients to which longer ones are clipped"""
    measure_every: int = 5
    """windows between two updates of the gradients' spread"""
    ema_decay: float = 0.998
    """decay per update of the moving average of the parameters"""
    steps: int = 200
    checkpoint_every: int = 10
    evaluate_every: int = 4
    """steps between two evaluations of the agent"""
    evaluation_episodes: int = 256
    """episodes per evaluation"""
    compile: bool = True
    """whether agent and world are compiled as one step"""

    def __post_init__(self) -> None:
        at_least(
            self, steps=0, rows=1, window=1, windows=1, early_reset_steps=0, warmup_windows=0, half_life=1, measure_every=1, checkpoint_every=1, evaluate_every=1,
            evaluation_episodes=1,
        )  # fmt: skip
        if not 0 < self.quantile <= 1:
            raise Usage(f"quantile cannot be {self.quantile}; above 0, at most 1")

    @abstractmethod
    def update(self, state: State, live: Any, fresh: Int[Tensor, "rows"]) -> tuple[Float[Tensor, "rows n"], Metrics]:
        """Play one window; returns the gradient of each row's loss and metrics. Rows that ended restart from the seeds `fresh`."""

    def step(self, state: State, live: Any, seeds: Seeds) -> Metrics:
        total: Metrics = {}
        whiten = whitening.whitener(state)
        for k in range(self.windows):
            number = (seeds.step - 1) * self.windows + k
            gradients, found = self.update(state, live, seeds.rows(f"worlds {k}", self.rows, state["agent"].device))
            gradients = whitening.limited(gradients, self.quantile)
            found["gradient"] = float(gradients.mean(0).norm())
            if number % self.measure_every == 0:
                whitening.measure(state, gradients)
            if number >= max(self.warmup_windows, self.windows):
                whitening.update_vector(state, gradients, whiten, self.learning_rate, self.half_life, self.ema_decay)
            total = {name: total.get(name, 0.0) + value / self.windows for name, value in found.items()}
        if seeds.step % self.evaluate_every == 0 or seeds.step == 1:
            rows = row_seeds(seeds("evaluation"), self.evaluation_episodes, state["agent"].device)
            with closing(self.world) as env:
                score = play(env, self.policy(state), rows, compile=False).returns.mean()
            total = {"score/agent": float(score), **total}
        return total

    def max_lengths(self, device: torch.device) -> Int[Tensor, "rows"]:
        """Maximum episode length of each row."""
        rows, horizon = torch.arange(self.rows, device=device), self.world.spec.horizon
        return torch.where(2 * rows < self.rows, min(self.early_reset_steps or horizon, horizon), horizon)

    def policies(self, state: State) -> tuple[Float[Tensor, "rows n"], Any]:
        """A copy of the parameters for each row, for per-row gradients, and the policy of these copies."""
        weights = state["weights"].detach().expand(self.rows, -1).clone().requires_grad_()
        return weights, self.agent.policy(weights)

    def policy(self, state: State) -> Policy:
        return self.agent.policy(state["agent"].detach())
