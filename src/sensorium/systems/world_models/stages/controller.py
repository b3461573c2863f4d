"""Controller: evolve C, in the real world or in the dream."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.core import jobs
from sensorium.core.env import World
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Policy
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, Metrics, State, at_least, below_one
from sensorium.es.cma import CMA
from sensorium.es.strategy import Strategy
from sensorium.es.workers import Workers, where
from sensorium.nets.flat import Layout
from sensorium.systems.world_models.curiosity import CuriosityWorld
from sensorium.systems.world_models.dream import Dream, decoded
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import LatentPolicy, Linear, WorldModelPolicy


@dataclass(frozen=True)
class InWorldAgent:
    """Parameter vectors of C as policies of the real world, with V and M from their stages' folders."""

    controller: Linear
    vision: str
    memory: str
    bfloat16: bool = True

    @property
    def layout(self) -> Layout:
        return self.controller.layout

    def policy(self, vectors: Tensor) -> WorldModelPolicy:
        device = str(vectors.device)
        memory = load_model(self.memory, device, self.bfloat16) if self.controller.uses_memory else None
        return WorldModelPolicy(load_model(self.vision, device, self.bfloat16), memory, self.controller, vectors.float())


@dataclass(frozen=True)
class InDreamAgent:
    """Parameter vectors of C as policies of a dream."""

    controller: Linear

    @property
    def layout(self) -> Layout:
        return self.controller.layout

    def policy(self, vectors: Tensor) -> LatentPolicy:
        return LatentPolicy(self.controller, vectors.float())


@dataclass(frozen=True)
class Controller:
    """Evolve C with CMA-ES (P section 2.4). The agent is the mean of the search with the best score on separate episodes (P appendix)."""

    @property
    def learned(self) -> tuple[str, ...]:
        return ("agent",)

    world: World
    """the real world"""
    vision: Folder = Folder("../2-vision")
    """V"""
    memory: Folder = Folder("../3-memory")
    """M; may be empty for a controller whose only input is z"""
    controller: Linear = Linear()
    dream: bool = False
    """whether C evolves in the dream instead of the real world"""
    temperature: float = 1.0
    """sampling temperature of the dream"""
    dropout: float = 0.0
    """probability that an element of M's input z or hidden state is zero throughout an episode of the dream"""
    curiosity: float = 0.0
    """reward per nat of M's prediction error (per dimension and step), added to the reward of the real world"""
    search: Strategy = CMA(population=64, sigma=0.1)
    episodes: int = 16
    """episodes per candidate and generation"""
    common_seeds: bool = True
    """whether all candidates of a generation play the same episodes (the authors used different ones)"""
    steps: int = 200
    """generations"""
    checkpoint_every: int = 1
    """generations between two checkpoints"""
    evaluate_every: int = 25
    """generations between two evaluations of the mean of the search; the best mean is the agent"""
    evaluation_episodes: int = 128
    """episodes of such an evaluation"""
    block: int = 8
    """members per job; 0: one job with the whole population and all threads, for dreams"""
    bfloat16: bool = True
    """whether matrix products use bfloat16 if the processor supports it"""
    compile: bool = True
    """whether dream and controller are compiled as one step"""

    def __post_init__(self) -> None:
        at_least(self, steps=0, episodes=1, checkpoint_every=1, evaluate_every=1, evaluation_episodes=1, block=0)
        below_one(self, "dropout")
        if not self.memory and (self.dream or self.controller.uses_memory):
            raise Usage("without a memory the only input can be z, and there is no dream; give memory, or features z and dream False")
        if self.dropout and not self.memory:
            raise Usage("dropout is that of M in the dream; give memory, or dropout 0")
        if self.curiosity and (self.dream or not self.memory):
            raise Usage("curiosity needs a memory and the real world; give memory and dream False, or curiosity 0")

    def init(self, seeds: Seeds) -> State:
        latents, hidden = load_model(self.vision).latents, load_model(self.memory).hidden if self.memory else self.controller.hidden
        if (latents, hidden) != (self.controller.latents, self.controller.hidden):
            raise Usage(
                f"the controller is made for z of {self.controller.latents} and {self.controller.hidden} hidden units, "
                f"V and M have {latents} and {hidden}; give --controller.controller.latents and .hidden"
            )
        mean = torch.zeros(self.controller.layout.size)
        return {**self.search.init(mean), "agent": mean.clone(), "best": torch.tensor(-torch.inf)}

    def dream_world(self, temperature: float | None = None, device: str = "cpu") -> Dream:
        """The dream of this stage's M. Errors: core.errors.Usage if the agent has no M."""
        if not self.memory:
            raise Usage("this agent has no memory, so it has no dream")
        spec = self.world.spec
        temperature = self.temperature if temperature is None else temperature
        return Dream(self.memory, temperature, spec.horizon, spec.low, self.bfloat16, device, dropout=self.dropout)

    def search_space(self, device: str = "cpu") -> tuple[World, Any]:
        """The world of the search, and the agent that turns a parameter vector into a policy of it."""
        if self.dream:
            return self.dream_world(device=device), InDreamAgent(self.controller)
        agent = InWorldAgent(self.controller, self.vision, self.memory, self.bfloat16)
        if self.curiosity:
            return CuriosityWorld(self.world, self.vision, self.memory, self.curiosity, self.bfloat16, device), agent
        return self.world, agent

    @property
    def where(self) -> str:
        """As `core.stage.Distributed.where`."""
        name, simulated = ("the dream", False) if self.dream else (self.world.spec.name, jobs.simulated(self.world))
        return where(name, simulated, self.block)

    def open(self, state: State) -> Workers:
        world, agent = self.search_space(str(state["agent"].device))
        return Workers(world, agent, self.block, self.compile)

    def step(self, state: State, live: Workers, seeds: Seeds) -> Metrics:
        # ask: a generation of candidates around the mean
        candidates = self.search.ask(state, seeds("ask"))
        device, n = candidates.device, len(candidates)
        # play
        if self.common_seeds:
            rows = seeds.rows("episodes", self.episodes, device).expand(n, -1)
        else:
            rows = seeds.rows("episodes", n * self.episodes, device).view(n, -1)
        fitness, lengths = live.scores(candidates.float(), rows).to(device).unbind(1)
        if not bool(fitness.isfinite().all()):
            raise Failure(f"a candidate of generation {seeds.step} has no finite score; the search stops before it updates the mean")
        # tell: update mean and covariance
        self.search.tell(state, candidates, fitness)
        metrics = {
            "score/mean": float(fitness.mean()), "score/best": float(fitness.max()), "length/mean": float(lengths.mean()),
            "sigma": float(state["sigma"].mean()),
        }  # fmt: skip
        if seeds.step % self.evaluate_every == 0:
            metrics = {"score/agent": self.evaluate_mean(state, live, seeds), **metrics}
        elif not bool(state["best"].isfinite()):
            state["agent"] = state["mean"].float().clone()
        return metrics

    def evaluate_mean(self, state: State, live: Workers, seeds: Seeds) -> float:
        """Score of the mean of the search on separate episodes. If it is the best so far, the mean becomes the agent."""
        copies = min(self.evaluation_episodes, self.search.population)
        each = -(-self.evaluation_episodes // copies)
        rows = seeds.rows("evaluation", copies * each, state["mean"].device).view(copies, each)
        mean = state["mean"].float().clone()
        score = live.scores(mean.expand(copies, -1), rows)[:, 0].mean()
        if float(score) > float(state["best"]):
            state["agent"], state["best"] = mean.clone(), score.to(state["best"].device)
        return float(score)

    def policy(self, state: State) -> Policy:
        return InWorldAgent(self.controller, self.vision, self.memory, self.bfloat16).policy(state["agent"])

    def in_dream(self, state: State) -> tuple[World, Policy]:
        """The dream, and the agent as its policy. Errors: core.errors.Usage if M predicts neither reward nor end."""
        memory = load_model(self.memory) if self.memory else None
        if memory is not None and not (memory.restart or memory.reward):
            raise Usage("this M predicts neither reward nor end, so its dream has no score; car-racing-dream trains one that does")
        world = self.dream_world(device=str(state["agent"].device))
        return world, self.dream_policy(state)

    def dream_policy(self, state: State) -> Policy:
        """The agent as a policy of its dream."""
        return InDreamAgent(self.controller).policy(state["agent"])

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of z, each [rows, z], for observations of the world."""
        return load_model(self.vision, bfloat16=self.bfloat16).posterior(frames)

    def decode(self, z: Tensor) -> Any:
        """Images of latent vectors, uint8 [rows, 64, 64, 3]. Errors: core.errors.Usage for a V of vectors."""
        return decoded(load_model(self.vision, bfloat16=self.bfloat16), z)
