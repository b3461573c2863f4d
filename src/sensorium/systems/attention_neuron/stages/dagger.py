"""Dagger: teach an agent what another one does, while it acts itself: for worlds in torch."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import TorchWorld
from sensorium.core.errors import Usage
from sensorium.core.machine import compiled
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import Folder, Metrics, State, at_least
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.toy import Toy
from sensorium.nets import descent
from sensorium.systems.attention_neuron.model import SensoryAgent
from sensorium.systems.attention_neuron.stages import flight
from sensorium.systems.attention_neuron.stages.evolve import first_vector


@dataclass
class Session:
    """What cloning has open: the teacher, and one compiled step of student, teacher and world."""

    teacher: Policy
    tick: Any


@dataclass(frozen=True)
class Dagger:
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
        obs = self.world.observe(self.world.initial(start))
        # the first step shows how large the memories are
        student, teacher = self.agent.policy(vector), checkpoint.policy(self.teacher)
        memory = student.act(obs, student.begin(start), 0)[1]
        return {**descent.taught(vector), **flight.begin(self.world, start, memory=memory, teaching=knowing(teacher, obs, start))}

    def open(self, state: State) -> Session:
        teacher = checkpoint.policy(self.teacher, str(state["agent"].device))
        return Session(teacher, compiled(lesson_tick) if self.compile else lesson_tick)

    def step(self, state: State, live: Session, seeds: Seeds) -> Metrics:
        loss = 0.0
        for k in range(self.windows):
            loss += self.update(state, live, seeds.rows(f"worlds {k}", self.rows, state["agent"].device)) / self.windows
        metrics = {"loss": loss}
        if seeds.step % self.evaluate_every == 0 or seeds.step == 1:
            rows = row_seeds(seeds("evaluation"), self.evaluation_episodes, state["agent"].device)
            score = play(self.world.open(), self.policy(state), rows, compile=False).returns.mean()
            metrics = {"score/agent": float(score), **metrics}
        return metrics

    def update(self, state: State, live: Session, fresh: Tensor) -> float:
        """One window of acting and asking, one step of Adam; returns the mean squared error of the actions."""
        weights = state["weights"].requires_grad_()
        student = self.agent.policy(weights)
        world, memory, teaching = (flight.group(state, name) for name in ("world", "memory", "teaching"))
        obs, ended = self.world.observe(world), torch.zeros_like(state["ages"], dtype=torch.bool)
        guided = torch.arange(self.rows, device=weights.device) < round(self.guided * self.rows)
        error = count = torch.zeros((), device=weights.device)
        # act and ask
        for _ in range(self.window):
            world, obs, memory, teaching, ended, error, count = live.tick(
                self.world, student, live.teacher, self.soften, guided, world, obs, memory, teaching, ended, error, count
            )
        loss = error / count
        (gradient,) = torch.autograd.grad(loss, weights)
        # learn
        descent.teach(state, gradient, self.learning_rate, self.half_life, self.clip, self.average)
        flight.land(state, self.world, fresh, self.window, ended, world, memory=memory, teaching=teaching)
        return float(loss.detach())

    def policy(self, state: State) -> Policy:
        return self.agent.policy(state["agent"].detach())


CERTAIN = 1 - 1e-6
"""largest answer that is told from a larger one when answers are softened"""


def knowing(teacher: Policy, obs: Tensor, seeds: Tensor) -> tuple[Tensor, ...]:
    """A teacher's memory after its first observation; one sentence where it is none that can be kept beside a student's."""
    memory = teacher.act(obs, teacher.begin(seeds), 0)[1]
    if memory != () and not hasattr(teacher, "told"):
        raise Usage(
            "this teacher's memory cannot be told what its student did in its place; one without a memory, or a SensoryAgent, is needed"
        )
    return memory


def lesson_tick(
    world: TorchWorld, student: Any, teacher: Any, soften: float, guided: Tensor, state: Any, obs: Tensor, memory: Any, teaching: Any, ended: Tensor,
    error: Tensor, count: Tensor,
) -> tuple[Any, Tensor, Any, Any, Tensor, Tensor, Tensor]:  # fmt: skip
    """Both say what they would do, the student acts (in guided rows the teacher); squared errors add up over living rows."""
    answer, memory = student.say(obs, memory)
    with torch.no_grad():
        advice, teaching = teacher.act(obs, teaching, 0)
        advice = torch.tanh(soften * torch.atanh(advice.clamp(-CERTAIN, CERTAIN)))
        alive = ~ended
        state, step = world.transition(state, torch.where(guided[:, None], advice, answer.detach()), 0)
    error = error + torch.where(alive, ((answer - advice) ** 2).mean(1), 0.0).sum()
    # whoever acted, both hear next what was done
    done = torch.where(guided[:, None], advice, answer)
    teaching = teacher.told(teaching, done.detach()) if teaching != () else teaching
    return state, step.obs, student.told(memory, done), teaching, ended | step.terminated, error, count + alive.sum()
