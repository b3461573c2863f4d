"""Rollouts: play a policy in a world."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.core.env import Env, Step, TorchEnv, TorchWorld, take
from sensorium.core.machine import compiled
from sensorium.core.policy import Policy
from sensorium.core.seeding import fold

KEPT = ("observations", "actions", "rewards", "memory")
BATCH_SHARES = (5 / 8, 3 / 8, 3 / 16, 1 / 16)
"""batch sizes, as shares of the initial one, to which a batch is compacted as episodes end: 40 % of hard cart-pole episodes end almost
at once, and 90 % of the steps of a first generation come after the end of an episode"""
CHECK = 20
"""steps between two counts of the live rows"""

Sink = Callable[[int, dict[str, Any]], None]
"""called with t and the kept values of that step, instead of storing them in memory"""


@dataclass(frozen=True)
class Rollout:
    """Returns and lengths of episodes, and the values named in `keep`, time first.

    `observations` [T, rows, ...] holds the policy's input at each step, `memory` its memory after that step.
    """

    returns: Float[Tensor, "rows"]
    lengths: Int[Tensor, "rows"]
    kept: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name in KEPT and name in self.kept:
            return self.kept[name]
        raise AttributeError(f"this rollout has no {name}; use play(..., keep=('{name}',))")


def play(
    env: Env, policy: Policy, seeds: Int[Tensor, "rows"], keep: Collection[str] = (), *, compile: bool = True, sink: Sink | None = None
) -> Rollout:
    """Play one episode per row.

    Without `keep`, a TorchWorld and the policy compile as one step and the batch is compacted as episodes end. `sink` receives kept values
    instead of the result. Errors: ValueError for unknown names in `keep`, or rows that are not a multiple of the policy's members.
    """
    unknown = set(keep) - set(KEPT)
    if unknown:
        raise ValueError(f"keep can name {', '.join(KEPT)}; not {', '.join(sorted(unknown))}")
    if len(seeds) % policy.members:
        raise ValueError(f"{len(seeds)} rows are not a multiple of {policy.members} members")
    if policy.members > 1:
        policy = policy.take(torch.arange(policy.members, device=seeds.device).repeat_interleave(len(seeds) // policy.members))
    with torch.no_grad():
        if isinstance(env, TorchEnv) and not keep:
            return _play_compacted(env.world, policy, seeds, compile)
        return _play_steps(env, policy, seeds, keep, sink)


def returns(env: Env, policy: Policy, seeds: Int[Tensor, "rows"]) -> Float[Tensor, "rows"]:
    """Returns of one episode per row, uncompiled, in batches of at most `spec.rows`."""
    return torch.cat([play(env, policy, some, compile=False).returns for some in seeds.split(env.spec.rows or len(seeds))])


class Transition(NamedTuple):
    """One step of a batch."""

    t: int
    obs: Tensor
    action: Tensor
    memory: Any
    """the policy's memory after `obs`"""
    step: Step
    """the result of the step"""
    live: Tensor
    """[rows]: whether the episode had not ended before this step"""


def stream(env: Env, policy: Policy, seeds: Int[Tensor, "rows"]) -> Iterator[Transition]:
    """Play one episode per row and yield each step, for learners that update between steps."""
    obs, memory = env.reset(seeds), policy.begin(seeds)
    live = torch.ones(len(seeds), dtype=torch.bool, device=seeds.device)
    for t in range(env.spec.horizon):
        with torch.no_grad():
            action, memory = policy.act(obs, memory, t)
            step = env.step(action)
        yield Transition(t, obs, action, memory, step, live)
        live = live & ~(step.terminated | step.truncated)
        obs = step.obs
        if not bool(live.any()):
            return


def episodes(
    env: Env, policy: Callable[[], Policy], seeds: Int[Tensor, "rows"], room: Callable[[], Bool[Tensor, "rows"]], most: int
) -> Iterator[Transition]:  # fmt: skip
    """Play episodes one after another, at most `most` per row, and yield each step, until `room()` is False for all rows.

    `room()` says after each step which rows take another one; `policy()` is called before each episode. The first episode of a row has
    its seed, the k-th one after it a function of its seed and k.
    """
    for number in range(most):
        for transition in stream(env, policy(), fold(seeds, "episode", number) if number else seeds):
            yield transition
            ended = transition.step.terminated | transition.step.truncated
            if not bool((transition.live & ~ended & room()).any()):
                break
        if not bool(room().any()):
            return


def tick(
    world: TorchWorld, policy: Policy, state: Any, obs: Tensor, memory: Any, returns: Tensor, lengths: Tensor, ended: Tensor, t: Tensor
):
    """One step of world and policy; ended rows add no reward and no length."""
    action, memory = policy.act(obs, memory, t)
    state, step = world.transition(state, action, t)
    returns = returns + torch.where(ended, 0.0, step.reward)
    lengths = lengths + (~ended).to(lengths.dtype)
    return state, step.obs, memory, returns, lengths, ended | step.terminated | step.truncated, t + 1


_compiled_tick: list[Callable[..., Any]] = []


def _tick(compile: bool) -> Callable[..., Any]:
    if not compile:
        return tick
    if not _compiled_tick:
        _compiled_tick.append(compiled(tick))
    return _compiled_tick[0]


def batch_sizes(rows: int) -> list[int]:
    """The batch sizes for compaction below `rows`, multiples of 16, largest first."""
    sizes = {-(-int(rows * share) // 16) * 16 for share in BATCH_SHARES}
    return sorted((size for size in sizes if size < rows), reverse=True)


def _play_compacted(world: TorchWorld, policy: Policy, seeds: Tensor, compile: bool) -> Rollout:
    rows = torch.arange(len(seeds), device=seeds.device)
    all_returns = torch.zeros(len(seeds), device=seeds.device)
    all_lengths = torch.zeros_like(rows)
    state, memory = world.initial(seeds), policy.begin(seeds)
    t = torch.zeros((), dtype=torch.int64, device=seeds.device)
    ended = torch.zeros_like(rows, dtype=torch.bool)
    # the first step runs uncompiled, to get the shapes of the memory
    now = tick(world, policy, state, world.observe(state), memory, all_returns.clone(), all_lengths.clone(), ended, t)
    sizes, step = batch_sizes(len(seeds)), _tick(compile)
    for clock in range(1, world.spec.horizon):
        now = step(world, policy, *now)
        if clock % CHECK and clock + 1 < world.spec.horizon:
            continue
        state, obs, memory, returns, lengths, ended, t = now
        alive = int((~ended).sum())
        size = min((n for n in sizes if n >= alive), default=len(rows))
        if alive and size >= len(rows):
            continue
        all_returns[rows], all_lengths[rows] = returns, lengths
        if not alive:
            break
        # live rows first, then ended rows up to the batch size
        stay = torch.argsort(ended, stable=True)[:size]
        rows = rows[stay]
        policy = policy.take(stay) if policy.members > 1 else policy
        now = (*take((state, obs, memory, returns, lengths, ended), stay), t)
    _, _, _, returns, lengths, _, _ = now
    all_returns[rows], all_lengths[rows] = returns, lengths
    return Rollout(all_returns, all_lengths)


def _play_steps(env: Env, policy: Policy, seeds: Tensor, keep: Collection[str], sink: Sink | None) -> Rollout:
    returns = torch.zeros(len(seeds), device=seeds.device)
    lengths = torch.zeros(len(seeds), dtype=torch.int64, device=seeds.device)
    kept: dict[str, list[Any]] = {name: [] for name in keep}
    for transition in stream(env, policy, seeds):
        row = {"observations": transition.obs, "actions": transition.action, "rewards": transition.step.reward, "memory": transition.memory}
        if sink is not None:
            sink(transition.t, {name: row[name] for name in keep})
        else:
            for name in keep:
                kept[name].append(row[name])
        returns = returns + transition.step.reward
        lengths = lengths + transition.live.to(lengths.dtype)
    return Rollout(returns, lengths, {name: _stack(parts) for name, parts in kept.items()} if sink is None else {})


def _stack(parts: list[Any]) -> Any:
    if isinstance(parts[0], tuple):
        return tuple(_stack(list(part)) for part in zip(*parts, strict=True))
    return torch.stack(parts)
