"""Dagger: imitation of a teacher on the student's own trajectories, in torch worlds."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import TorchWorld
from sensorium.core.errors import Usage
from sensorium.core.machine import compiled
from sensorium.core.policy import ActionAware, Policy
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, Metrics, State
from sensorium.data import parallel_rollouts
from sensorium.nets import whitening
from sensorium.nets.agent import Clonable, first_vector


@dataclass
class Resources:
    """Open resources: the teacher, the (compiled) step of student, teacher and world, the teacher's rows, and maximum episode lengths."""

    teacher: Policy
    tick: Any
    teacher_rows: Bool[Tensor, "rows"]
    max_lengths: Int[Tensor, "rows"]


@dataclass(frozen=True)
class Dagger(parallel_rollouts.ParallelRollouts):
    """DAgger (Ross et al. 2011) with truncated back-propagation through the student's memory.

    The student acts, and is trained towards the teacher's actions for the same states; the teacher has the observations' channels in fixed
    order. In some rows the teacher acts, so that the data include states that the student does not reach yet.
    """

    agent: Clonable
    teacher: Folder = Folder("../1-baseline")
    """the agent to learn from: a run, a stage or a zoo agent"""
    soften: float = 1.0
    """factor on the teacher's actions before the tanh; less than 1: smaller actions"""
    teacher_share: float = 0.3
    """share of the rows in which the teacher acts"""
    steps: int = 60

    def init(self, seeds: Seeds) -> State:
        start = seeds.rows("worlds", self.rows)
        vector = first_vector(self.agent, self.init_scale, self.forget_bias, seeds("parameters"))
        obs = self.world.observe(self.world.initial(start))
        # one step, to get the shapes of the memories
        student, teacher = self.agent.policy(vector), checkpoint.policy(self.teacher)
        memory = student.act(obs, student.begin(start), 0)[1]
        worlds = parallel_rollouts.begin(
            self.world, start, self.max_lengths(start.device), memory=memory, teaching=teacher_memory(teacher, obs, start)
        )
        return {**whitening.init_vector(vector), **worlds}

    def open(self, state: State) -> Resources:
        device = state["agent"].device
        return Resources(
            checkpoint.policy(self.teacher, str(device)),
            compiled(dagger_tick) if self.compile else dagger_tick,
            self.rows_of_teacher(device),
            self.max_lengths(device),
        )

    def rows_of_teacher(self, device: torch.device) -> Bool[Tensor, "rows"]:
        """The rows in which the teacher acts, spread evenly over all ages and maximum lengths."""
        return torch.arange(self.rows, device=device) * self.teacher_share % 1 < self.teacher_share

    def update(self, state: State, live: Resources, fresh: Int[Tensor, "rows"]) -> tuple[Float[Tensor, "rows n"], Metrics]:
        """Play one window; returns gradients of the mean squared error of the actions, per row, and metrics."""
        weights, student = self.policies(state)
        world, memory, teaching = (parallel_rollouts.group(state, name) for name in ("world", "memory", "teaching"))
        obs, ended = self.world.observe(world), torch.zeros_like(state["ages"], dtype=torch.bool)
        error = count = torch.zeros((), device=weights.device)
        for _ in range(self.window):
            world, obs, memory, teaching, ended, error, count = live.tick(
                self.world, student, live.teacher, self.soften, live.teacher_rows, world, obs, memory, teaching, ended, error, count
            )
        loss = error / count
        (gradients,) = torch.autograd.grad(self.rows * loss, weights)
        parallel_rollouts.store(state, self.world, fresh, self.window, ended, live.max_lengths, world, memory=memory, teaching=teaching)
        return gradients, {"loss": float(loss.detach())}


CERTAIN = 1 - 1e-6
"""bound on the teacher's actions before atanh"""


def teacher_memory(teacher: Policy, obs: Tensor, seeds: Tensor) -> tuple[Tensor, ...]:
    """The teacher's memory after its first observation. Errors: core.errors.Usage for a recurrent teacher that is not ActionAware."""
    memory = teacher.act(obs, teacher.begin(seeds), 0)[1]
    if memory != () and not isinstance(teacher, ActionAware):
        raise Usage("this recurrent teacher cannot be given the student's action; use one without memory, or a SensoryAgent")
    return memory


def dagger_tick(
    world: TorchWorld, student: Any, teacher: Any, soften: float, teacher_rows: Tensor, state: Any, obs: Tensor, memory: Any, teaching: Any, ended: Tensor,
    error: Tensor, count: Tensor,
) -> tuple[Any, Tensor, Any, Any, Tensor, Tensor, Tensor]:  # fmt: skip
    """One step of student, teacher and world. The student acts, in `teacher_rows` the teacher; squared errors accumulate over live rows."""
    actions, memory = student.predict(obs, memory)
    with torch.no_grad():
        teacher_actions, teaching = teacher.act(obs, teaching, 0)
        teacher_actions = torch.tanh(soften * torch.atanh(teacher_actions.clamp(-CERTAIN, CERTAIN)))
        alive = ~ended
        state, step = world.transition(state, torch.where(teacher_rows[:, None], teacher_actions, actions.detach()), 0)
    error = error + torch.where(alive, ((actions - teacher_actions) ** 2).mean(1), 0.0).sum()
    # both get the executed action
    executed = torch.where(teacher_rows[:, None], teacher_actions, actions)
    teaching = teacher.with_action(teaching, executed.detach()) if teaching != () else teaching
    return state, step.obs, student.with_action(memory, executed), teaching, ended | step.terminated, error, count + alive.sum()
