"""Clone: behavioural cloning of a teacher from recorded demonstrations."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from sensorium.core import checkpoint
from sensorium.core.env import World, closing
from sensorium.core.errors import Usage
from sensorium.core.machine import compiled, product_type, products
from sensorium.core.policy import Policy
from sensorium.core.rollout import returns
from sensorium.core.seeding import Seeds
from sensorium.core.stage import NOWHERE, Folder, Metrics, State, at_least, below_one
from sensorium.data.demonstrations import Demonstrations, Window
from sensorium.imitation.demonstrate import verified_shards
from sensorium.imitation.equations import recognition
from sensorium.nets import descent
from sensorium.nets.agent import Clonable, SequenceAgent, SequenceStudent, Student, first_vector, start_from

MEMORY = ("hidden", "cell")
"""state names of the neurons' memory, kept from window to window for each row of a batch"""
OVER = 2**62
"""a position after the end of any episode"""


@dataclass
class Resources:
    """Open resources: the demonstrations, and `readout` for recurrent students or `outputs` for others, compiled on request."""

    demonstrations: Demonstrations
    readout: Any = None
    outputs: Any = None


@dataclass(frozen=True)
class Clone:
    """Behavioural cloning through time (Tang & Ha 2021, appendix): windows of recorded episodes, a batch of them an update.

    The student's input at each step includes the previously executed action. A recurrent student goes through whole episodes, window by
    window, with its memory carried over, so that it is trained on long histories; gradients are truncated at windows. The agent is the
    moving average of the weights.
    """

    @property
    def learned(self) -> tuple[str, ...]:
        return ("agent", *(("sensor-id/agent",) if self.sensor_id_weight else ()))

    world: World
    """the world in which the student is evaluated"""
    agent: Clonable
    demonstrations: Folder = Folder("../2-teach")
    start: Folder = NOWHERE
    """an earlier clone to start from; empty: random parameters"""
    loss: Literal["mse", "cross-entropy"] = "mse"
    """mean squared error of actions (of scores for discrete actions), or cross-entropy of the teacher's discrete action"""
    batch: int = 64
    """windows per update"""
    window: int = 100
    """steps per window, for back-propagation through time; 1 for an agent without memory"""
    restart_probability: float = 0.05
    """share of the rows of recurrent agents that start a new episode after a window, since sensors are identified in the first steps"""
    reshuffle: int = 0
    """steps after which the sensors of an episode change places while the neurons keep their memories, for recurrent agents; 0: never"""
    sensor_id_weight: float = 0.0
    """weight of an auxiliary loss for recurrent agents: cross-entropy of a linear sensor classifier on each neuron's hidden state"""
    updates: int = 100
    """updates per step of the stage"""
    learning_rate: float = 1e-3
    """initial learning rate of Adam"""
    half_life: int = 5000
    """updates in which the learning rate halves"""
    clip: float = 0.5
    """gradient clipping norm"""
    ema_decay: float = 0.998
    """decay per update of the moving average of the parameters"""
    action_noise: float = 0.03
    """standard deviation of the noise on the previous action in the student's input"""
    sensor_dropout: float = 0.0
    """share of the sensors that are left out of each batch at random; the memory of their neurons is unchanged"""
    init_scale: float = 1.0
    """scale of the random initial parameters, sd init_scale / sqrt(inputs)"""
    forget_bias: float = 2.0
    """initial bias of the forget gates of the neurons' LSTMs"""
    bfloat16: bool = True
    """whether to compute image layers in bfloat16 where the hardware supports it"""
    compile: bool = True
    """whether the student is compiled, of a recurrent one the layers after the neurons' LSTMs"""
    steps: int = 100
    checkpoint_every: int = 10
    evaluate_every: int = 10
    """steps between two evaluations of the student"""
    evaluation_episodes: int = 16
    """episodes per evaluation"""

    def __post_init__(self) -> None:
        at_least(
            self,
            steps=0,
            batch=1,
            window=1,
            updates=1,
            half_life=1,
            checkpoint_every=1,
            evaluate_every=1,
            evaluation_episodes=1,
            reshuffle=0,
        )
        if not isinstance(self.agent, Clonable):
            raise Usage(f"{type(self.agent).__name__} cannot be cloned: its output has no gradient")
        if self.sensor_id_weight < 0:
            raise Usage(f"sensor_id_weight cannot be {self.sensor_id_weight}; at least 0")
        if self.sensor_id_weight and not isinstance(self.agent, SequenceAgent):
            raise Usage("sensor_id_weight is for agents of sensory neurons: patches have no identity")
        if self.reshuffle and not isinstance(self.agent, SequenceAgent):
            raise Usage("reshuffle is for agents of sensory neurons, which have a memory for each sensor")
        below_one(self, "sensor_dropout")
        if not 0 <= self.restart_probability <= 1:
            raise Usage(f"restart_probability cannot be {self.restart_probability}; at least 0, at most 1")

    def init(self, seeds: Seeds) -> State:
        vector = (
            start_from(self.start, self.agent)
            if self.start
            else first_vector(self.agent, self.init_scale, self.forget_bias, seeds("parameters"))
        )
        state = descent.init_vector(vector)
        if isinstance(self.agent, SequenceAgent):
            (sensors,) = self.world.spec.observation
            state |= {name: torch.zeros(self.batch, sensors, self.agent.hidden) for name in MEMORY}
            # a position after the end of any episode makes every row start a new episode
            state |= {"episode": torch.zeros(self.batch, dtype=torch.int64), "place": torch.full((self.batch,), OVER)}
            if self.sensor_id_weight:
                earlier = checkpoint.restored(self.start)[1] if self.start else {}
                new, old = torch.zeros(sensors * (self.agent.hidden + 1)), earlier.get("sensor-id/agent")
                # a classifier for another number of sensors is not reused
                state |= descent.under("sensor-id", descent.init_vector(old if old is not None and len(old) == len(new) else new))
        return state

    def open(self, state: State) -> Resources:
        if not isinstance(self.agent, SequenceAgent):
            # observations of patches have their frames along the second axis
            shards = Demonstrations(verified_shards(self.demonstrations), self.world.spec.observation[1])
            return Resources(shards, outputs=compiled(outputs) if self.compile else outputs)
        demonstrations, (sensors,) = Demonstrations(verified_shards(self.demonstrations), 0), self.world.spec.observation
        if demonstrations.frames.shape[1] != sensors:
            raise Usage(
                f"{self.demonstrations} holds demonstrations of {demonstrations.frames.shape[1]} sensors; {self.world.spec.name} has {sensors}"
            )
        return Resources(demonstrations, compiled(readout) if self.compile else readout)

    def step(self, state: State, live: Resources, seeds: Seeds) -> Metrics:
        found = [self.update(state, live, Seeds(seeds.root, seeds.stage, (seeds.step - 1) * self.updates + k)) for k in range(self.updates)]
        metrics = {name: float(torch.stack([each[name] for each in found]).mean()) for name in found[0]}
        if seeds.step % self.evaluate_every == 0:
            rows, policy = seeds.rows("evaluation", self.evaluation_episodes, state["agent"].device), self.policy(state)
            with closing(self.world) as env:
                metrics = {"score/agent": float(returns(env, policy, rows).mean()), **metrics}
        return metrics

    def update(self, state: State, live: Resources, seeds: Seeds) -> dict[str, Tensor]:
        """One update on a batch of windows; returns the loss and, with the auxiliary loss, the accuracy of sensor identification."""
        learners, known = [state["weights"].detach().requires_grad_()], None
        student, device = self.agent.student(learners[0]), learners[0].device
        # observations, with sensor dropout, and previous actions
        drawn = self.drawn(state, live.demonstrations, seeds)
        present = self.present(drawn.obs.shape[2], seeds).to(device)
        obs = drawn.obs[:, :, present] if self.sensor_dropout else drawn.obs
        noise = self.action_noise * descent.noise(seeds("disturb"), *drawn.before.shape, device=device)
        # the previous action of the first step is that of an initial memory
        nothing = student.begin(torch.zeros(self.batch, dtype=torch.int64, device=device))[-1]
        before = torch.where(drawn.first[..., None], nothing, drawn.before + noise)
        # the student's outputs, and its sensor identification
        if isinstance(student, SequenceStudent):
            hidden, last = self.unrolled(student, obs, before, state["hidden"][:, present], state["cell"][:, present], seeds)
            state["hidden"][:, present], state["cell"][:, present] = (part.detach() for part in last)
            predicted = live.readout(student, obs.flatten(0, 1), hidden.flatten(0, 1))
            if self.sensor_id_weight:
                learners.append(state["sensor-id/weights"].detach().requires_grad_())
                known = recognition(hidden.flatten(0, 1), learners[1].view(drawn.obs.shape[2], -1))
        else:
            with products(device, product_type(device) if self.bfloat16 else torch.float32):
                predicted = live.outputs(student, obs.flatten(0, 1), before.flatten(0, 1)).float()
        # losses, averaged over live steps
        counts = drawn.live.flatten() / drawn.live.sum()
        loss = counts @ distance(predicted, drawn.teacher_actions.flatten(0, 1), self.loss)
        metrics = {"loss": loss.detach()}
        if known is not None:
            loss = loss - self.sensor_id_weight * (counts @ known.take_along_dim(present[None, :, None], 2)[..., 0]).mean()
            metrics["sensor_id_accuracy"] = (counts @ (known.argmax(2) == present).float()).mean()
        # gradients and update
        gradient, *others = torch.autograd.grad(loss, learners)
        settings = self.learning_rate, self.half_life, self.clip, self.ema_decay
        descent.update_vector(state, gradient, *settings)
        for other in others:
            layer = descent.part("sensor-id", state)
            descent.update_vector(layer, other, *settings)
            state |= descent.under("sensor-id", layer)
        return metrics

    def unrolled(
        self, student: SequenceStudent, obs: Float[Tensor, "steps rows N"], before: Float[Tensor, "steps rows a"],
        hidden: Float[Tensor, "rows N H"], cell: Float[Tensor, "rows N H"], seeds: Seeds,
    ) -> tuple[Float[Tensor, "steps rows N H"], tuple[Tensor, Tensor]]:  # fmt: skip
        """The neurons' hidden states after each step, and their last memory. Every `reshuffle` steps, from the first one on, the memories of
        each row are given to other sensors, which is what a reshuffle of the sensors does to them."""
        if not self.reshuffle:
            after, cell = student.unroll(obs, before, hidden, cell)
            return after, (after[-1], cell)
        generator, parts = torch.Generator().manual_seed(seeds("reshuffle")), []
        for first in range(0, len(obs), self.reshuffle):
            order = torch.rand(hidden.shape[:2], generator=generator).argsort(1)[..., None].to(obs.device)
            hidden, cell = (part.take_along_dim(order, 1) for part in (hidden, cell))
            after, cell = student.unroll(obs[first : first + self.reshuffle], before[first : first + self.reshuffle], hidden, cell)
            hidden = after[-1]
            parts.append(after)
        return torch.cat(parts), (hidden, cell)

    def drawn(self, state: State, demonstrations: Demonstrations, seeds: Seeds) -> Window:
        """A window for each row. Rows of recurrent agents continue their episode; after its end, or by `restart_probability`, they start
        another one with zero memory."""
        if not isinstance(self.agent, SequenceAgent):
            return demonstrations.draw(self.batch, self.window, seeds("windows"), state["agent"].device)
        random = np.random.Generator(np.random.Philox(seeds("windows")))
        which, place = (state[name].cpu().numpy() for name in ("episode", "place"))
        restart = (place >= demonstrations.lengths[which]) | (random.random(self.batch) < self.restart_probability)
        which = np.where(restart, random.integers(len(demonstrations.lengths), size=self.batch), which)
        place = np.where(restart, 0, place)
        device = state["place"].device
        state["episode"], state["place"] = torch.from_numpy(which).to(device), torch.from_numpy(place + self.window).to(device)
        for name in MEMORY:
            state[name] = state[name] * torch.from_numpy(~restart)[:, None, None].to(device)
        return demonstrations.window(which, place, self.window, device)

    def present(self, sensors: int, seeds: Seeds) -> Int[Tensor, "some"]:
        """Indices of the sensors in this batch, without those dropped."""
        order = torch.randperm(sensors, generator=torch.Generator().manual_seed(seeds("occlude")))
        return order[int(sensors * self.sensor_dropout) :].sort().values

    def policy(self, state: State) -> Policy:
        return self.agent.policy(state["agent"].detach())


def readout(student: SequenceStudent, obs: Float[Tensor, "some N"], hidden: Float[Tensor, "some N H"]) -> Float[Tensor, "some a"]:
    """The student's outputs for its neurons' hidden states; a function, so that it can be compiled."""
    return student.readout(obs, hidden)


def outputs(student: Student, obs: Float[Tensor, "some *seen"], before: Float[Tensor, "some a"]) -> Float[Tensor, "some a"]:
    """The outputs of a student without recurrence; a function, so that it can be compiled."""
    return student.predict(obs, student.with_action((), before))[0]


def distance(outputs: Float[Tensor, "some a"], teacher_actions: Float[Tensor, "some a"], loss: str) -> Float[Tensor, "some"]:
    """Loss of each row: mean squared error, or cross-entropy of the teacher's largest action."""
    return (
        ((outputs - teacher_actions) ** 2).mean(1) if loss == "mse" else cross_entropy(outputs, teacher_actions.argmax(1), reduction="none")
    )
