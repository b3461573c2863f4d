"""Pretrain: explore without reward."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics, State
from sensorium.envs.control import from_states
from sensorium.nets import descent
from sensorium.systems.proto_rl import equations as eq
from sensorium.systems.proto_rl.model import Uniform
from sensorium.systems.proto_rl.stages.learning import Learning, Life, Rewards, snapshot

BINS = 20
"""parts into which each coordinate is cut, to count where an explorer has been"""
POINTS = 1000
"""places of which the entropy is estimated"""


@dataclass(frozen=True)
class Pretrain(Learning):
    """The task-agnostic phase (P section 3): representation and explorer, paid by the intrinsic reward alone. A step is an episode of every world."""

    snapshots: tuple[int, ...] = ()
    """frames after which what was learned is kept, in `snapshots`"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.proto.prototypes:
            raise Usage("there is no exploring for its own sake without prototypes; give a number of them")

    @property
    def rewards(self) -> Rewards:
        return Rewards(task=0.0, intrinsic_reward=1.0, represent=True)

    @property
    def learned(self) -> tuple[str, ...]:
        """Names in the state that act, or say what is new: an agent to be fine-tuned."""
        seen = self.proto.representation(self.world.spec.observation)
        acts = (name for name in super().learned if name.startswith("actor/"))
        return (*(f"representation/{name}" for name in descent.names(seen)), *acts, "queue", "pointer")

    def init(self, seeds: Seeds) -> State:
        cells = BINS ** len(self.world.where) if self.world.where else 0
        visited = {name: torch.zeros(cells, dtype=torch.bool) for name in ("visited/explorer", "visited/random")} if cells else {}
        return {**super().init(seeds), **visited}

    def step(self, state: State, live: Life, seeds: Seeds) -> Metrics:
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
        snapshot(self, state, before, self.snapshots)
        return metrics

    def reach(self, state: State, name: str, states: Tensor) -> Metrics:
        """Cells of the space of coordinates that were ever visited, those of this step's episodes, and the entropy of their places."""
        places = self.world.places(states.flatten(0, 1))
        cells = (places * BINS).long().clamp(max=BINS - 1)
        number = (cells * BINS ** torch.arange(cells.shape[1])).sum(1)
        state[f"visited/{name}"][number] = True
        some = places[:: -(-len(places) // POINTS)]
        entropy = eq.particle_entropy(some.double(), 3)
        here = {f"cells/{name}": float(len(number.unique())), f"entropy/{name}": float(entropy)}
        return {f"coverage/{name}": float(state[f"visited/{name}"].sum()), **here}
