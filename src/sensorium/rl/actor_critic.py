"""ActorCritic: soft actor-critic on vector observations, for training teachers."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sensorium.core.env import World, closing
from sensorium.core.policy import Policy
from sensorium.core.rollout import returns
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, Metrics, State, at_least, below_one
from sensorium.data.replay import Layout, Replay, collect
from sensorium.nets import descent
from sensorium.rl.acting import Acting, RandomTurns
from sensorium.rl.sac import SAC
from sensorium.rl.targets import Batch, n_step


@dataclass(frozen=True)
class ActorCritic:
    """Soft actor-critic (Haarnoja et al. 2018). A step is one episode in each world, with its updates."""

    world: World
    learner: SAC = SAC()
    rows: int = 4
    """parallel worlds"""
    batch: int = 128
    every: int = 1
    """agent steps between two updates"""
    random: int = 10_000
    """initial agent steps with uniform random actions"""
    random_turn_share: float = 0.0
    """share of turns with a random action held, so that the data cover states that a student may visit"""
    turn_steps: int = 15
    """steps per turn"""
    capacity: int = 1_000_000
    """transitions in the replay"""
    folder: Folder = Folder(".")
    """folder of the replay: the stage's own"""
    steps: int = 90
    """episodes in each world"""
    checkpoint_every: int = 5
    evaluate_every: int = 10
    """steps between two evaluations, without noise"""
    evaluation_episodes: int = 10
    """episodes per evaluation"""

    def __post_init__(self) -> None:
        at_least(
            self, steps=0, rows=1, batch=1, every=1, random=1, turn_steps=1, capacity=1, checkpoint_every=1, evaluate_every=1, evaluation_episodes=1
        )  # fmt: skip
        below_one(self, "random_turn_share")

    @property
    def learned(self) -> tuple[str, ...]:
        spec = self.world.spec
        return tuple(f"actor/{name}" for name in descent.names(self.learner.actor(spec.observation[0], spec.action, True)))

    @property
    def warmup_steps(self) -> int:
        """Number of steps before the time per step is typical: there are no updates in the first steps."""
        return 2 * -(-self.random // (self.rows * self.world.spec.horizon)) + 2

    @property
    def layout(self) -> Layout:
        """The replay's sizes, in the stage's folder."""
        spec = self.world.spec
        return Layout(Path(self.folder), self.capacity, spec.horizon, self.rows, self.checkpoint_every, spec.observation, spec.action)

    def init(self, seeds: Seeds) -> State:
        spec = self.world.spec
        learner = self.learner.init(spec.observation[0], spec.action, True, seeds)
        return {**learner, **self.layout.init(), "agent-steps": torch.zeros((), dtype=torch.int64)}

    def open(self, state: State) -> "Resources":
        return Resources(self, state)

    def step(self, state: State, live: "Resources", seeds: Seeds) -> Metrics:
        return live.episode(seeds)

    def policy(self, state: State) -> Policy:
        spec = self.world.spec
        actor = descent.loaded(self.learner.actor(spec.observation[0], spec.action, True), descent.part("actor", state))
        return Acting(torch.nn.Identity(), actor, self.learner, spec.action)


class Resources:
    """Open resources of the stage: learner, replay and worlds."""

    def __init__(self, settings: ActorCritic, state: State):
        self.settings, self.state, self.spec = settings, state, settings.world.spec
        self.device = state["agent-steps"].device
        self.learner = settings.learner.open(state, self.spec.observation[0], self.spec.action, True)
        self.replay = Replay(settings.layout, state)
        self.env = settings.world.open()

    def close(self) -> None:
        self.replay.close()
        self.env.close()

    def acting(self, noisy: bool) -> Acting:
        settings, steps = self.settings, int(self.state["agent-steps"])
        return Acting(
            torch.nn.Identity(), self.learner.actor, settings.learner, self.spec.action, noisy=noisy, step=steps, random=settings.random
        )

    def episode(self, seeds: Seeds) -> Metrics:
        """Play one episode in each world with updates between steps; returns the metrics."""
        settings, steps, logged = self.settings, self.state["agent-steps"], defaultdict(list)
        earned = torch.zeros(settings.rows, device=self.device)
        policy = RandomTurns(self.acting(True), self.spec.action, settings.random_turn_share, settings.turn_steps)
        for transition in collect(self.env, lambda: policy, seeds.rows("worlds", settings.rows, self.device), self.replay, steps):
            earned += transition.step.reward
            for number in range(int(self.state["critic/updates"]), int(steps - settings.random) // settings.every):
                for name, value in self.update(number, Seeds(seeds.root, seeds.stage, number)).items():
                    logged[name].append(value)
        means = {name: float(torch.stack(values).mean()) for name, values in logged.items()}
        metrics = {"score/mean": float(earned.mean()), "agent-steps": float(steps), **means}
        if seeds.step % settings.evaluate_every == 0:
            rows = seeds.rows("evaluation", settings.evaluation_episodes, self.device)
            with closing(settings.world) as env:
                metrics = {"score/agent": float(returns(env, self.acting(False), rows).mean()), **metrics}
        return metrics

    def update(self, number: int, seeds: Seeds) -> dict[str, Tensor]:
        """Update `number`, from uniformly sampled transitions; returns its metrics."""
        settings, learner = self.settings, self.settings.learner
        drawn = self.replay.draw(settings.batch, learner.returns, seeds("batch"), self.device)
        gains, discount = n_step(drawn.rewards, drawn.terminated, learner.discount)
        batch = Batch(drawn.obs, drawn.action, gains, discount, drawn.next_obs)
        shape = (settings.batch, self.spec.action)
        return self.learner.update(batch, number, lambda name: descent.noise(seeds(name), *shape, device=self.device), 0)
