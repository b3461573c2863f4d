"""The agents that tables and reports evaluate: those of the zoo, or one given by the user."""

from dataclasses import dataclass
from typing import Any

from sensorium.core import checkpoint, zoo
from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.policy import Policy
from sensorium.core.stage import InWorld, Stage
from sensorium.envs.wrappers import wrapped


@dataclass(frozen=True)
class TrainedAgent:
    """A trained policy with its stage and world."""

    stage: Stage
    world: World
    policy: Policy

    def scores(self, senses: str, episodes: int) -> dict[str, Any]:
        """Result of `evaluate` with a senses specification."""
        world, policy = wrapped(self.world, self.policy, senses)
        return evaluate(world, policy, episodes)


def find_agent(folder: str | None, kinds: tuple[type, ...], *names: str) -> TrainedAgent | None:
    """The agent in `folder`, or else the first of these zoo agents; None if there is none. Errors: core.errors.Usage for another world."""
    place = folder or zoo.at_hand(*names)
    if place is None:
        return None
    stage = checkpoint.stage(checkpoint.agent(place))
    world: Any = stage.world if isinstance(stage, InWorld) else None
    if not isinstance(world, kinds):
        raise Usage(f"{place} is an agent of {world.spec.name if world else 'no world'}; this table needs another world")
    return TrainedAgent(stage, world, checkpoint.policy(place))
