"""Pretraining: exploration without the task's reward."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.policy import Uniform
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics, State
from sensorium.envs.control import from_states
from sensorium.rl.off_policy.entropy import particle_entropy
from sensorium.rl.off_policy.loop import OffPolicy, Resources, Rewards

BINS = 20
"""bins per coordinate, for counting visited cells"""
POINTS = 1000
"""number of positions for the entropy estimate"""


@dataclass(frozen=True)
class Pretraining(OffPolicy):
    """The reward-free phase: the agent learns from the intrinsic reward only."""

    snapshots: tuple[int, ...] = ()
    """frames after which the agent is saved in the folder `snapshots`"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.explorer.explores:
            raise Usage("this explorer has no intrinsic reward, which pre-training needs")

    @property
    def rewards(self) -> Rewards:
        return Rewards(task=0.0, intrinsic_reward=1.0, represent=True)

    @property
    def learned(self) -> tuple[str, ...]:
        """State names that fine-tuning needs: those carried by the explorer, and the actor's."""
        return (*self.explorer.carried(self.world.spec.observation), *self.actor_names)

    def init(self, seeds: Seeds) -> State:
        cells = BINS ** len(self.world.where) if self.world.where else 0
        visited = {name: torch.zeros(cells, dtype=torch.bool) for name in ("visited/explorer", "visited/random")} if cells else {}
        return {**super().init(seeds), **visited}

    def step(self, state: State, live: Resources, seeds: Seeds) -> Metrics:
        before = int(state["agent-steps"]) * self.world.repeat
        metrics, states = live.episode(seeds)
        if states and self.world.where:
            # coverage, compared with uniform random actions
            states_only = from_states(self.world)
            rollout = play(
                live.world("random", states_only), Uniform(self.world.spec.action), seeds.rows("random", self.rows), keep=("observations",)
            )
            metrics |= self.reach(state, "explorer", torch.stack(states))
            metrics |= self.reach(state, "random", rollout.observations)
        metrics |= live.evaluation(seeds)
        self.keep(state, before)
        return metrics

    def reach(self, state: State, name: str, states: Tensor) -> Metrics:
        """Coverage of the coordinate space: cells visited so far, cells visited in this step, and entropy of this step's positions."""
        places = self.world.places(states.flatten(0, 1))
        cells = (places * BINS).long().clamp(max=BINS - 1)
        number = (cells * BINS ** torch.arange(cells.shape[1])).sum(1)
        state[f"visited/{name}"][number] = True
        some = places[:: -(-len(places) // POINTS)]
        entropy = particle_entropy(some.double(), 3)
        here = {f"cells/{name}": float(len(number.unique())), f"entropy/{name}": float(entropy)}
        return {f"coverage/{name}": float(state[f"visited/{name}"].sum()), **here}

    def keep(self, state: State, before: int) -> None:
        """Save the agent as a loadable folder when the number of frames reaches one of `snapshots`."""
        folder, frames = Path(self.folder), int(state["agent-steps"]) * self.world.repeat
        carried = set(self.explorer.carried(self.world.spec.observation))
        for number in self.snapshots:
            if before < number <= frames:
                place = folder / "snapshots" / str(number)
                with checkpoint.writing(place):
                    place.mkdir(parents=True, exist_ok=True)
                    if (folder / "card.json").exists():
                        checkpoint.write(place / "card.json", (folder / "card.json").read_bytes())
                # all models and the explorer's carried state, without optimizer moments and replay
                kept = {name: tensor for name, tensor in state.items() if "/model/" in name or name in carried or name == "agent-steps"}
                checkpoint.save(place, frames, kept)
