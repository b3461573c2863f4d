"""Stages in training order: `Pretrain` explores without reward, `Finetune` then learns a task."""

from dataclasses import dataclass

from sensorium.rl.off_policy import Finetuning, Pretraining
from sensorium.systems.rnd.model import RND, OnTask


@dataclass(frozen=True)
class Pretrain(Pretraining):
    """Explore with the prediction error as the only reward."""

    rnd: RND = RND()

    @property
    def explorer(self) -> RND:
        return self.rnd


@dataclass(frozen=True)
class Finetune(Finetuning):
    """Learn a task from its reward alone, starting from the pre-trained actor and encoder. The critic still trains the encoder (URLB)."""

    rnd: RND = RND()
    keep_critic: bool = True
    """whether the critic starts from the pre-trained critic, as in URLB; its target network is initialised anew in either case"""
    intrinsic_reward: float = 0.0
    """weight of the intrinsic reward"""
    represent: bool = True
    """whether the encoder is trained"""

    @property
    def explorer(self) -> RND:
        return self.rnd if self.intrinsic_reward > 0 else OnTask(**vars(self.rnd))
