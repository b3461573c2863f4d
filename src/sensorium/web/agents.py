"""Agents as scenes see them: what a card says, and the parts that are loaded when they are first used."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.core import card, checkpoint, zoo
from sensorium.core.env import World
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Attentive, Policy
from sensorium.core.stage import InWorld, Sensed, Stage, State, folders


@dataclass(frozen=True)
class Agent:
    """An agent in a folder: a run, a stage or a zoo agent."""

    name: str
    folder: Path

    @functools.cached_property
    def path(self) -> Path:
        """The folder of its stage."""
        return checkpoint.agent(self.folder)

    @functools.cached_property
    def card(self) -> dict[str, Any]:
        return card.read(self.path)

    @functools.cached_property
    def restored(self) -> tuple[Stage, State]:
        return checkpoint.restored(self.path)

    @functools.cached_property
    def stage(self) -> Stage:
        """The stage, without its state."""
        return checkpoint.placed(checkpoint.stage(self.path), self.path)

    @functools.cached_property
    def policy(self) -> Policy:
        return checkpoint.policy(self.path)

    @property
    def world(self) -> World:
        """The world of its training. Errors: core.errors.Usage for a stage without one."""
        stage = self.stage
        if not isinstance(stage, InWorld) or not isinstance(stage.world, World):
            raise Usage(f"{self.name} acts in no world")
        return stage.world

    @property
    def senses(self) -> str:
        """The treatment of the senses in its training."""
        return next((part.senses for part in (self.stage, self.world) if isinstance(part, Sensed) and part.senses), "")

    @property
    def stages(self) -> list["Agent"]:
        """The stages of its run, in order; only itself where there is no run."""
        paths = checkpoint.stages_of(self.folder) if self.folder != self.path else [self.path]
        return [Agent(path.name, path) for path in paths]


def baseline(agent: Agent, others: list[Agent]) -> Agent | None:
    """An agent of the same world that depends on the order of its sensors: a teacher, an earlier stage, or another agent at hand."""
    teachers = [Agent("teacher", Path(place)) for name, place in folders(agent.stage).items() if name == "teacher" and Path(place).is_dir()]
    zoos = [Agent(path.name, path) for path in sorted(zoo.FOLDER.glob("*")) if path.is_dir()]
    spec = agent.world.spec
    for other in [*teachers, *agent.stages, *others, *zoos]:
        try:
            described = other.card["stage"].get("world")
            if not isinstance(described, dict) or described.get("is") != agent.card["stage"]["world"]["is"] or other.senses:
                continue
            theirs = other.world.spec
            same = (theirs.name, theirs.observation, theirs.action) == (spec.name, spec.observation, spec.action)
            if same and checkpoint.step_of(other.path) and not isinstance(other.policy, Attentive):
                return other
        except (Usage, Failure):
            continue
    return None
