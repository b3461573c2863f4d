"""Evolve: optimise an agent's parameters by evolution, in any world."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.core import jobs
from sensorium.core.env import TrainingVariant, World
from sensorium.core.errors import Failure
from sensorium.core.evaluate import batches
from sensorium.core.policy import Policy
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import NOWHERE, Folder, Metrics, State, at_least
from sensorium.envs.wrappers import sensed
from sensorium.es.pgpe import PGPE
from sensorium.es.strategy import Strategy
from sensorium.es.workers import Workers, where
from sensorium.nets.agent import Agent, first_vector, start_from


@dataclass(frozen=True)
class Evolve:
    """Optimise an agent's parameters by evolution on episode returns (Tang & Ha 2021, section 4.1 and appendix A)."""

    @property
    def learned(self) -> tuple[str, ...]:
        return ("agent",)

    world: World
    agent: Agent
    search: Strategy = PGPE()
    senses: str = ""
    """senses specification during training, as for `evaluate --senses`; empty in the paper"""
    episodes: int = 16
    """episodes per candidate and generation"""
    common_seeds: bool = True
    """whether all candidates of a generation play the same episodes (as in the paper)"""
    ema_decay: float = 0.0
    """decay per generation of the moving average of the means, which is the agent; 0: the last mean"""
    start: Folder = NOWHERE
    """an earlier agent whose parameters are the initial mean; empty: none"""
    init_scale: float = 0.0
    """scale of the random initial parameters, sd init_scale / sqrt(inputs); 0 starts at zero, as in the paper"""
    forget_bias: float = 0.0
    """initial bias of the LSTM's forget gates"""
    steps: int = 1000
    """generations"""
    checkpoint_every: int = 20
    """generations between two checkpoints"""
    evaluate_every: int = 10
    """generations between two evaluations of the agent on separate episodes"""
    evaluation_episodes: int = 256
    """episodes per evaluation"""
    block: int = 0
    """members per job; 0: one job with the whole population, on all threads"""
    compile: bool = True
    """whether world and agent are compiled as one step"""

    def __post_init__(self) -> None:
        at_least(self, steps=0, episodes=1, checkpoint_every=1, evaluate_every=1, evaluation_episodes=1, block=0)

    def init(self, seeds: Seeds) -> State:
        if not self.start:
            return self.begin(first_vector(self.agent, self.init_scale, self.forget_bias, seeds("parameters")))
        return self.begin(start_from(self.start, self.agent))

    def begin(self, vector: Tensor) -> State:
        """The initial state of a search with this mean."""
        return {**self.search.init(vector), "agent": vector.clone()}

    @property
    def played_in(self) -> World:
        """The world of the candidates: some worlds have another reward or earlier ends in training."""
        return sensed(self.world.training if isinstance(self.world, TrainingVariant) else self.world, self.senses)

    @property
    def where(self) -> str:
        """As `core.stage.Distributed.where`."""
        return where(self.played_in.spec.name, jobs.simulated(self.played_in), self.block)

    def open(self, state: State) -> Workers:
        return Workers(self.played_in, self.agent, self.block, self.compile)

    def step(self, state: State, live: Workers, seeds: Seeds) -> Metrics:
        # ask: a generation of candidates around the mean
        candidates = self.search.ask(state, seeds("ask"))
        # play: all candidates in the same episodes, or each in its own
        device, n = candidates.device, len(candidates)
        if self.common_seeds:
            rows = seeds.rows("episodes", self.episodes, device).expand(n, -1)
        else:
            rows = seeds.rows("episodes", n * self.episodes, device).view(n, -1)
        fitness, lengths = live.scores(candidates.float(), rows).unbind(1)
        if not bool(fitness.isfinite().all()):
            worst = int((~fitness.isfinite()).nonzero()[0])
            raise Failure(
                f"candidate {worst} of generation {seeds.step} scored {float(fitness[worst])}; the search stops before the mean is updated"
            )
        # tell: move the mean, adapt the spread
        self.search.tell(state, candidates, fitness)
        keep = min(self.ema_decay, seeds.step / (seeds.step + 10))
        state["agent"] = keep * state["agent"] + (1 - keep) * state["mean"].float()
        metrics = {
            "score/mean": float(fitness.mean()),
            "score/best": float(fitness.max()),
            "score/sd": float(fitness.std()),
            "length/mean": float(lengths.mean()),
            "sigma": float(state["sigma"].mean()),
        }
        if seeds.step % self.evaluate_every == 0:
            rows = row_seeds(seeds("evaluation"), self.evaluation_episodes, device)
            scores = [found for found, _ in batches(sensed(self.world, self.senses), self.policy(state), rows)]
            metrics = {"score/agent": float(torch.cat(scores).mean()), **metrics}
        return metrics

    def policy(self, state: State) -> Policy:
        return self.agent.policy(state["agent"])
