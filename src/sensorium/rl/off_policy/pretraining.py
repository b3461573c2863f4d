"""Pretraining: exploration without the task's reward."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import Coordinates, coordinates, frames_per_step
from sensorium.core.errors import Usage
from sensorium.core.policy import Uniform
from sensorium.core.rollout import episodes
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics, State
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
        where = coordinates(self.world)
        visited = {name: torch.zeros(BINS ** len(where), dtype=torch.bool) for name in ("visited/explorer", "visited/random")}
        return {**super().init(seeds), **(visited if where else {})}

    def step(self, state: State, live: Resources, seeds: Seeds) -> Metrics:
        before = int(state["agent-steps"]) * frames_per_step(self.world)
        metrics, states = live.episode(seeds)
        if states and isinstance(self.world, Coordinates):
            # coverage, compared with uniform random actions
            metrics |= self.reach(state, self.world, "explorer", torch.cat(states))
            metrics |= self.reach(state, self.world, "random", self.random_states(self.world, live, seeds))
        metrics |= live.evaluation(seeds)
        self.keep(state, before)
        return metrics

    def random_states(self, world: Coordinates, live: Resources, seeds: Seeds) -> Float[Tensor, "N n"]:
        """The states of as many steps of uniform random actions."""
        policy, states = Uniform(self.world.spec.action), []
        left = torch.full((self.rows,), self.world.spec.horizon)
        env = live.world("random", world.from_states)
        for transition in episodes(env, lambda: policy, seeds.rows("random", self.rows), lambda: left > 0, self.world.spec.horizon):
            taken = transition.live & (left > 0)
            left.sub_(taken.long())
            states.append(transition.obs[taken])
        return torch.cat(states)

    @property
    def bins(self) -> int:
        """Cells of the grid along each coordinate."""
        return BINS

    def cells(self, places: Float[Tensor, "N k"]) -> Int[Tensor, "N"]:
        """The number of the cell of each place, whose coordinates are in [0, 1]."""
        cells = (places * BINS).long().clamp(max=BINS - 1)
        return (cells * BINS ** torch.arange(cells.shape[1])).sum(1)

    def reach(self, state: State, world: Coordinates, name: str, states: Float[Tensor, "N n"]) -> Metrics:
        """Coverage of the coordinate space: cells visited so far, cells visited in this step, and entropy of this step's positions."""
        places = world.places(states)
        number = self.cells(places)
        state[f"visited/{name}"][number] = True
        some = places[:: -(-len(places) // POINTS)]
        entropy = particle_entropy(some.double(), 3)
        here = {f"cells/{name}": float(len(number.unique())), f"entropy/{name}": float(entropy)}
        return {f"coverage/{name}": float(state[f"visited/{name}"].sum()), **here}

    def keep(self, state: State, before: int) -> None:
        """Save the agent as a loadable folder when the number of frames reaches one of `snapshots`."""
        folder, frames = Path(self.folder), int(state["agent-steps"]) * frames_per_step(self.world)
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
