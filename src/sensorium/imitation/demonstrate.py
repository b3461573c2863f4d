"""Demonstrate: record a teacher's episodes, or its actions while a student acts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from sensorium.core import checkpoint, jobs
from sensorium.core.env import Env, MultiView, World, closing
from sensorium.core.errors import Usage
from sensorium.core.machine import one_thread
from sensorium.core.policy import Policy, Stochastic, with_action
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, fold, normal, uniform
from sensorium.core.stage import NOWHERE, Folder, InWorld, Metrics, State, at_least
from sensorium.data import episodes as disk
from sensorium.data.episodes import Episode
from sensorium.data.recording import Recorded, Recording, checksum
from sensorium.imitation.external import External

View = Callable[[Tensor], Tensor]


def views(world: World, env: Env, teacher: World) -> View:
    """A function from the student's observation to the teacher's observation of the same step. `teacher`: the world it was trained in.

    Errors: core.errors.Usage where the two worlds do not fit.
    """
    if teacher.spec.action == world.spec.action:
        if type(teacher) is type(world) and teacher.spec.observation == world.spec.observation:
            return lambda obs: obs
        if isinstance(env, MultiView) and env.views(teacher):
            return lambda obs: env.shown(teacher)
    raise Usage(f"a teacher from {teacher.spec.name} cannot act in {world.spec.name}: its observations or actions differ")


class Mixture:
    """Teacher and student as one Policy: one of them acts in each turn. The last part of its memory is the teacher's actions."""

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
            student_actions, learning = self.student.act(self.reshuffled(obs, seeds, t), learning, t)
            # turns: the student visits states where it errs, and the teacher keeps it near useful ones
            teachers_turn = uniform(seeds, 2**31 + t // stage.turn_steps, 1) < stage.teacher_share
            action = torch.where(teachers_turn, action, student_actions)
            learning = with_action(self.student, learning, action)
        # both get the executed action
        return action, (seeds, with_action(self.teacher, teaching, action), learning, teacher_actions)

    def reshuffled(self, obs: Tensor, seeds: Tensor, t: int | Tensor) -> Tensor:
        """The student's observation: the sensors of each row in an order that changes every `reshuffle` steps."""
        if not self.stage.reshuffle:
            return obs
        order = uniform(fold(seeds, "reshuffle"), t // self.stage.reshuffle, obs.shape[1]).argsort(1)
        return obs.take_along_dim(order, 1)


def deterministic(policy: Policy) -> Policy:
    """The deterministic mode of a Stochastic policy; others are unchanged."""
    return policy.deterministic() if isinstance(policy, Stochastic) else policy


@dataclass(frozen=True)
class Demonstrate:
    """Record a teacher's episodes (Tang & Ha 2021, appendix), or with a `student` the teacher's actions for the student's states (DAgger,
    Ross et al. 2011).

    The teacher gets the observations of the world in which it was trained. A step records one shard of episodes, on the CPU.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        return ("shards",)

    student_world: World
    teacher: Folder = Folder("../1-teacher")
    """the teacher: a run, a stage or a zoo agent"""
    student: Folder = NOWHERE
    """the agent that acts; empty: the teacher"""
    teacher_share: float = 0.5
    """share of the turns in which the teacher acts instead of the student"""
    turn_steps: int = 25
    """steps per turn"""
    reshuffle: int = 0
    """steps after which the sensors that the student observes are reshuffled within the episode, for vectors of sensors; 0: never"""
    action_noise: float = 0.0
    """standard deviation of the noise on the teacher's executed actions, not on the recorded ones, so that recovery is demonstrated"""
    earlier: Folder = NOWHERE
    """earlier demonstrations, which these extend"""
    rows: int = 16
    """episodes per shard, played in parallel"""
    folder: Folder = Folder(".")
    """folder of the episodes: the stage's own"""
    steps: int = 4
    """shards"""
    checkpoint_every: int = 1

    @property
    def recorded_in(self) -> World:
        """The world of the recorded episodes."""
        return self.student_world

    def __post_init__(self) -> None:
        at_least(self, steps=0, rows=1, turn_steps=1, reshuffle=0, checkpoint_every=1)
        if self.reshuffle and self.student_world.spec.kind != "vector":
            raise Usage(f"reshuffle is for vectors of sensors; {self.student_world.spec.name} observes {self.student_world.spec.kind}")

    def init(self, seeds: Seeds) -> State:
        # an unsuitable teacher fails here, before any episode is played
        with closing(self.student_world) as env:
            views(self.student_world, env, training_world(self.teacher))
        return {name: torch.zeros((), dtype=torch.int64) for name in ("shards", "checksum")}

    @property
    def simulated(self) -> bool:
        """Whether the jobs are those of a simulator; False where the teacher is an object of this process."""
        external = isinstance(checkpoint.stage(checkpoint.agent(self.teacher)), External)
        return not external and jobs.simulated(self.student_world)

    @property
    def where(self) -> str:
        """As `core.stage.Distributed.where`."""
        return f"{jobs.place_of(self.simulated)}: shards of {self.rows} episodes in {self.student_world.spec.name}"

    def open(self, state: State) -> Recording:
        return Recording(jobs.open_pool(self.simulated))

    def step(self, state: State, live: Recording, seeds: Seeds) -> Metrics:
        metrics, name = live.take(shard, self, seeds)
        state["shards"] = state["shards"] + 1
        state["checksum"] = torch.full_like(state["checksum"], checksum(name))
        return metrics

    def policy(self, state: State) -> NoReturn:
        raise Usage("demonstrations have no policy; give a teacher or a clone")


def training_world(folder: str) -> World:
    """The world in which an agent was trained. Errors: core.errors.Usage where the folder holds none."""
    stage = checkpoint.stage(checkpoint.agent(folder))
    if not isinstance(stage, InWorld):
        raise Usage(f"{folder} holds no agent that acts and cannot be a teacher")
    return stage.world


def shard(stage: Demonstrate, seeds: Seeds) -> Recorded:
    """Record the shard of one step, a function of the stage and the seeds; returns its metrics and the name of its file."""
    parts: dict[str, list[Tensor]] = {"observations": [], "actions": [], "rewards": [], "memory": []}
    spec = stage.student_world.spec

    def keep(t: int, row: dict[str, Any]) -> None:
        obs = row["observations"]
        # of stacked patches, the newest frame
        parts["observations"].append((obs[:, :, -1] if spec.kind == "patches" else obs).cpu().clone())
        parts["actions"].append(row["actions"].cpu().clone())
        parts["rewards"].append(row["rewards"].cpu().clone())
        parts["memory"].append(row["memory"][-1].cpu().clone())

    teacher, student = deterministic(checkpoint.policy(stage.teacher)), checkpoint.policy(stage.student) if stage.student else None
    low = torch.tensor(spec.low or (-1.0,) * spec.action)
    with one_thread(), closing(stage.student_world) as env:
        rows = seeds.rows("episodes", stage.rows)
        mixture = Mixture(stage, teacher, student, low, views(stage.student_world, env, training_world(stage.teacher)))
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
    return metrics, path.name


def verified_shards(folder: str) -> list[Path]:
    """The shards of finished demonstrations and of the earlier ones they extend, verified; damaged ones are recorded again."""
    return disk.verified_shards(folder, Demonstrate, shard)
