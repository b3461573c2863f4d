"""Clone: teach an agent what another one does."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import TorchWorld, select
from sensorium.core.errors import Usage
from sensorium.core.machine import compiled
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import Folder, Metrics, State, at_least
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.toy import Toy
from sensorium.systems.attention_neuron.model import SensoryAgent
from sensorium.systems.attention_neuron.stages.evolve import first_vector


@dataclass
class Lesson:
    """What cloning has open: the teacher, and one compiled step of student, teacher and world."""

    teacher: Policy
    tick: Any


@dataclass(frozen=True)
class Clone:
    """Teach an agent what another would have done: DAgger (Ross et al. 2011) with truncated back-propagation through its memory.

    The student acts, the teacher, which sees the senses in order, is asked what it would have done; a batch of episodes goes on from
    step to step, and rows that end begin anew. In some rows the teacher acts itself, so that the student sees what it cannot reach yet.
    The agent is the running average of what gradient steps leave behind, which plays far better than any one of them.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        return ("agent",)

    world: CartPole | Toy = CartPole()
    agent: SensoryAgent = SensoryAgent()
    teacher: Folder = Folder("../1-baseline")
    """the agent to learn from: a run, a stage or a zoo agent"""
    soften: float = 1.0
    """factor on the teacher's answers before their tanh; less than 1: less force"""
    rows: int = 512
    """episodes that are played at once"""
    guided: float = 0.3
    """share of the rows in which the teacher acts"""
    window: int = 40
    """steps through which gradients flow back"""
    windows: int = 25
    """windows, each followed by one update, in a step of the stage"""
    learning_rate: float = 5e-3
    """Adam's, at the beginning"""
    half_life: int = 4000
    """updates in which the learning rate halves"""
    clip: float = 0.5
    """largest norm of the gradient"""
    average: float = 0.998
    """share of itself that the running average of the parameters keeps at an update"""
    spread: float = 1.0
    """of the random first parameters, sd spread / sqrt(inputs)"""
    remember: float = 2.0
    """first bias of the forget gates: a neuron that forgets at once cannot find out which sensor it is connected to"""
    steps: int = 200
    checkpoint_every: int = 10
    evaluate_every: int = 4
    """steps between two evaluations of the student"""
    evaluation_episodes: int = 256
    """episodes of such an evaluation"""
    compile: bool = True
    """whether student, teacher and world are compiled as one step"""

    def __post_init__(self) -> None:
        at_least(self, steps=0, rows=1, window=1, windows=1, half_life=1, checkpoint_every=1, evaluate_every=1, evaluation_episodes=1)

    def init(self, seeds: Seeds) -> State:
        start = seeds.rows("worlds", self.rows)
        vector = first_vector(self.agent, self.spread, self.remember, seeds("parameters"))
        world = self.world.initial(start)
        obs = self.world.observe(world)
        # the first step shows how large the student's memory is
        _, memory = self.agent.policy(vector).act(obs, self.agent.policy(vector).begin(start), 0)
        blank = {f"memory/{i}": torch.zeros(part.shape) for i, part in enumerate(memory)}
        # ages are spread over the horizon, so that every batch holds all phases of an episode
        ages = torch.arange(self.rows) * self.world.horizon // self.rows
        zeros = torch.zeros_like(vector)
        return {
            "agent": vector, "weights": vector.clone(), "first": zeros, "second": zeros.clone(), "updates": torch.zeros((), dtype=torch.int64), "ages": ages,
            **{f"world/{i}": part.clone() for i, part in enumerate(world)}, **blank,
        }  # fmt: skip

    def open(self, state: State) -> Lesson:
        teacher = checkpoint.policy(self.teacher, str(state["agent"].device))
        if teacher.begin(state["ages"]) != ():
            raise Usage(f"the teacher in {self.teacher} has a memory; a feed-forward teacher is needed")
        return Lesson(teacher, compiled(lesson_tick) if self.compile else lesson_tick)

    def step(self, state: State, live: Lesson, seeds: Seeds) -> Metrics:
        loss = 0.0
        for k in range(self.windows):
            loss += self.update(state, live, seeds.rows(f"worlds {k}", self.rows, state["agent"].device)) / self.windows
        metrics = {"loss": loss}
        if seeds.step % self.evaluate_every == 0 or seeds.step == 1:
            rows = row_seeds(seeds("evaluation"), self.evaluation_episodes, state["agent"].device)
            score = play(self.world.open(), self.policy(state), rows, compile=False).returns.mean()
            metrics = {"score/agent": float(score), **metrics}
        return metrics

    def update(self, state: State, live: Lesson, fresh: Tensor) -> float:
        """One window of acting and asking, one step of Adam; returns the mean squared error of the actions."""
        weights = state["weights"].requires_grad_()
        student = self.agent.policy(weights)
        world, memory = _group(state, "world"), _group(state, "memory")
        obs, ended = self.world.observe(world), torch.zeros_like(state["ages"], dtype=torch.bool)
        guided = torch.arange(self.rows, device=weights.device) < round(self.guided * self.rows)
        error = count = torch.zeros((), device=weights.device)
        # act and ask
        for _ in range(self.window):
            world, obs, memory, ended, error, count = live.tick(
                self.world, student, live.teacher, self.soften, guided, world, obs, memory, ended, error, count
            )
        loss = error / count
        (gradient,) = torch.autograd.grad(loss, weights)
        # learn
        with torch.no_grad():
            state["weights"] = weights.detach()
            self.adam(state, gradient * (self.clip / gradient.norm().clamp(min=1e-12)).clamp(max=1.0))
            # rows that have ended begin anew, without memory
            memory = tuple(part.detach() for part in memory)
            ages = state["ages"] + self.window
            ended = ended | (ages >= self.world.horizon)
            world = select(ended, self.world.initial(fresh), world)
            memory = select(ended, tuple(torch.zeros_like(part) for part in memory), memory)
            state["ages"] = torch.where(ended, 0, ages)
            state.update(
                {f"world/{i}": part for i, part in enumerate(world)}, **{f"memory/{i}": part.contiguous() for i, part in enumerate(memory)}
            )
        return float(loss.detach())

    def adam(self, state: State, gradient: Tensor) -> None:
        """One descent step (Kingma & Ba 2015, algorithm 1) with a learning rate that halves every `half_life` updates, and the average."""
        t = int(state["updates"]) + 1
        state["updates"] = state["updates"] + 1
        state["first"] = 0.9 * state["first"] + 0.1 * gradient
        state["second"] = 0.999 * state["second"] + 0.001 * gradient**2
        rate = self.learning_rate * 0.5 ** (t / self.half_life)
        unbiased = (state["second"] / (1 - 0.999**t)).sqrt()
        state["weights"] = state["weights"] - rate * state["first"] / (1 - 0.9**t) / (unbiased + 1e-8)
        # at first the average is young, and keeps less of itself
        keep = min(self.average, t / (t + 10))
        state["agent"] = keep * state["agent"] + (1 - keep) * state["weights"]

    def policy(self, state: State) -> Policy:
        return self.agent.policy(state["agent"].detach())


def _group(state: State, name: str) -> tuple[Tensor, ...]:
    """The tensors name/0, name/1, ... of a state."""
    return tuple(state[f"{name}/{i}"] for i in range(sum(key.startswith(f"{name}/") for key in state)))


CERTAIN = 1 - 1e-6
"""largest answer that is told from a larger one when answers are softened"""


def lesson_tick(
    world: TorchWorld, student: Policy, teacher: Policy, soften: float, guided: Tensor, state: Any, obs: Tensor, memory: Any, ended: Tensor, error: Tensor, count: Tensor
) -> tuple[Any, Tensor, Any, Tensor, Tensor, Tensor]:  # fmt: skip
    """Both say what they would do, the student acts (in guided rows the teacher); squared errors add up over living rows."""
    answer, memory = student.act(obs, memory, 0)
    with torch.no_grad():
        advice, _ = teacher.act(obs, (), 0)
        advice = torch.tanh(soften * torch.atanh(advice.clamp(-CERTAIN, CERTAIN)))
        action = torch.where(guided[:, None], advice, answer.detach())
        alive = ~ended
        state, step = world.transition(state, action, 0)
    error = error + torch.where(alive, ((answer - advice) ** 2).mean(1), 0.0).sum()
    # whoever acted, the neurons hear next what was done
    hidden, cell, answered = memory
    memory = (hidden, cell, torch.where(guided[:, None], action, answered))
    return state, step.obs, memory, ended | step.terminated, error, count + alive.sum()
