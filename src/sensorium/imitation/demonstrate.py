"""Demonstrate: have a teacher play, or say what it would do while a student plays, and keep it on disk."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import Env, MultiView, World, closing
from sensorium.core.errors import Usage
from sensorium.core.policy import ActionAware, Policy, Stochastic
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, fold, normal, uniform
from sensorium.core.stage import NOWHERE, Folder, InWorld, Metrics, State, at_least
from sensorium.data import episodes as disk
from sensorium.data.episodes import Episode

View = Callable[[Tensor], Tensor]


def views(world: World, env: Env, teacher: World) -> View:
    """What a teacher, who learned in a world of its own, sees of the moment in which its student sees something; one sentence where it cannot."""
    if teacher.spec.action == world.spec.action:
        if type(teacher) is type(world) and teacher.spec.observation == world.spec.observation:
            return lambda obs: obs
        if isinstance(env, MultiView) and env.views(teacher):
            return lambda obs: env.shown(teacher)
    raise Usage(f"a teacher from {teacher.spec.name} cannot teach in {world.spec.name}: it sees or does other things")


class Mixture:
    """Teacher and student as one Policy: both say what they would do, one of them acts. Its memory ends with the teacher's teacher_actions."""

    members = 1

    def __init__(self, stage: "Demonstrate", teacher: Policy, student: Policy | None, low: Tensor, view: View):
        self.stage, self.teacher, self.student, self.low, self.view = stage, teacher, student, low, view

    def take(self, members: Tensor) -> "Mixture":
        return self

    def begin(self, seeds: Tensor) -> Any:
        memories = (self.teacher.begin(seeds), self.student.begin(seeds) if self.student else ())
        return fold(seeds, "lesson"), *memories, torch.zeros(len(seeds), len(self.low))

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        (seeds, teaching, learning, _), stage = memory, self.stage
        teacher_actions, teaching = self.teacher.act(self.view(obs), teaching, t)
        action = teacher_actions
        if stage.action_noise:
            action = torch.maximum(teacher_actions + stage.action_noise * normal(seeds, t, teacher_actions.shape[1]), self.low).clamp(
                max=1.0
            )
        if self.student:
            answer, learning = self.student.act(obs, learning, t)
            # they take turns: the student comes to where it errs, and not so far from its teacher's ways that nothing is to be learned there
            teachers_turn = uniform(seeds, 2**31 + t // stage.turn_steps, 1) < stage.teacher_share
            action = torch.where(teachers_turn, action, answer)
            learning = with_action(self.student, learning, action)
        # whoever acted, both hear next what was done
        return action, (seeds, with_action(self.teacher, teaching, action), learning, teacher_actions)


def with_action(policy: Policy, memory: Any, action: Tensor) -> Any:
    """The memory with the action that was really taken, for policies whose memory holds it."""
    return policy.with_action(memory, action) if isinstance(policy, ActionAware) else memory


def deterministic(policy: Policy) -> Policy:
    """A teacher without its random numbers: its actions then vary less."""
    return policy.deterministic() if isinstance(policy, Stochastic) else policy


@dataclass(frozen=True)
class Demonstrate:
    """Record what a teacher does (Tang & Ha 2021, appendix), or with a `student` what it would have done in its place (DAgger, Ross et al. 2011).

    The teacher keeps its own eyes: it sees each moment as the world shows it in which it was trained. A step is a shard of episodes, played
    on the processor.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        return ("shards",)

    student_world: World
    teacher: Folder = Folder("../1-teacher")
    """who is asked: a run, a stage or a zoo agent"""
    student: Folder = NOWHERE
    """who acts; empty: the teacher"""
    teacher_share: float = 0.5
    """share of the turns in which the teacher acts, not the student"""
    turn_steps: int = 25
    """steps after which who acts is drawn anew"""
    action_noise: float = 0.0
    """standard deviation of what is added to the teacher's actions, not to its teacher_actions: so that it shows how to recover"""
    earlier: Folder = NOWHERE
    """earlier lessons, which these add to"""
    rows: int = 16
    """episodes of a shard, played side by side"""
    folder: Folder = Folder(".")
    """where the episodes are kept: the stage's own folder"""
    steps: int = 4
    """shards"""
    checkpoint_every: int = 1

    @property
    def recorded_in(self) -> World:
        """Where the episodes took place."""
        return self.student_world

    def __post_init__(self) -> None:
        at_least(self, steps=0, rows=1, turn_steps=1, checkpoint_every=1)

    def init(self, seeds: Seeds) -> State:
        # a teacher that does not fit is refused before anything is played
        with closing(self.student_world) as env:
            views(self.student_world, env, seen(self.teacher))
        return {name: torch.zeros((), dtype=torch.int64) for name in ("shards", "checksum")}

    def open(self, state: State) -> None:
        return None

    def step(self, state: State, live: None, seeds: Seeds) -> Metrics:
        metrics, checksum = shard(self, seeds)
        state["shards"] = state["shards"] + 1
        state["checksum"] = torch.full_like(state["checksum"], checksum)
        return metrics

    def policy(self, state: State) -> NoReturn:
        raise Usage("lessons do not act; name a teacher or a clone")


def seen(folder: str) -> World:
    """The world in which an agent was trained."""
    stage = checkpoint.stage(checkpoint.agent(folder))
    if not isinstance(stage, InWorld):
        raise Usage(f"{folder} holds no agent that acts, and cannot teach")
    return stage.world


def shard(stage: Demonstrate, seeds: Seeds) -> tuple[Metrics, int]:
    """Play and write the shard of one step, a function of the stage and the seeds; metrics and checksum."""
    parts: dict[str, list[Tensor]] = {"observations": [], "actions": [], "rewards": [], "memory": []}

    def keep(t: int, row: dict[str, Any]) -> None:
        seen = row["observations"]
        parts["observations"].append((seen[:, :, -1] if seen.dim() == 4 else seen).cpu().clone())
        parts["actions"].append(row["actions"].cpu().clone())
        parts["rewards"].append(row["rewards"].cpu().clone())
        parts["memory"].append(row["memory"][-1].cpu().clone())

    spec = stage.student_world.spec
    teacher, student = deterministic(checkpoint.policy(stage.teacher)), checkpoint.policy(stage.student) if stage.student else None
    low = torch.tensor(spec.low or (-1.0,) * spec.action)
    with closing(stage.student_world) as env:
        rows = seeds.rows("episodes", stage.rows)
        mixture = Mixture(stage, teacher, student, low, views(stage.student_world, env, seen(stage.teacher)))
        rollout = play(env, mixture, rows, keep=tuple(parts), sink=keep)
    frames, actions, rewards, teacher_actions = (torch.stack(part, 1).numpy() for part in parts.values())
    lengths = rollout.lengths.tolist()
    found = [
        Episode(frames[i, :n], actions[i, :n], rewards[i, :n], n < spec.horizon, teacher_actions[i, :n]) for i, n in enumerate(lengths)
    ]
    path = disk.write(Path(stage.folder), seeds.step, found)
    metrics = {
        "score/mean": float(rollout.returns.mean()), "length/mean": float(rollout.lengths.float().mean()), "moments": float(sum(lengths)),
    }  # fmt: skip
    return metrics, int(path.name.split(".")[1][:15], 16)


def whole(folder: str) -> list[Path]:
    """The shards of finished lessons and of those that they add to, all checked, and recorded anew where they are damaged."""
    return disk.whole(folder, Demonstrate, shard)
