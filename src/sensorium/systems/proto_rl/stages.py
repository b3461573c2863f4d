"""Stages: `Pretrain` explores without reward, `Finetune` then learns a task, `Scratch` learns a task without pre-training."""

from dataclasses import dataclass

from sensorium.core.errors import Usage
from sensorium.rl.off_policy import Finetuning, OffPolicy, Pretraining, Rewards
from sensorium.systems.proto_rl.model import Proto


@dataclass(frozen=True)
class ProtoStage(OffPolicy):
    """An off-policy stage whose explorer is the representation of Proto-RL."""

    proto: Proto = Proto()

    @property
    def explorer(self) -> Proto:
        return self.proto


@dataclass(frozen=True)
class Pretrain(Pretraining, ProtoStage):
    """Task-agnostic phase (P section 3): the intrinsic reward is the only reward. One step is an episode in every world."""


@dataclass(frozen=True)
class Finetune(Finetuning, ProtoStage):
    """Task phase (P section 3.4): the representation is frozen, the pre-trained actor is trained further, and replay starts empty."""


@dataclass(frozen=True)
class Scratch(ProtoStage):
    """Learn a task and the representation without pre-training. With `Proto(prototypes=0, by_critic=True)` and DDPG this is DrQ-v2."""

    intrinsic_reward: float = 0.0
    """weight of the intrinsic reward"""
    steps: int = 1000
    """episodes of every world"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.intrinsic_reward and not self.proto.prototypes:
            raise Usage("without prototypes there is no intrinsic reward; give proto.prototypes, or intrinsic_reward 0")

    @property
    def rewards(self) -> Rewards:
        return Rewards(task=1.0, intrinsic_reward=self.intrinsic_reward, represent=True)
