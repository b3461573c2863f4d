"""The off-policy loop: acting, replay, and updates of the exploration method, the critic and the actor."""

from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import Module

from sensorium.core.env import Env, WithStates, World, coordinates, frames_per_episode, frames_per_step
from sensorium.core.errors import Usage
from sensorium.core.machine import product_type, products
from sensorium.core.policy import Policy
from sensorium.core.rollout import returns
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, Metrics, State, at_least
from sensorium.data.replay import Drawn, Layout, Replay, collect
from sensorium.nets import augment, descent
from sensorium.rl.acting import Acting
from sensorium.rl.learner import Learner
from sensorium.rl.off_policy.explorer import Explorer
from sensorium.rl.sac import SAC
from sensorium.rl.targets import Batch, n_step

ENCODER = "representation/model/encoder."
"""prefix of the encoder's names in a state"""


@dataclass(frozen=True)
class Rewards:
    """Factors of the rewards, and whether the representation is trained."""

    task: float
    """factor of the task's reward"""
    intrinsic_reward: float
    """factor of the intrinsic reward"""
    represent: bool
    """whether the representation is trained"""


@dataclass(frozen=True)
class OffPolicy(ABC):
    """Base of the phases. A step is one episode of full length in each world, or as many shorter ones as have its steps, with updates.

    The world has continuous actions, and a vector or stacked frames to observe.
    """

    world: World
    learner: Learner = SAC()
    rows: int = 1
    """parallel worlds"""
    batch: int = 512
    every: int = 1
    """agent steps between two updates"""
    random: int = 1000
    """initial agent steps with uniform random actions"""
    warmup: int = 1000
    """agent steps before the first update"""
    capacity: int = 100_000
    """transitions in the replay"""
    evaluate_every: int = 100
    """steps between two evaluations, with the task's reward and without noise"""
    evaluation_episodes: int = 10
    folder: Folder = Folder(".")
    """folder of the replay: the stage's own"""
    bfloat16: bool = True
    """whether to compute matrix products in bfloat16 where the hardware supports it"""
    steps: int = 500
    """episodes of full length in each world"""
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        at_least(self, steps=0, rows=1, batch=1, every=1, warmup=self.rows * self.learner.returns, capacity=1)
        at_least(self, evaluate_every=1, evaluation_episodes=1, checkpoint_every=1)
        self.explorer.require(self.batch)
        if self.rewards.intrinsic_reward and self.learner.returns > 1:
            raise Usage(
                f"intrinsic_reward is a one-step reward; use learner.returns 1 instead of {self.learner.returns}, or intrinsic_reward 0"
            )

    @property
    @abstractmethod
    def explorer(self) -> Explorer:
        """The exploration method."""

    @property
    @abstractmethod
    def rewards(self) -> Rewards:
        """The rewards of this stage."""

    def for_frames(self, frames: int, evaluations: int) -> Self:
        """The stage for a number of environment frames and evaluations, with `capacity` at most the number of transitions."""
        steps = frames // (frames_per_episode(self.world) * self.rows)
        capacity = min(self.capacity, frames // frames_per_step(self.world))
        return replace(self, steps=steps, evaluate_every=max(steps // evaluations, 1), capacity=capacity)

    @property
    def warmup_steps(self) -> int:
        """Number of steps before the time per step is typical: there are few updates in the first steps."""
        return 2 * -(-self.warmup // (self.rows * self.world.spec.horizon)) + 2

    @property
    def pixels(self) -> bool:
        """Whether the agent observes frames instead of a vector."""
        return self.world.spec.kind == "frames"

    @property
    def width(self) -> int:
        """Width of a code."""
        return int(self.explorer.encoder(self.world.spec.observation).width)  # type: ignore[arg-type]

    @property
    def layout(self) -> Layout:
        """The replay's sizes, in the stage's folder."""
        spec = self.world.spec
        shape = (spec.observation[0] // spec.stack, *spec.observation[1:])
        return Layout(
            Path(self.folder),
            self.capacity,
            spec.horizon,
            self.rows,
            self.checkpoint_every,
            shape,
            spec.action,
            spec.stack,
            not spec.fixed_length,
        )

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """State names of the encoder."""
        encoder = self.explorer.encoder(self.world.spec.observation)
        return tuple(f"{ENCODER}{name}" for name, _ in encoder.named_parameters())

    @property
    def actor_names(self) -> tuple[str, ...]:
        """State names of the actor."""
        actor = self.learner.actor(self.width, self.world.spec.action, not self.pixels)
        return tuple(f"actor/{name}" for name in descent.names(actor))

    @property
    def learned(self) -> tuple[str, ...]:
        """State names of encoder and actor."""
        return (*self.encoder_names, *self.actor_names)

    def init(self, seeds: Seeds) -> State:
        spec = self.world.spec
        if spec.discrete or spec.kind not in ("vector", "frames"):
            kind = f"{'a choice of' if spec.discrete else 'continuous'} {spec.action} actions"
            raise Usage(f"{spec.name} has {kind} and observes {spec.kind}; allowed: continuous actions, a vector or stacked frames")
        return {
            **self.explorer.init(spec.observation, seeds), **self.learner.init(self.width, spec.action, not self.pixels, seeds), **self.layout.init(),
            "agent-steps": torch.zeros((), dtype=torch.int64), "critic-updates": torch.zeros((), dtype=torch.int64),
        }  # fmt: skip

    def open(self, state: State) -> "Resources":
        return Resources(self, state)

    def step(self, state: State, live: "Resources", seeds: Seeds) -> Metrics:
        return live.episode(seeds)[0] | live.evaluation(seeds)

    def encoder(self, state: State) -> Module:
        """The trained encoder, in evaluation mode."""
        encoder = self.explorer.encoder(self.world.spec.observation)
        part = {f"model/{name}": state[f"{ENCODER}{name}"] for name, _ in encoder.named_parameters()}
        return descent.loaded(encoder, part).eval()

    def policy(self, state: State) -> Policy:
        actor = self.learner.actor(self.width, self.world.spec.action, not self.pixels)
        actor, device = descent.loaded(actor, descent.part("actor", state)), next(iter(state.values())).device
        dtype = product_type(device) if self.bfloat16 else torch.float32
        return Acting(self.encoder(state), actor, self.learner, self.world.spec.action, dtype)


class Resources:
    """Open resources of a stage: exploration method, learner, replay and worlds."""

    def __init__(self, settings: OffPolicy, state: State):
        self.settings, self.state, self.rewards = settings, state, settings.rewards
        self.spec = settings.world.spec
        self.device = state["agent-steps"].device
        self.dtype = product_type(self.device) if settings.bfloat16 else torch.float32
        self.exploration = settings.explorer.open(state, self.spec.observation, self.rewards.represent, self.dtype)
        self.learner = settings.learner.open(state, settings.width, self.spec.action, not settings.pixels)
        self.replay = Replay(settings.layout, state)
        self.worlds: dict[str, Env] = {}

    def world(self, name: str, kind: World | None = None) -> Env:
        """A batch of worlds, opened once per `name`."""
        if name not in self.worlds:
            self.worlds[name] = (kind or self.settings.world).open()
        return self.worlds[name]

    def close(self) -> None:
        self.replay.close()
        for world in self.worlds.values():
            world.close()

    def policy(self, **how: Any) -> Policy:
        return Acting(
            self.exploration.encoder, self.learner.actor, self.settings.learner, self.spec.action, self.dtype, **how
        )  # fmt: skip

    def episode(self, seeds: Seeds) -> tuple[Metrics, list[Tensor]]:
        """Play the episodes of a step with updates between steps; returns the metrics, and the visited states where coverage is measured."""
        settings, state, logged = self.settings, self.state, defaultdict(list)
        rows, count = seeds.rows("worlds", settings.rows, self.device), state["agent-steps"]
        self.exploration.begin()
        env, earned, states, finished = self.world("learning"), torch.zeros(settings.rows), list[Tensor](), list[Tensor]()
        measured = bool(coordinates(settings.world))

        def policy() -> Policy:
            return self.policy(noisy=True, step=int(count), random=settings.random)

        for transition in collect(env, policy, rows, self.replay, count):
            step, live = transition.step, transition.live
            earned = (torch.zeros_like(step.reward) if transition.t == 0 else earned) + step.reward
            finished.append(earned[live & (step.terminated | step.truncated)])
            if measured and isinstance(env, WithStates):
                states.append(env.states()[live.cpu()])
            for number in range(self.due(), int(count - settings.warmup) // settings.every):
                for name, value in self.update(number, Seeds(seeds.root, seeds.stage, number)).items():
                    logged[name].append(value)
        frames = int(count) * frames_per_step(settings.world)
        means = {name: float(torch.stack(values).mean()) for name, values in logged.items()}
        # episodes that the end of the step has cut are not counted
        score = float(torch.cat(finished).mean())
        return {"score/mean": score, "frames": float(frames), **means, **self.exploration.summary(means)}, states

    def due(self) -> int:
        """The number of the next update."""
        return int(self.state["critic-updates"])

    def update(self, number: int, seeds: Seeds) -> dict[str, Tensor]:
        """Update `number` of the representation, the critic and the actor from one batch; returns its metrics."""
        settings, exploration, metrics = self.settings, self.exploration, dict[str, Tensor]()
        drawn = self.replay.draw(settings.batch, settings.learner.returns, seeds("batch"), self.device)
        obs, following, next_obs = self.shifted(drawn, seeds)
        # representation: update from observations
        if self.rewards.represent:
            metrics |= exploration.learn(obs, following, number)
        # encode: codes for critic and actor, detached unless the critic trains the encoder
        with products(self.device, self.dtype), torch.no_grad():
            next_code = exploration.encoder(next_obs)
            with torch.set_grad_enabled(bool(exploration.by_critic)):
                code = exploration.encoder(obs)
        # reward: the task's and the intrinsic one
        gains, discount = n_step(drawn.rewards, drawn.terminated, settings.learner.discount)
        reward = self.rewards.task * gains
        if self.rewards.intrinsic_reward:
            intrinsic_reward = exploration.intrinsic_reward(obs, next_code, seeds)
            reward = reward + self.rewards.intrinsic_reward * intrinsic_reward
            metrics["intrinsic_reward/mean"] = intrinsic_reward.mean()
        # learner: critic and actor
        batch = Batch(code, drawn.action, reward, discount, next_code)
        shape = (settings.batch, self.spec.action)
        with products(self.device, self.dtype):
            metrics |= self.learner.update(
                batch, number, lambda name: descent.noise(seeds(name), *shape, device=self.device), int(self.state["agent-steps"]),
                exploration.by_critic,
            )  # fmt: skip
        if exploration.by_critic:
            self.state["by-critic/updates"] += 1
        self.state["critic-updates"] += 1
        return metrics

    def shifted(self, drawn: Drawn, seeds: Seeds) -> tuple[Tensor, Tensor, Tensor]:
        """Observations, those one step later and those n steps later, with random shifts for pixels; states are unchanged."""
        if self.spec.kind != "frames":
            return drawn.obs, drawn.following, drawn.next_obs
        rows = len(drawn.obs)
        here, there = (augment.shifts(seeds(name), rows, self.device) for name in ("shift", "next shift"))
        next_obs = augment.random_shift(drawn.next_obs, there)
        paired = drawn.following is drawn.next_obs or not self.settings.explorer.consecutive
        return augment.random_shift(drawn.obs, here), next_obs if paired else augment.random_shift(drawn.following, there), next_obs

    def evaluation(self, seeds: Seeds) -> Metrics:
        """Every `evaluate_every` steps, the mean return without noise on separate episodes; else {}."""
        settings = self.settings
        if seeds.step % settings.evaluate_every:
            return {}
        rows = seeds.rows("evaluation", settings.evaluation_episodes, self.device)
        return {"evaluation/mean": float(returns(self.world("evaluation"), self.policy(), rows).mean())}
