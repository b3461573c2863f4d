"""Scripted: an untrained policy as a stage, so that it can be used as a teacher."""

from dataclasses import dataclass

import torch

from sensorium.core.env import World, closing
from sensorium.core.policy import Policy
from sensorium.core.rollout import returns
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics, State, at_least


@dataclass(frozen=True)
class Scripted:
    """A stage without learning: a step plays episodes and stores their seeds and scores."""

    learned = ("seeds", "scores")

    world: World
    player: Policy
    episodes: int = 16
    """episodes per step"""
    steps: int = 1
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        at_least(self, steps=0, episodes=1, checkpoint_every=1)

    def init(self, seeds: Seeds) -> State:
        return {"seeds": torch.zeros(self.episodes, dtype=torch.int64), "scores": torch.zeros(self.episodes)}

    def open(self, state: State) -> None:
        return None

    def step(self, state: State, live: None, seeds: Seeds) -> Metrics:
        rows = seeds.rows("episodes", self.episodes, state["seeds"].device)
        with closing(self.world) as env:
            scores = returns(env, self.player, rows)
        state |= {"seeds": rows, "scores": scores}
        return {"score/agent": float(scores.mean()), "score/sd": float(scores.std(correction=0))}

    def policy(self, state: State) -> Policy:
        return self.player
