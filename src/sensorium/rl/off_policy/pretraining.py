"""Pretraining: explore without reward."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, uniform
from sensorium.core.stage import Metrics, State
from sensorium.envs.control import from_states
from sensorium.rl.off_policy.entropy import particle_entropy
from sensorium.rl.off_policy.loop import OffPolicy, Resources, Rewards

BINS = 20
"""parts into which each coordinate is cut, to count where an explorer has been"""
POINTS = 1000
"""places of which the entropy is estimated"""


@dataclass(frozen=True)
class Pretraining(OffPolicy):
    """The phase without a task: representation and explorer learn from the intrinsic reward alone."""

    snapshots: tuple[int, ...] = ()
    """frames after which what was learned is kept, in `snapshots`"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.explorer.explores:
            raise Usage("this explorer has no intrinsic reward, and without one there is nothing to explore for")

    @property
    def rewards(self) -> Rewards:
        return Rewards(task=0.0, intrinsic_reward=1.0, represent=True)

    @property
    def learned(self) -> tuple[str, ...]:
        """Names in the state that act, or say what is new: an agent to be fine-tuned."""
        return (*self.explorer.carried(self.world.spec.observation), *self.actor_names)

    def init(self, seeds: Seeds) -> State:
        cells = BINS ** len(self.world.where) if self.world.where else 0
        visited = {name: torch.zeros(cells, dtype=torch.bool) for name in ("visited/explorer", "visited/random")} if cells else {}
        return {**super().init(seeds), **visited}

    def step(self, state: State, live: Resources, seeds: Seeds) -> Metrics:
        before = int(state["agent-steps"]) * self.world.repeat
        metrics, states = live.episode(seeds)
        if states and self.world.where:
            # how far it came, beside one that draws its actions
            blind = from_states(self.world)
            rollout = play(
                live.world("random", blind), Uniform(self.world.spec.action), seeds.rows("random", self.rows), keep=("observations",)
            )
            metrics |= self.reach(state, "explorer", torch.stack(states))
            metrics |= self.reach(state, "random", rollout.observations)
        metrics |= live.evaluation(seeds)
        self.keep(state, before)
        return metrics

    def reach(self, state: State, name: str, states: Tensor) -> Metrics:
        """Cells of the space of coordinates that were ever visited, those of this step's episodes, and the entropy of their places."""
        places = self.world.places(states.flatten(0, 1))
        cells = (places * BINS).long().clamp(max=BINS - 1)
        number = (cells * BINS ** torch.arange(cells.shape[1])).sum(1)
        state[f"visited/{name}"][number] = True
        some = places[:: -(-len(places) // POINTS)]
        entropy = particle_entropy(some.double(), 3)
        here = {f"cells/{name}": float(len(number.unique())), f"entropy/{name}": float(entropy)}
        return {f"coverage/{name}": float(state[f"visited/{name}"].sum()), **here}

    def keep(self, state: State, before: int) -> None:
        """Keep what was learned when the frames have reached one of `snapshots`: a folder that is an agent like any other."""
        folder, frames = Path(self.folder), int(state["agent-steps"]) * self.world.repeat
        carried = set(self.explorer.carried(self.world.spec.observation))
        for number in self.snapshots:
            if before < number <= frames:
                place = folder / "snapshots" / str(number)
                with checkpoint.writing(place):
                    place.mkdir(parents=True, exist_ok=True)
                    if (folder / "card.json").exists():
                        checkpoint.write(place / "card.json", (folder / "card.json").read_bytes())
                # all models, and what the explorer hands on; no moments, no replay
                kept = {name: tensor for name, tensor in state.items() if "/model/" in name or name in carried or name == "agent-steps"}
                checkpoint.save(place, frames, kept)


@dataclass(frozen=True)
class Uniform:
    """Actions drawn anew at every step: a policy that does not explore."""

    actions: int
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "Uniform":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        return seeds

    def act(self, obs: Tensor, memory: Tensor, t: int | Tensor) -> tuple[Tensor, Any]:
        return 2 * uniform(memory, t, self.actions) - 1, memory
