"""Proto-RL: update, replay sampling and collection, each compared with a plain formulation with the same allocator settings.

Plain means: float32, eager, channels first, replay of whole stacks with their successors, the next observation encoded once for the reward
and once for the critic, all distances to the queue as one tensor [batch, queue, D], one environment with dm_control's default rendering.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional

from bench.interleave import interleaved, row, seconds
from sensorium.core.seeding import Seeds
from sensorium.core.stage import placed
from sensorium.envs.control import Control
from sensorium.nets.distributions import bounded_log_sd, squashed
from sensorium.nets.heads import Actor, Critic
from sensorium.rl.off_policy import Resources
from sensorium.systems.proto_rl.stages import Pretrain

WORLD = Control("walker_run", pixels=True, repeat=2, visuals="fast")
STEPS, SIDE, KEPT = 200, 4, 10_000
"""agent steps per episode, parallel worlds, capacity of the replay in transitions"""


class Plain:
    """The authors' update, formulated as in their code."""

    def __init__(self, actions: int):
        layers: list[nn.Module] = []
        for i, inputs in enumerate((9, 32, 32, 32)):
            layers += [nn.Conv2d(inputs, 32, 3, 2 if i == 0 else 1), nn.ReLU()]
        self.encoder, self.projector = nn.Sequential(*layers, nn.Flatten()), nn.Linear(39_200, 128)
        self.target = deepcopy(nn.ModuleList([self.encoder, self.projector]))
        self.predictor = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128))
        self.prototypes = nn.Linear(128, 512, bias=False)
        self.queue, self.pointer = torch.zeros(2048, 128), 0
        self.actor, self.critic = Actor(39_200, 2 * actions, 50, 1024, False, False), Critic(39_200, actions, 50, 1024, False, False)
        self.critic_target = deepcopy(self.critic)
        self.log_alpha = torch.tensor(np.log(0.1), requires_grad=True)
        representation = [p for part in (self.encoder, self.projector, self.predictor, self.prototypes) for p in part.parameters()]
        self.optimizers = [
            torch.optim.Adam(p, 1e-4) for p in (representation, self.critic.parameters(), self.actor.parameters(), [self.log_alpha])
        ]

    def descend(self, loss: Tensor, number: int) -> None:
        self.optimizers[number].zero_grad()
        loss.backward()
        self.optimizers[number].step()

    def shift(self, frames: Tensor) -> Tensor:
        padded, moves = functional.pad(frames.float(), (4, 4, 4, 4), mode="replicate"), torch.randint(9, (len(frames), 2)).tolist()
        return torch.stack([image[:, a : a + 84, b : b + 84] for image, (a, b) in zip(padded, moves, strict=True)]) / 255

    def normalise(self) -> None:
        self.prototypes.weight.data.copy_(functional.normalize(self.prototypes.weight.data, dim=1))

    def represent(self, obs: Tensor, next_obs: Tensor) -> None:
        self.normalise()
        s = functional.normalize(self.predictor(self.projector(self.encoder(obs))), dim=1)
        with torch.no_grad():
            t = functional.normalize(self.target[1](self.target[0](next_obs)), dim=1)
            q = torch.exp((self.prototypes(t) - 1) / 0.1).T
            q = q / q.sum()
            for _ in range(3):
                q = q / (len(q) * q.sum(1, keepdim=True))
                q = q / (q.shape[1] * q.sum(0, keepdim=True))
            q = (q / q.sum(0)).T
        self.descend(-(q * functional.log_softmax(self.prototypes(s) / 0.1, 1)).sum(1).mean(), 0)
        for slow, fast in zip(self.target.parameters(), [*self.encoder.parameters(), *self.projector.parameters()], strict=True):
            slow.data.copy_(0.05 * fast.data + 0.95 * slow.data)

    @torch.no_grad()
    def intrinsic_reward(self, next_obs: Tensor) -> Tensor:
        self.normalise()
        z = functional.normalize(self.projector(self.encoder(next_obs)), dim=1)
        chosen = Categorical(functional.softmax(self.prototypes(z).T, 1)).sample()
        self.queue[self.pointer : self.pointer + 512] = z[chosen]
        self.pointer = (self.pointer + 512) % len(self.queue)
        return torch.norm(z[:, None] - self.queue[None], dim=2).topk(3, 1, largest=False).values[:, -1]

    def sample(self, code: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.actor(code).chunk(2, 1)
        return squashed(mean, bounded_log_sd(raw, -10, 2).exp(), torch.randn_like(mean))

    def update(self, number: int, obs: Tensor, action: Tensor, next_obs: Tensor) -> None:
        obs, next_obs = self.shift(obs), self.shift(next_obs)
        if number % 2 == 0:
            self.represent(obs, next_obs)
        reward = self.intrinsic_reward(next_obs)
        with torch.no_grad():
            code, next_code = self.encoder(obs), self.encoder(next_obs)
            chosen, log_density = self.sample(next_code)
            goal = reward + 0.99 * (self.critic_target(next_code, chosen).amin(0) - self.log_alpha.exp() * log_density)
        self.descend(((self.critic(code, action) - goal) ** 2).mean(1).sum(), 1)
        if number % 2 == 0:
            chosen, log_density = self.sample(code)
            self.descend((self.log_alpha.exp().detach() * log_density - self.critic(code, chosen).amin(0)).mean(), 2)
            self.descend((self.log_alpha.exp() * (-log_density + action.shape[1]).detach()).mean(), 3)
            for slow, fast in zip(self.critic_target.parameters(), self.critic.parameters(), strict=True):
                slow.data.copy_(0.01 * fast.data + 0.99 * slow.data)


@contextmanager
def opened(batch: int, rows: int = SIDE, steps: int = STEPS, **changes: Any) -> Iterator[Resources]:
    """The official variant after one episode in each world."""
    with tempfile.TemporaryDirectory() as place:
        settings = {"rows": rows, "batch": batch, "warmup": 10**9, "random": 0, "capacity": KEPT, "evaluate_every": 10**9, **changes}
        stage = placed(replace(Pretrain(replace(WORLD, horizon=steps)), **settings), Path(place))
        state = stage.init(Seeds(0, "bench", 0))
        live = stage.open(state)
        live.episode(Seeds(0, "bench", 1))
        yield live
        live.close()


def update(batch: int, rounds: int = 4) -> list[dict[str, Any]]:
    """Seconds per update, mean of one with and one without an update of the representation."""
    plain = Plain(6)
    with opened(batch) as live:
        drawn = live.replay.draw(batch, 1, 0)
        numbers = {"ours": iter(range(10**6)), "plain": iter(range(10**6))}

        def ours() -> None:
            for _ in range(2):
                number = next(numbers["ours"])
                live.update(number, Seeds(0, "bench", number))

        def theirs() -> None:
            for _ in range(2):
                # indexing of stacks and their successors, as with a replay in memory
                picked = torch.randint(batch, (batch,))
                plain.update(next(numbers["plain"]), drawn.obs[picked], drawn.action[picked], drawn.next_obs[picked])

        found = interleaved({"ours": lambda: seconds(ours), "plain": lambda: seconds(theirs)}, rounds)
        value, baseline = found["ours"], found["plain"]
    return [row(f"proto/update-{batch}", value / 2, "s/update", "plain formulation", baseline / 2, faster=False)]


def replay_sample() -> list[dict[str, Any]]:
    """Milliseconds to sample a batch of 512, compared with whole stacks in memory; and the share of an update."""
    with opened(512, rows=10, steps=200) as live:
        for step in range(2, 6):
            live.episode(Seeds(0, "bench", step))
        stacks = torch.randint(0, 256, (2, 4000, 9, 84, 84), dtype=torch.uint8)

        def ours() -> None:
            live.replay.draw(512, 1, int(time.perf_counter_ns()))

        def theirs() -> None:
            picked = torch.randint(4000, (512,))
            _ = stacks[0][picked], stacks[1][picked]

        found = interleaved({"ours": lambda: seconds(ours), "plain": lambda: seconds(theirs)}, 20)
        value, baseline = found["ours"], found["plain"]
        number = iter(range(10**6))
        began = time.perf_counter()
        for _ in range(4):
            live.update(next(number), Seeds(0, "bench", 0))
        share = value / ((time.perf_counter() - began) / 4)
    rows = [row("proto/replay-sample", value * 1e3, "ms for 512", "whole stacks in memory", baseline * 1e3, faster=False)]
    return [*rows, row("proto/replay-sample-share", share, "of an update", "at most", 0.1, faster=False)]


def collect() -> list[dict[str, Any]]:
    """Agent steps per second on walker from pixels, including encoder and replay; compared with one environment, full visuals, float32."""
    spent = {}
    for name, world, rows in (("ours", replace(WORLD, horizon=120), 8), ("plain", replace(WORLD, visuals="full", horizon=60), 1)):
        with opened(128, rows=rows, steps=world.horizon, world=world, bfloat16=name == "ours", capacity=2000) as live:
            began = time.perf_counter()
            live.episode(Seeds(0, "bench", 2))
            spent[name] = rows * world.horizon / (time.perf_counter() - began)
    return [row("proto/collect", spent["ours"], "agent steps/s", "one environment, full visuals", spent["plain"])]


ROWS = {
    "proto/update-512": lambda: update(512), "proto/update-256": lambda: update(256), "proto/replay-sample": replay_sample, "proto/collect": collect,
}  # fmt: skip
