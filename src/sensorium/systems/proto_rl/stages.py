"""Stages: `Pretrain` explores without reward, `Finetune` then learns a task, `Scratch` learns a task without pre-training."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import normalize

from sensorium.core.errors import Usage
from sensorium.core.stage import State
from sensorium.nets import descent
from sensorium.rl.off_policy import Finetuning, OffPolicy, Pretraining, Rewards
from sensorium.systems.proto_rl.model import Proto


@dataclass(frozen=True)
class ProtoStage(OffPolicy):
    """An off-policy stage whose explorer is the representation of Proto-RL."""

    proto: Proto = Proto()

    @property
    def explorer(self) -> Proto:
        return self.proto

    @torch.no_grad()
    def nearest_to_prototypes(self, state: State, observations: Tensor) -> Int[Tensor, "prototypes"]:
        """The index of the observation whose z is nearest to each prototype. Errors: core.errors.Usage for a state without prototypes."""
        if "representation/model/prototypes" not in state:
            raise Usage("this agent has no prototypes: published fine-tuned agents contain only encoder and actor")
        model = descent.loaded(self.proto.representation(self.world.spec.observation), descent.part("representation", state))
        z = torch.cat([model.project(model.encoder(part)) for part in observations.split(256)])
        return (z @ normalize(model.prototypes, dim=1).T).argmax(0)


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
