"""What the three stages share: acting, remembering, and the update of Proto-RL's algorithm box (P appendix, algorithm 1)."""

from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.machine import product_type, products
from sensorium.core.policy import Policy
from sensorium.core.rollout import returns
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Folder, Metrics, State, at_least
from sensorium.data.replay import Drawn, Layout, Replay, lived
from sensorium.envs.control import FRAMES, Control, ControlEnv
from sensorium.nets import augment, descent
from sensorium.nets.mlp import orthogonal
from sensorium.rl.acting import Acting
from sensorium.rl.ddpg import DDPG
from sensorium.rl.sac import SAC
from sensorium.rl.targets import Batch, follow, n_step
from sensorium.systems.proto_rl import equations as eq
from sensorium.systems.proto_rl.model import Proto, unit


@dataclass(frozen=True)
class Rewards:
    """What counts as reward, and what is learned from the prototypes."""

    task: float
    """factor of the task's reward"""
    intrinsic_reward: float
    """factor of the distance to the candidates"""
    represent: bool
    """whether the representation is trained"""


@dataclass(frozen=True)
class Learning(ABC):
    """The fields that all three stages have, and what follows from them."""

    world: Control
    proto: Proto = Proto()
    learner: SAC | DDPG = SAC()
    rows: int = 1
    """worlds that are lived in side by side"""
    batch: int = 512
    every: int = 1
    """agent steps between two updates"""
    random: int = 1000
    """agent steps, at first, of random actions"""
    warmup: int = 1000
    """agent steps before the first update"""
    capacity: int = 100_000
    """transitions that replay holds"""
    evaluate_every: int = 100
    """steps between two evaluations, by the task's reward and without noise"""
    evaluation_episodes: int = 10
    folder: Folder = Folder(".")
    """where replay lies: the stage's own folder"""
    bfloat16: bool = True
    """whether products run in bfloat16 where this machine has it built in"""
    steps: int = 500
    """episodes of every world"""
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        at_least(self, steps=0, rows=1, batch=1, every=1, warmup=self.rows * self.learner.returns, capacity=1)
        at_least(self, evaluate_every=1, evaluation_episodes=1, checkpoint_every=1)
        if self.proto.standardise and self.batch < 2:
            raise Usage(
                "codes are standardised over a batch while the representation learns, and a batch of 1 has nothing to compare; give batch at least 2"
            )
        if self.rewards.intrinsic_reward and self.learner.returns > 1:
            raise Usage(
                f"intrinsic_reward is the reward of one step; give learner.returns 1 instead of {self.learner.returns}, or intrinsic_reward 0"
            )

    @property
    @abstractmethod
    def rewards(self) -> Rewards:
        """What counts in this stage."""

    @property
    def warmup_steps(self) -> int:
        """Steps after which one knows how long a step takes: in the first ones little is learned."""
        return 2 * -(-self.warmup // (self.rows * self.world.spec.horizon)) + 2

    @property
    def pixels(self) -> bool:
        return self.world.pixels

    @property
    def width(self) -> int:
        """Numbers of a code."""
        return self.proto.encoder(self.world.spec.observation).width

    @property
    def layout(self) -> Layout:
        """How the replay lies in the stage's folder."""
        spec = self.world.spec
        shape = (spec.observation[0] // FRAMES, *spec.observation[1:]) if self.pixels else spec.observation
        stack = FRAMES if self.pixels else 1
        return Layout(Path(self.folder), self.capacity, spec.horizon, self.rows, self.checkpoint_every, shape, spec.action, stack)

    @property
    def learned(self) -> tuple[str, ...]:
        """Names in the state that act."""
        seen = self.proto.representation(self.world.spec.observation)
        actor = self.learner.actor(self.width, self.world.spec.action, not self.pixels)
        sees = (name for name in descent.names(seen) if name.startswith("model/encoder."))
        return (*(f"representation/{name}" for name in sees), *(f"actor/{name}" for name in descent.names(actor)))

    def init(self, seeds: Seeds) -> State:
        spec, proto = self.world.spec, self.proto
        seen = proto.representation(spec.observation)
        orthogonal(seen, seeds("representation"))
        state = {
            **descent.under("representation", descent.first(seen)), **self.learner.init(self.width, spec.action, not self.pixels, seeds), **self.layout.init(),
            "agent-steps": torch.zeros((), dtype=torch.int64), "critic-updates": torch.zeros((), dtype=torch.int64),
        }  # fmt: skip
        if proto.by_critic:
            moments = descent.first(seen.encoder)
            state |= descent.under("by-critic", {name: tensor for name, tensor in moments.items() if not name.startswith("model/")})
        if proto.prototypes:
            unit(state["representation/model/prototypes"])
            state |= descent.under("target", descent.parameters(seen.target()))
            state |= {"queue": torch.zeros(proto.queue, proto.projection), "pointer": torch.zeros((), dtype=torch.int64)}
        return state

    def open(self, state: State) -> "Life":
        return Life(self, state)

    def step(self, state: State, live: "Life", seeds: Seeds) -> Metrics:
        return live.episode(seeds)[0] | live.evaluation(seeds)

    def encoder(self, state: State) -> Module:
        """f as it was learned."""
        encoder = self.proto.encoder(self.world.spec.observation)
        part = {f"model/{name}": state[f"representation/model/encoder.{name}"] for name, _ in encoder.named_parameters()}
        return descent.loaded(encoder, part).eval()

    def policy(self, state: State) -> Policy:
        actor = self.learner.actor(self.width, self.world.spec.action, not self.pixels)
        actor, device = descent.loaded(actor, descent.part("actor", state)), next(iter(state.values())).device
        dtype = product_type(device) if self.bfloat16 else torch.float32
        return Acting(self.encoder(state), actor, self.learner, self.world.spec.action, dtype)


class Life:
    """What a stage has open while it learns."""

    def __init__(self, settings: Learning, state: State):
        self.settings, self.state, self.rewards = settings, state, settings.rewards
        self.spec = settings.world.spec
        self.device = state["agent-steps"].device
        self.dtype = product_type(self.device) if settings.bfloat16 else torch.float32
        proto, part = settings.proto, descent.part("representation", state)
        self.seen = descent.loaded(proto.representation(self.spec.observation), part)
        # states are their own codes: there is nothing to train on the way to them
        trained = self.rewards.represent and proto.by_critic and any(tensor.requires_grad for tensor in self.seen.encoder.parameters())
        self.by_critic = (descent.optimizer(self.seen.encoder, descent.part("by-critic", state), proto.learning_rate),) if trained else ()
        if proto.prototypes:
            self.optimizer = descent.optimizer(self.seen, part, proto.learning_rate)
            target = proto.representation(self.spec.observation).target()
            self.target = descent.loaded(target, descent.part("target", state)).requires_grad_(False)
        self.learner = settings.learner.open(state, settings.width, self.spec.action, not settings.pixels)
        self.replay = Replay(settings.layout, state)
        self.worlds: dict[str, ControlEnv] = {}
        self.chosen = torch.zeros(proto.prototypes, dtype=torch.bool, device=self.device)

    def world(self, name: str, kind: Control | None = None) -> ControlEnv:
        """A batch of worlds that stays open for one purpose."""
        if name not in self.worlds:
            self.worlds[name] = (kind or self.settings.world).open()
        return self.worlds[name]

    def close(self) -> None:
        self.replay.close()
        for world in self.worlds.values():
            world.close()

    def policy(self, **how: Any) -> Policy:
        return Acting(
            self.seen.encoder, self.learner.actor, self.settings.learner, self.spec.action, self.dtype, **how
        )  # fmt: skip

    def episode(self, seeds: Seeds) -> tuple[Metrics, list[Tensor]]:
        """Play an episode in every world and learn on the way; what came of it, and the states that were passed through."""
        settings, state, told = self.settings, self.state, defaultdict(list)
        rows, start = seeds.rows("worlds", settings.rows, self.device), int(state["agent-steps"])
        self.chosen.zero_()
        env, earned, states = self.world("learning"), torch.zeros(settings.rows, device=self.device), []
        for moment in lived(env, self.policy(noisy=True, step=start, random=settings.random), rows, self.replay, state["agent-steps"]):
            earned += moment.step.reward
            if env.control_pool is not None:
                states.append(env.states())
            for number in range(self.due(), int(state["agent-steps"] - settings.warmup) // settings.every):
                for name, value in self.update(number, Seeds(seeds.root, seeds.stage, number)).items():
                    told[name].append(value)
        frames = int(state["agent-steps"]) * settings.world.repeat
        means = {name: float(torch.stack(values).mean()) for name, values in told.items()}
        if "prototypes/used" in means:
            means["prototypes/dead"] = float((~self.chosen).sum())
        return {"score/mean": float(earned.mean()), "frames": float(frames), **means}, states

    def due(self) -> int:
        """The number of the next update."""
        return int(self.state["critic-updates"])

    def update(self, number: int, seeds: Seeds) -> dict[str, Tensor]:
        """Update `number`: what the representation, the critic and the actor learn from one batch."""
        settings, proto, told = self.settings, self.settings.proto, dict[str, Tensor]()
        drawn = self.replay.draw(settings.batch, settings.learner.returns, seeds("batch"), self.device)
        obs, following, next_obs = self.shifted(drawn, seeds)
        # represent: prototypes of what follows, predicted from what is seen
        if self.rewards.represent and proto.prototypes and number % proto.every == 0:
            unit(self.seen.prototypes.data)
            loss, scores = proto.loss(self.seen, self.target, obs, following, self.dtype)
            descent.descend(loss, self.optimizer)
            follow(self.target.parameters(), self.seen.target().parameters(), proto.tau)
            self.state["representation/updates"] += 1
            self.chosen[scores.argmax(1)] = True
            told |= {"loss/representation": loss.detach(), "prototypes/used": eq.usage(scores, proto.temperature)}
        # encode: codes are what critic and actor see; their gradient ends there, unless the critic is to train the encoder
        with products(self.device, self.dtype), torch.no_grad():
            next_code = self.seen.encoder(next_obs)
            with torch.set_grad_enabled(bool(self.by_critic)):
                code = self.seen.encoder(obs)
        # reward: what the task pays, and what is far from all that was seen
        gains, discount = n_step(drawn.rewards, drawn.terminated, settings.learner.discount)
        reward = self.rewards.task * gains
        if self.rewards.intrinsic_reward:
            intrinsic_reward = self.intrinsic_reward(next_code, seeds)
            reward = reward + self.rewards.intrinsic_reward * intrinsic_reward
            told["intrinsic_reward/mean"] = intrinsic_reward.mean()
        # act: critic and actor
        batch = Batch(code, drawn.action, reward, discount, next_code)
        shape = (settings.batch, self.spec.action)
        with products(self.device, self.dtype):
            told |= self.learner.update(
                batch, number, lambda name: descent.noise(seeds(name), *shape, device=self.device), int(self.state["agent-steps"]),
                self.by_critic,
            )  # fmt: skip
        if self.by_critic:
            self.state["by-critic/updates"] += 1
        self.state["critic-updates"] += 1
        return told

    @torch.no_grad()
    def intrinsic_reward(self, code: Tensor, seeds: Seeds) -> Tensor:
        """The particle reward of codes, after the batch's candidates have joined the queue (P section 3.2)."""
        state, proto = self.state, self.settings.proto
        unit(self.seen.prototypes.data)
        with products(self.device, self.dtype):
            z = self.seen.project(code)
        uniforms = torch.rand(proto.prototypes, generator=torch.Generator().manual_seed(seeds("candidates"))).to(self.device)
        chosen = proto.sample_candidates(z, self.seen.prototypes, uniforms)
        state["queue"], state["pointer"] = eq.enqueue(state["queue"], state["pointer"], chosen, frozen_pointer=proto.frozen_pointer)
        return eq.particle_reward(z, state["queue"], proto.nearest)

    def shifted(self, drawn: Drawn, seeds: Seeds) -> tuple[Tensor, Tensor, Tensor]:
        """Observations, those one step and those n steps after them, each moved by a few pixels of its own; states as they are."""
        if not self.settings.pixels:
            return drawn.obs, drawn.following, drawn.next_obs
        rows = len(drawn.obs)
        here, there = (augment.shifts(seeds(name), rows, self.device) for name in ("shift", "next shift"))
        next_obs = augment.random_shift(drawn.next_obs, there)
        paired = drawn.following is drawn.next_obs or not self.settings.proto.prototypes
        return augment.random_shift(drawn.obs, here), next_obs if paired else augment.random_shift(drawn.following, there), next_obs

    def evaluation(self, seeds: Seeds) -> Metrics:
        """The agent on episodes of its own, without noise, when they are due."""
        settings = self.settings
        if seeds.step % settings.evaluate_every:
            return {}
        rows = seeds.rows("evaluation", settings.evaluation_episodes, self.device)
        return {"evaluation/mean": float(returns(self.world("evaluation"), self.policy(), rows).mean())}


def snapshot(settings: Learning, state: State, before: int, at: tuple[int, ...]) -> None:
    """Keep what was learned when the frames reach one of the numbers of `at`: a folder that is an agent like any other."""
    folder, frames = Path(settings.folder), int(state["agent-steps"]) * settings.world.repeat
    for number in at:
        if before < number <= frames:
            place = folder / "snapshots" / str(number)
            with checkpoint.writing(place):
                place.mkdir(parents=True, exist_ok=True)
                if (folder / "card.json").exists():
                    checkpoint.write(place / "card.json", (folder / "card.json").read_bytes())
            # all models, and the candidates; no moments, no replay
            kept = {name: tensor for name, tensor in state.items() if "/model/" in name or name in ("queue", "pointer", "agent-steps")}
            checkpoint.save(place, frames, kept)
