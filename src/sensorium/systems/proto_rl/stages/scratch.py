"""Scratch: the same learner with the task's reward from the first step, for comparison."""

from dataclasses import dataclass

from sensorium.core.errors import Usage
from sensorium.systems.proto_rl.stages.learning import Learning, Rewards


@dataclass(frozen=True)
class Scratch(Learning):
    """Learn a task from nothing, representation and all; with `Proto(prototypes=0, by_critic=True)` and DDPG this is DrQ-v2."""

    intrinsic_reward: float = 0.0
    """what is added of the intrinsic reward"""
    steps: int = 1000
    """episodes of every world"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.intrinsic_reward and not self.proto.prototypes:
            raise Usage("without prototypes nothing is novel; give a number of them, or intrinsic_reward 0")

    @property
    def rewards(self) -> Rewards:
        return Rewards(task=1.0, intrinsic_reward=self.intrinsic_reward, represent=True)
