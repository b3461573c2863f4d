"""Collect: record episodes of a random policy, or of an earlier agent, on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium.core import checkpoint, jobs
from sensorium.core.env import EnvSpec, World
from sensorium.core.errors import Usage
from sensorium.core.machine import one_thread
from sensorium.core.policy import Policy, with_action
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, fold, normal
from sensorium.core.stage import NOWHERE, Folder, Metrics, State, at_least, below_one
from sensorium.data import episodes as disk
from sensorium.data import offline
from sensorium.data.episodes import Episode
from sensorium.data.recording import Recorded, Recording, checksum
from sensorium.envs.car_racing import CarRacing
from sensorium.rl.acting import RandomTurns
from sensorium.systems.world_models.behaviour import RandomNetworks


@dataclass(frozen=True)
class Collect:
    """Record episodes (P section 4.2, step 1: 10,000 rollouts of a random policy). One step is one shard."""

    @property
    def learned(self) -> tuple[str, ...]:
        return ("shards",)

    world: World = CarRacing()
    player: Policy = RandomNetworks()
    agent: Folder = NOWHERE
    """an earlier agent that acts instead of `player`"""
    noise: float = 0.0
    """standard deviation of Gaussian noise added to the actions of `agent`"""
    random_turn_share: float = 0.0
    """share of turns of `turn_steps` steps in which a random action, held for the turn, replaces those of `agent`"""
    turn_steps: int = 20
    earlier: Folder = NOWHERE
    """an earlier `Collect` stage whose episodes are used as well"""
    minari: str = ""
    """a Minari dataset on this machine whose episodes are taken over instead of playing"""
    data: Folder = NOWHERE
    """a folder of .npz files, one per episode, whose episodes are taken over instead of playing"""
    rows: int = 16
    """episodes of a shard, played in parallel"""
    shortest: int = 0
    """episodes with at most this many steps are discarded"""
    folder: Folder = Folder(".")
    """where the episodes are stored: the stage's own folder"""
    steps: int = 64
    """shards"""
    checkpoint_every: int = 1

    @property
    def recorded_in(self) -> World:
        """The world of the recorded episodes."""
        return self.world

    @property
    def source(self) -> str:
        """The offline episodes; empty: episodes are played."""
        return f"{offline.MINARI}{self.minari}" if self.minari else str(self.data)

    def __post_init__(self) -> None:
        at_least(self, steps=0, rows=1, shortest=0, turn_steps=1, checkpoint_every=1)
        below_one(self, "random_turn_share")
        if not self.agent and (self.noise or self.random_turn_share):
            raise Usage("noise and random_turn_share perturb the actions of agent; give agent")
        if self.minari and self.data:
            raise Usage("episodes come from minari or from data, not from both")

    @property
    def warmup_steps(self) -> int:
        """Steps that give later stages enough data to be timed: 60,000 frames in episodes of 300."""
        return -(-60_000 // (300 * self.rows))

    def init(self, seeds: Seeds) -> State:
        return {name: torch.zeros((), dtype=torch.int64) for name in ("shards", "episodes", "checksum")}

    @property
    def simulated(self) -> bool:
        """Whether episodes are played in a simulator."""
        return not self.source and jobs.simulated(self.world)

    @property
    def where(self) -> str:
        """As `core.stage.Distributed.where`."""
        why = (
            f"copied from {self.source}"
            if self.source
            else f"{self.world.spec.name}, {'a simulator' if self.simulated else 'a world in torch'}"
        )
        return f"{jobs.place_of(self.simulated)}: shards of {self.rows} episodes, {why}"

    def open(self, state: State) -> Recording:
        return Recording(jobs.open_pool(self.simulated))

    def step(self, state: State, live: Recording, seeds: Seeds) -> Metrics:
        metrics, name = live.take(shard, self, seeds)
        state["shards"] = state["shards"] + 1
        state["episodes"] = state["episodes"] + int(metrics["episodes"])
        state["checksum"] = torch.full_like(state["checksum"], checksum(name))
        return metrics

    def policy(self, state: State) -> Policy:
        if not self.agent:
            return self.player
        policy, spec = checkpoint.policy(self.agent), self.world.spec
        if self.noise:
            policy = NoisyPolicy(policy, self.noise, spec)
        if self.random_turn_share:
            policy = RandomTurns(policy, spec.action, self.random_turn_share, self.turn_steps, spec.low)
        return policy


class NoisyPolicy:
    """A policy with Gaussian noise added to its actions, for more varied data. The recorded action is the one that is executed."""

    def __init__(self, policy: Policy, noise: float, spec: EnvSpec):
        self.policy, self.noise, self.spec, self.members = policy, noise, spec, policy.members

    def take(self, members: Tensor) -> "NoisyPolicy":
        return NoisyPolicy(self.policy.take(members), self.noise, self.spec)

    def begin(self, seeds: Tensor) -> Any:
        return fold(seeds, "unsteady"), self.policy.begin(seeds)

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, inner = memory
        action, inner = self.policy.act(obs, inner, t)
        low = torch.tensor(self.spec.low or (-1.0,) * self.spec.action, device=action.device)
        action = torch.maximum(action + self.noise * normal(seeds, t, action.shape[1]), low).clamp(max=1.0)
        return action, self.with_action((seeds, inner), action)

    def with_action(self, memory: Any, action: Tensor) -> Any:
        """As `core.policy.ActionAware.with_action`."""
        seeds, inner = memory
        return seeds, with_action(self.policy, inner, action)


def shard(stage: Collect, seeds: Seeds) -> Recorded:
    """Play and write the shard of one step; return its metrics and the name of its file. The result depends on the stage and the seeds alone."""
    if stage.source:
        return copied(stage, seeds)
    parts: dict[str, list[Any]] = {"observations": [], "actions": [], "rewards": []}

    def keep(t: int, row: dict[str, Any]) -> None:
        for name, kept in parts.items():
            kept.append(row[name].cpu().clone())

    env = jobs.opened(stage.world)
    with one_thread():  # so that the main process and workers compute the same bits
        rollout = play(env, stage.policy({}), seeds.rows("episodes", stage.rows), keep=tuple(parts), sink=keep)
    frames, actions, rewards = (torch.stack(part, 1).numpy() for part in parts.values())
    lengths = rollout.lengths.tolist()
    terminated = (rollout.lengths < stage.world.spec.horizon).tolist()
    found = [Episode(frames[i, :n], actions[i, :n], rewards[i, :n], terminated[i]) for i, n in enumerate(lengths) if n > stage.shortest]
    path = disk.write(Path(stage.folder), seeds.step, found)
    metrics = {
        "length/mean": float(rollout.lengths.float().mean()), "score/mean": float(rollout.returns.mean()), "episodes": float(len(found)),
        "frames": float(sum(len(episode) for episode in found)),
    }  # fmt: skip
    return metrics, path.name


def copied(stage: Collect, seeds: Seeds) -> Recorded:
    """Write the shard of one step from offline episodes; return its metrics and the name of its file."""
    first = (seeds.step - 1) * stage.rows
    numbers = range(first, min(first + stage.rows, offline.count(stage.source)))
    found = [episode for episode in offline.episodes(stage.source, stage.world, numbers) if len(episode) > stage.shortest]
    path = disk.write(Path(stage.folder), seeds.step, found)
    lengths, scores = [float(len(episode)) for episode in found], [float(episode.rewards.sum()) for episode in found]
    metrics = {
        "length/mean": sum(lengths) / max(len(found), 1), "score/mean": sum(scores) / max(len(found), 1), "episodes": float(len(found)),
        "frames": sum(lengths),
    }  # fmt: skip
    return metrics, path.name


def whole(folder: str) -> list[Path]:
    """The shards of a finished `Collect` stage and of its earlier stages. Shards are checked; damaged ones are recorded again."""
    return disk.verified_shards(folder, Collect, shard)
