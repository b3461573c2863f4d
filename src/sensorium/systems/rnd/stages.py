"""What learns, in training order: `Pretrain` explores without reward, `Finetune` learns a task from there."""

from dataclasses import dataclass, replace

from sensorium.rl.off_policy import Finetuning, Pretraining
from sensorium.systems.rnd.model import RND


@dataclass(frozen=True)
class Pretrain(Pretraining):
    """Explore, paid by the error of the prediction alone."""

    rnd: RND = RND()

    @property
    def explorer(self) -> RND:
        return self.rnd


@dataclass(frozen=True)
class Finetune(Finetuning):
    """Learn a task with the explorer's actor and encoder, from the task's reward alone; the critic goes on training the encoder, as in URLB."""

    rnd: RND = RND()
    keep_critic: bool = True
    """whether the critic goes on from the explorer's, as in URLB; its target begins anew all the same"""
    intrinsic_reward: float = 0.0
    """what is added of the intrinsic reward"""
    represent: bool = True
    """whether the encoder goes on learning"""

    @property
    def explorer(self) -> RND:
        return replace(self.rnd, explores=self.intrinsic_reward > 0)
