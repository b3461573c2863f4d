"""Who stands for a table's agents: the zoo's, or the one that is to be judged; and their scores."""

from dataclasses import dataclass
from typing import Any

from sensorium.core import checkpoint, zoo
from sensorium.core.env import World, closing
from sensorium.core.errors import Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.policy import Policy
from sensorium.core.stage import Stage
from sensorium.envs.wrappers import wrapped


@dataclass(frozen=True)
class Player:
    """An agent and where it was trained to play."""

    stage: Stage
    world: World
    policy: Policy

    def scores(self, senses: str, episodes: int) -> dict[str, Any]:
        """Under some senses."""
        world, policy = wrapped(self.world, self.policy, senses)
        with closing(world) as env:
            return evaluate(env, policy, episodes)


def player(folder: str | None, kinds: tuple[type, ...], *names: str) -> Player | None:
    """The agent that a table is about, from one of its worlds: the one that is named, or else the zoo's; None: there is none."""
    place = folder or zoo.at_hand(*names)
    if place is None:
        return None
    stage = checkpoint.stage(checkpoint.agent(place))
    world: Any = getattr(stage, "world", None)
    if not isinstance(world, kinds):
        raise Usage(f"{place} plays in {world.spec.name if world else 'no world'}, which this table is not about")
    return Player(stage, world, checkpoint.policy(place))
