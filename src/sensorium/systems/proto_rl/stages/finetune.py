"""Finetune: learn a task with what exploring has left."""

from dataclasses import dataclass
from pathlib import Path

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, State
from sensorium.rl.ddpg import DDPG
from sensorium.rl.sac import SAC
from sensorium.systems.proto_rl.model import Proto
from sensorium.systems.proto_rl.stages.learning import Learning, Rewards
from sensorium.systems.proto_rl.stages.pretrain import Pretrain


@dataclass(frozen=True)
class Finetune(Learning):
    """The task's phase (P section 3.4): the representation stays as it is, the explorer becomes the task's agent; replay begins empty."""

    pretrained: Folder = Folder("../1-pretrain")
    """a finished `Pretrain`, or one of its snapshots, of the same domain"""
    keep_critic: bool = False
    """whether the critic goes on from the explorer's, as in URLB; its target begins anew all the same"""
    intrinsic_reward: float = 0.2
    """what is added of the intrinsic reward"""
    random: int = 0
    """agent steps, at first, of random actions"""

    @property
    def rewards(self) -> Rewards:
        return Rewards(task=1.0, intrinsic_reward=self.intrinsic_reward, represent=False)

    def init(self, seeds: Seeds) -> State:
        kept = self.snapshot()
        # the explorer's models; fresh moments, temperature and, unless it is kept, critic
        parts = ("representation", "target", "actor", *(["critic"] if self.keep_critic else []))
        names = [name for name in kept if (name.partition("/")[0] in parts and "/model/" in name) or name in ("queue", "pointer")]
        ours = super().init(seeds)
        for name, tensor in ours.items():
            # the slow copies are not needed here, and the zoo does without
            if (
                "/model/" in name
                and name.startswith(("representation/", "actor/"))
                and (name not in kept or kept[name].shape != tensor.shape)
            ):
                raise Usage(f"{self.pretrained} was pre-trained by another version of this code: {name} is missing, or of another shape")
        return {**ours, **{name: kept[name].float() if kept[name].is_floating_point() else kept[name] for name in names}}

    def snapshot(self) -> State:
        """The pre-trained agent; one sentence where there is none, or where it does not fit."""
        folder = Path(self.pretrained)
        if not folder.is_dir():
            others = sorted(str(path) for path in folder.parent.glob("*") if path.is_dir()) if folder.parent.is_dir() else []
            raise Usage(
                f"no pre-trained agent at {folder}"
                + (f"; there are {', '.join(others)}" if others else "; train one first, or give --pretrained")
            )
        if not (folder / "card.json").exists():
            # of a run that went on to a task, what explored
            folder = next((path for path in checkpoint.stages_of(folder) if isinstance(checkpoint.stage(path), Pretrain)), folder)
        folder = checkpoint.agent(folder)
        explorer, loaded = checkpoint.stage(folder), checkpoint.load(folder)
        if not isinstance(explorer, Pretrain) or loaded is None:
            raise Usage(f"{folder} holds no agent that explored; give one of Proto-RL's `pretrain` stages, or one of its snapshots")
        for what, theirs, ours in (
            ("domain", explorer.world.domain, self.world.domain), ("observations", explorer.world.spec.observation, self.world.spec.observation),
            ("learner", sized(explorer.learner), sized(self.learner)), ("representation", seeing(explorer.proto), seeing(self.proto)),
        ):  # fmt: skip
            if theirs != ours:
                raise Usage(f"{folder} was pre-trained with another {what}: {theirs} there, {ours} here")
        if self.keep_critic and not any(name.startswith("critic/") for name in loaded[1]):
            raise Usage(f"{folder} keeps no critic (agents of the zoo do not); give keep_critic False, or a run or snapshot of your own")
        return loaded[1]


def sized(learner: SAC | DDPG) -> tuple[str, int, int]:
    """What of a learner decides whether another one's networks fit."""
    return type(learner).__name__, learner.features, learner.hidden


def seeing(proto: Proto) -> tuple[float, ...]:
    """What of a representation decides whether another one's networks fit, and mean the same."""
    return proto.prototypes, proto.projection, proto.hidden, proto.queue, proto.channels, proto.centre, proto.standardise
