"""Clone: teach an agent what another one does, from lessons that were recorded."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sensorium.core.env import closing
from sensorium.core.errors import Usage
from sensorium.core.machine import compiled, product_type, products
from sensorium.core.policy import Policy
from sensorium.core.rollout import returns
from sensorium.core.seeding import Seeds
from sensorium.core.stage import NOWHERE, Folder, Metrics, State, at_least
from sensorium.data.lessons import Lessons, Window
from sensorium.envs.ant import Ant
from sensorium.envs.eyes import STACK
from sensorium.nets import descent, whitening
from sensorium.systems.attention_neuron.model import UNTAUGHT, PuzzleAgent, SensoryAgent, VotingAgent
from sensorium.systems.attention_neuron.stages.evolve import first_vector, start_from
from sensorium.systems.attention_neuron.stages.teach import World, whole


@dataclass
class Lectern:
    """What cloning has open: the lessons, and one step through them."""

    lessons: Lessons
    tick: Any


@dataclass(frozen=True)
class Clone:
    """Behavioural cloning through time (Tang & Ha 2021, appendix): windows of recorded episodes, each an update.

    The student hears before each step what was really done before it. The agent is the running average of what gradient steps leave behind.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        return ("agent",)

    world: World = Ant()
    """where the student is judged"""
    agent: SensoryAgent | PuzzleAgent = SensoryAgent(actions=8, code=32, layers=(32,), bias=True, scale=True)
    lessons: Folder = Folder("../2-teach")
    start: Folder = NOWHERE
    """an earlier clone to go on from; empty: begin anew"""
    loss: Literal["mse", "cross-entropy"] = "mse"
    """mean square between what the student says and the teacher's answer (for buttons how much each is wanted); or cross-entropy of its button"""
    batch: int = 64
    """windows in an update"""
    window: int = 100
    """steps of a window, through which gradients flow back; 1 for an agent without memory"""
    opening: float = 0.0
    """share of the windows that begin where an episode begins, where a student finds out what its sensors are"""
    updates: int = 100
    """updates in a step of the stage"""
    whiten: bool = False
    """whether steps are taken in whitened space (`nets/whitening.py`), rather than by Adam: for an agent of a few thousand parameters"""
    learning_rate: float = 1e-3
    """at the beginning"""
    half_life: int = 5000
    """updates in which the learning rate halves"""
    clip: float = 0.5
    """largest norm of the gradient, for Adam"""
    quantile: float = 0.9
    """of the lengths of the windows' gradients, longer ones are shortened to it, in whitened space"""
    measure_every: int = 5
    """updates from one measurement of the gradients' spread to the next, in whitened space"""
    average: float = 0.998
    """share of itself that the running average of the parameters keeps at an update"""
    disturb: float = 0.03
    """standard deviation of what is added to the action that the student hears"""
    occlude: float = 0.0
    """share of the sensors that each batch goes without"""
    spread: float = 1.0
    """of the random first parameters, sd spread / sqrt(inputs)"""
    remember: float = 2.0
    """first bias of the forget gates of the neurons' LSTMs"""
    half: bool = True
    """whether pictures are multiplied in bfloat16 where this machine has it built in"""
    compile: bool = True
    """whether a step through vectors of observations is compiled"""
    steps: int = 100
    checkpoint_every: int = 10
    evaluate_every: int = 10
    """steps between two evaluations of the student"""
    evaluation_episodes: int = 16
    """episodes of such an evaluation"""

    def __post_init__(self) -> None:
        at_least(
            self, steps=0, batch=1, window=1, updates=1, half_life=1, measure_every=1, checkpoint_every=1, evaluate_every=1, evaluation_episodes=1
        )  # fmt: skip
        if isinstance(self.agent, VotingAgent):
            raise Usage(UNTAUGHT)
        if self.whiten and not isinstance(self.agent, SensoryAgent):
            raise Usage("whiten is for agents without vision: a matrix as wide as the agent has parameters stays in memory")
        if self.whiten and self.updates < 2:
            raise Usage("updates cannot be 1 in whitened space; at least 2, for the first gradients are only looked at")
        if not 0 <= self.occlude < 1:
            raise Usage(f"occlude cannot be {self.occlude}; at least 0, less than 1")
        if not 0 <= self.opening <= 1:
            raise Usage(f"opening cannot be {self.opening}; at least 0, at most 1")
        if not 0 < self.quantile <= 1:
            raise Usage(f"quantile cannot be {self.quantile}; above 0, at most 1")

    def init(self, seeds: Seeds) -> State:
        begun = (
            start_from(self.start, self.agent) if self.start else first_vector(self.agent, self.spread, self.remember, seeds("parameters"))
        )
        return whitening.taught(begun) if self.whiten else descent.taught(begun)

    def open(self, state: State) -> Lectern:
        lessons = Lessons(whole(self.lessons), STACK if isinstance(self.agent, PuzzleAgent) else 0)
        recurrent = isinstance(self.agent, SensoryAgent)
        return Lectern(lessons, compiled(moment) if self.compile and recurrent else moment)

    def step(self, state: State, live: Lectern, seeds: Seeds) -> Metrics:
        # whitening needs to have seen some gradients first
        look, losses, whiten = min(20, self.updates // 2) if seeds.step == 1 else 0, [], None
        for k in range(self.updates):
            if self.whiten and k == look:
                whiten = whitening.whitener(state)
            losses.append(self.update(state, live, Seeds(seeds.root, seeds.stage, (seeds.step - 1) * self.updates + k), whiten))
        metrics = {"loss": float(torch.stack(losses).mean())}
        if seeds.step % self.evaluate_every == 0:
            rows, policy = seeds.rows("evaluation", self.evaluation_episodes, state["agent"].device), self.policy(state)
            with closing(self.world) as env:
                metrics = {"score/agent": float(returns(env, policy, rows).mean()), **metrics}
        return metrics

    def update(self, state: State, live: Lectern, seeds: Seeds, whiten: Tensor | None = None) -> Tensor:
        """One batch of windows, one step; returns the loss."""
        weights = state["weights"].detach()
        # in whitened space each window has parameters of its own, all the same, so that its gradient is its own
        weights = (weights.expand(self.batch, -1).clone() if self.whiten else weights).requires_grad_()
        student = self.agent.policy(weights)
        drawn = self.occluded(live.lessons.draw(self.batch, self.window, seeds("windows"), weights.device, self.opening), seeds)
        memory = student.begin(torch.zeros(self.batch, dtype=torch.int64, device=weights.device))
        noise = self.disturb * descent.noise(seeds("disturb"), *drawn.before.shape, device=weights.device)
        # before the first step something counts as done: what a memory begins with
        before = torch.where(drawn.first[..., None], memory[-1], drawn.before + noise)
        error = torch.zeros((), device=weights.device)
        dtype = product_type(weights.device) if self.half and isinstance(self.agent, PuzzleAgent) else torch.float32
        with products(weights.device, dtype):
            for t in range(self.window):
                # in the first step of a memory its size becomes known
                tick = live.tick if t else moment
                memory, error = tick(student, memory, drawn.obs[t], before[t], drawn.advice[t], drawn.live[t], error, self.loss)
        loss = error / drawn.live.sum()
        (gradient,) = torch.autograd.grad(loss, weights)
        if not self.whiten:
            descent.teach(state, gradient, self.learning_rate, self.half_life, self.clip, self.average)
            return loss.detach()
        gradients = whitening.limited(self.batch * gradient, self.quantile)
        if whiten is None or seeds.step % self.measure_every == 0:
            whitening.measure(state, gradients)
        if whiten is not None:
            whitening.teach(state, gradients, whiten, self.learning_rate, self.half_life, self.average)
        return loss.detach()

    def occluded(self, drawn: Window, seeds: Seeds) -> Window:
        """The windows without some sensors, the same ones in the whole batch."""
        sensors = drawn.obs.shape[2]
        gone = int(sensors * self.occlude)
        if not gone:
            return drawn
        order = torch.randperm(sensors, generator=torch.Generator().manual_seed(seeds("occlude")))
        return drawn._replace(obs=drawn.obs[:, :, order[gone:].sort().values.to(drawn.obs.device)])

    def policy(self, state: State) -> Policy:
        return self.agent.policy(state["agent"].detach())


def moment(
    student: Any, memory: Any, obs: Tensor, before: Tensor, advice: Tensor, live: Tensor, error: Tensor, loss: str
) -> tuple[Any, Tensor]:
    """The student is told what was done, sees, and says what it would do; errors add up over living rows."""
    said, memory = student.say(obs, student.told(memory, before))
    each = ((said.float() - advice) ** 2).mean(1) if loss == "mse" else cross_entropy(said.float(), advice.argmax(1), reduction="none")
    return memory, error + torch.where(live, each, 0.0).sum()
