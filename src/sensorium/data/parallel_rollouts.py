"""Parallel rollouts: episodes in torch that go on from one window of steps to the next, and begin anew when they end. They lie in a stage's state."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.core.env import TorchWorld, select
from sensorium.core.errors import Usage
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import Metrics, State, at_least
from sensorium.nets import whitening
from sensorium.nets.agent import Agent

Parts = tuple[Tensor, ...]
"""what a world's state or an agent's memory consists of, rows first"""


def begin(world: TorchWorld, seeds: Int[Tensor, "rows"], lives: Int[Tensor, "rows"], **memories: Parts) -> State:
    """The state of episodes that begin from their seeds and may last for so many steps, with blank memories shaped as the ones that are given."""
    # ages are spread over the horizon, so that every batch holds all phases of an episode
    state: State = {"ages": torch.arange(len(seeds), device=seeds.device) * world.spec.horizon // len(seeds) % lives}
    keep(state, "world", tuple(part.clone() for part in world.initial(seeds)))
    for name, memory in memories.items():
        keep(state, name, tuple(torch.zeros(part.shape, device=part.device) for part in memory))
    return state


def keep(state: State, name: str, parts: Parts) -> None:
    """Put the parts into a state, as name/0, name/1, ..."""
    state.update({f"{name}/{i}": part.contiguous() for i, part in enumerate(parts)})


def group(state: State, name: str) -> Parts:
    """The tensors name/0, name/1, ... of a state."""
    return tuple(state[f"{name}/{i}"] for i in range(sum(key.startswith(f"{name}/") for key in state)))


@torch.no_grad()
def store(
    state: State,
    world: TorchWorld,
    seeds: Int[Tensor, "rows"],
    steps: int,
    ended: Bool[Tensor, "rows"],
    lives: Int[Tensor, "rows"],
    worlds: Parts,
    **memories: Parts,
) -> None:
    """Keep what a window of so many steps has led to; rows that have ended or are as old as their lives begin anew from their seeds, without memory."""
    ages = state["ages"] + steps
    ended = ended | (ages >= lives)
    state["ages"] = torch.where(ended, 0, ages)
    keep(state, "world", select(ended, world.initial(seeds), worlds))
    for name, memory in memories.items():
        keep(state, name, select(ended, tuple(torch.zeros_like(part) for part in memory), memory))


@dataclass(frozen=True)
class ParallelRollouts(ABC):
    """What stages have in common that learn by gradient, with whitened steps (`nets/whitening.py`), in parallel rollouts: an update after each window.

    The agent is the running average of what the steps leave behind, which plays far better than any one of them.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        return ("agent",)

    world: TorchWorld
    agent: Agent
    init_scale: float = 1.0
    """of random first parameters, sd init_scale / sqrt(inputs)"""
    forget_bias: float = 2.0
    """first bias of the forget gates: a neuron that forgets at once cannot find out which sensor it is connected to"""
    rows: int = 512
    """episodes that are played at once"""
    window: int = 40
    """steps through which gradients flow back"""
    windows: int = 25
    """windows, each followed by one update, in a step of the stage"""
    early_reset_steps: int = 250
    """steps after which, at the end of a window, half of the rows begin anew, as the others do at the horizon: what matters most happens early; 0: none do"""
    warmup_windows: int = 0
    """windows from which only the spread of the gradients is learned; at least those of the first step"""
    learning_rate: float = 3.5e-3
    """of the agent, in whitened space, at the beginning"""
    half_life: int = 2500
    """updates in which it halves"""
    quantile: float = 0.9
    """of the lengths of the rows' gradients; longer ones are shortened to it"""
    measure_every: int = 5
    """windows from one measurement of the gradients' spread to the next"""
    ema_decay: float = 0.998
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
            self, steps=0, rows=1, window=1, windows=1, early_reset_steps=0, warmup_windows=0, half_life=1, measure_every=1, checkpoint_every=1, evaluate_every=1,
            evaluation_episodes=1,
        )  # fmt: skip
        if not 0 < self.quantile <= 1:
            raise Usage(f"quantile cannot be {self.quantile}; above 0, at most 1")

    @abstractmethod
    def update(self, state: State, live: Any, fresh: Int[Tensor, "rows"]) -> tuple[Float[Tensor, "rows n"], Metrics]:
        """A window: how each row's loss rises with the agent's parameters. Rows that have ended begin anew from the seeds."""

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
            score = play(self.world.open(), self.policy(state), rows, compile=False).returns.mean()
            total = {"score/agent": float(score), **total}
        return total

    def lives(self, device: torch.device) -> Int[Tensor, "rows"]:
        """How many steps each row's episodes may last."""
        rows, horizon = torch.arange(self.rows, device=device), self.world.spec.horizon
        return torch.where(2 * rows < self.rows, min(self.early_reset_steps or horizon, horizon), horizon)

    def policies(self, state: State) -> tuple[Float[Tensor, "rows n"], Any]:
        """Parameters for each row of its own, all the same, so that its gradient is its own; and who acts by them."""
        weights = state["weights"].detach().expand(self.rows, -1).clone().requires_grad_()
        return weights, self.agent.policy(weights)

    def policy(self, state: State) -> Policy:
        return self.agent.policy(state["agent"].detach())
