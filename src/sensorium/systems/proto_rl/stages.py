"""What learns, in training order: `Pretrain` explores without reward, `Finetune` learns a task from there, `Scratch` learns it from nothing."""

from dataclasses import dataclass

from sensorium.core.errors import Usage
from sensorium.rl.off_policy import Finetuning, OffPolicy, Pretraining, Rewards
from sensorium.systems.proto_rl.model import Proto


@dataclass(frozen=True)
class Learning(OffPolicy):
    """What explores is Proto-RL's representation with its prototypes."""

    proto: Proto = Proto()

    @property
    def explorer(self) -> Proto:
        return self.proto


@dataclass(frozen=True)
class Pretrain(Pretraining, Learning):
    """The task-agnostic phase (P section 3): representation and explorer learn from the intrinsic reward alone. A step is an episode of every world."""


@dataclass(frozen=True)
class Finetune(Finetuning, Learning):
    """The task's phase (P section 3.4): the representation stays as it is, the explorer becomes the task's agent; replay begins empty."""


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
