"""Finetuning: learn a task from a pre-trained agent."""

from dataclasses import dataclass
from pathlib import Path

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, State
from sensorium.rl.off_policy.loop import OffPolicy, Rewards
from sensorium.rl.off_policy.pretraining import Pretraining


@dataclass(frozen=True)
class Finetuning(OffPolicy):
    """The task phase: starts from the pre-trained networks with an empty replay."""

    pretrained: Folder = Folder("../1-pretrain")
    """a finished pre-training stage, or a snapshot of one, of the same explorer and domain"""
    keep_critic: bool = False
    """whether the critic starts from the pre-trained one, as in URLB; its target is initialised anew"""
    intrinsic_reward: float = 0.2
    """factor of the intrinsic reward added to the task's reward"""
    random: int = 0
    """initial agent steps with uniform random actions"""
    represent: bool = False
    """whether the exploration method and the encoder are trained; frozen in Proto-RL (P section 3.4)"""

    @property
    def rewards(self) -> Rewards:
        return Rewards(task=1.0, intrinsic_reward=self.intrinsic_reward, represent=self.represent)

    def init(self, seeds: Seeds) -> State:
        kept = self.snapshot()
        # pre-trained models; new optimizer moments, temperature and, unless it is kept, critic
        parts = (*self.explorer.parts, "actor", *(["critic"] if self.keep_critic else []))
        carried = self.explorer.carried(self.world.spec.observation)
        names = [name for name in kept if (name.partition("/")[0] in parts and "/model/" in name) or name in carried]
        ours = super().init(seeds)
        for name, tensor in ours.items():
            # target networks are not needed here; zoo agents lack them
            if (
                "/model/" in name
                and name.startswith(("representation/", "actor/"))
                and (name not in kept or kept[name].shape != tensor.shape)
            ):
                raise Usage(f"{self.pretrained} was pre-trained by another version of this code: {name} is missing or has another shape")
        return {**ours, **{name: kept[name].float() if kept[name].is_floating_point() else kept[name] for name in names}}

    def snapshot(self) -> State:
        """The pre-trained agent's state. Errors: core.errors.Usage where there is none, or it does not fit."""
        folder = located(Path(self.pretrained))
        explorer, loaded = checkpoint.stage(folder), checkpoint.load(folder)
        if not isinstance(explorer, Pretraining) or loaded is None:
            raise Usage(f"{folder} holds no pre-trained agent; give a `pretrain` stage, or one of its snapshots")
        before, spec = explorer.world.spec, self.world.spec
        for what, theirs, ours in (
            ("domain", before.domain or before.name, spec.domain or spec.name), ("observations", before.observation, spec.observation),
            ("learner", explorer.learner.sizes, self.learner.sizes), ("representation", explorer.explorer.architecture, self.explorer.architecture),
        ):  # fmt: skip
            if theirs != ours:
                raise Usage(f"{folder} was pre-trained with another {what}: {theirs} there, {ours} here")
        if self.keep_critic and not any(name.startswith("critic/") for name in loaded[1]):
            raise Usage(f"{folder} has no critic (zoo agents have none); give keep_critic False, or a run or snapshot of your own")
        return loaded[1]


def located(folder: Path) -> Path:
    """The folder of the pre-training stage of a run, or a stage or snapshot itself. Errors: core.errors.Usage where there is no agent."""
    if not folder.is_dir():
        others = sorted(str(path) for path in folder.parent.glob("*") if path.is_dir()) if folder.parent.is_dir() else []
        raise Usage(
            f"no pre-trained agent at {folder}" + (f"; found {', '.join(others)}" if others else "; train one first, or give --pretrained")
        )
    if not (folder / "card.json").exists():
        folder = next((path for path in checkpoint.stages_of(folder) if isinstance(checkpoint.stage(path), Pretraining)), folder)
    return checkpoint.agent(folder)
