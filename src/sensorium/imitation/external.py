"""External: a teacher that is an object of this Python process, for cloning."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.policy import Policy
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics, State


@dataclass(frozen=True)
class External:
    """A stage without training whose policy was given in Python. Its card names the policy; another process has to give it again."""

    given: ClassVar[dict[str, Policy]] = {}
    """policies of this process by name"""
    learned = ("given",)

    world: World
    name: str = "teacher"
    """the policy's name in this process"""
    steps: int = 0
    checkpoint_every: int = 1

    def init(self, seeds: Seeds) -> State:
        return {"given": torch.zeros(())}

    def open(self, state: State) -> None:
        return None

    def step(self, state: State, live: None, seeds: Seeds) -> Metrics:
        raise Usage("a given policy is not trained; use steps 0")

    def policy(self, state: State) -> Policy:
        if self.name not in self.given:
            raise Usage(f"the policy '{self.name}' was an object of another process; give it to sensorium.clone again")
        return self.given[self.name]
