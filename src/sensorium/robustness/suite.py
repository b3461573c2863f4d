"""The suite: every treatment of a world played with the same seeds, and paired with the untreated episodes."""

import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sensorium.core.env import World, closing
from sensorium.core.errors import Usage
from sensorium.core.log import Bar
from sensorium.core.machine import facts
from sensorium.core.policy import Policy
from sensorium.core.rollout import Rollout, play
from sensorium.core.seeding import row_seeds
from sensorium.core.stats import bootstrap_interval, summary
from sensorium.envs.wrappers import Treated, altered, wrapped
from sensorium.robustness.cases import Case, cases, joined, refusal
from sensorium.robustness.recovery import recovery

FORMAT = 1
"""format of the document; it rises with every change of a field's name or meaning"""

Progress = Callable[[int], None]
"""called with the number of episodes that have been played"""


def examine(
    world: World, policy: Policy, episodes: int = 100, seed: int = 0, device: str = "cpu", trained: str = "", agent: str = ""
) -> dict[str, Any]:
    """Play a policy under every treatment of its world; returns the document of the suite, as `docs/how-to/examine-a-policy.md` describes it.

    Row i of every treatment has the seed of row i of the control: the same initial state, the same random numbers of the world. The control is
    untreated, unless the policy cannot take that; then it has the treatment of its training, `trained` (by default that of the world), and
    the others follow it. `agent` is a name for the document. Errors: core.errors.Usage for wrong arguments, a world without treatments, or a
    policy that does not fit.
    """
    if episodes < 1:
        raise Usage(f"--episodes cannot be {episodes}; at least 1")
    trained = trained or (world.senses if isinstance(world, Treated) else "")
    base, began = altered(world, ""), time.perf_counter()
    control = _control(base, policy, trained, device)
    todo = [Case("untreated" if not control else "as trained", ""), *([Case("as trained", trained)] if trained and not control else [])]
    todo += cases(altered(base, control))
    refused = {case: refusal(base, policy, joined(control, case.spec), device) for case in todo}
    seeds = row_seeds(seed, episodes, device)
    rounds = sum((1 + 2 * bool(case.reshuffle)) for case in todo if refused[case] is None)
    bar, done = Bar("senses", 0, rounds * episodes), 0

    def progress(played: int) -> None:
        nonlocal done
        done += played
        bar.update(done, {})

    rows: list[dict[str, Any]] = []
    try:
        for case in todo:
            spec = joined(control, case.spec)
            if refused[case] is not None:
                rows.append(_row(case.name, spec, refused[case]))
                continue
            returns, lengths, _ = played(*wrapped(base, policy, spec), seeds, progress)
            rows.append(_row(case.name, spec, None, returns, lengths, rows[0]["returns"] if rows else returns))
            if case.reshuffle:
                arms = [played(*wrapped(base, policy, arm), seeds, progress, ("rewards",)) for arm in (control, spec)]
                rows[-1]["recovery"] = recovery(arms[0][2], arms[1][2], arms[0][1], case.reshuffle)
    finally:
        bar.close()
    shape = base.spec
    return {
        "format": FORMAT, "agent": agent, "world": shape.name, "settings": repr(base),
        "observation": {"kind": shape.kind, "shape": list(shape.observation), "sensors": list(shape.sensors)},
        "episodes": episodes, "seed": seed, "control": control, "trained": trained, "machine": facts(device),
        "seconds": round(time.perf_counter() - began, 1), "rows": [_plain(row) for row in rows],
    }  # fmt: skip


def _control(base: World, policy: Policy, trained: str, device: str) -> str:
    """The specification of the control: none, or that of training where the policy cannot take the untreated observations."""
    why = refusal(base, policy, "", device)
    if why is None:
        return ""
    if trained and refusal(base, policy, trained, device) is None:
        return trained
    raise Usage(f"the policy does not fit {base.spec.name}: {why}")


def played(
    world: World, policy: Policy, seeds: Tensor, progress: Progress = lambda episodes: None, keep: Collection[str] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns and lengths [episodes] as `evaluate` plays them, and rewards [horizon, episodes], empty unless `keep` names them."""
    parts: list[Rollout] = []
    with closing(world) as env:
        for some in seeds.split(env.spec.rows or len(seeds)):
            parts.append(play(env, policy, some, keep, compile=False))
            progress(len(some))
    returns, lengths = (torch.cat([getattr(part, name) for part in parts]).cpu().numpy() for name in ("returns", "lengths"))
    if not keep:
        return returns, lengths, np.zeros((0, len(seeds)), np.float32)
    rewards = [pad(part.rewards.cpu(), (0, 0, 0, world.spec.horizon - len(part.rewards))) for part in parts]
    return returns, lengths, torch.cat(rewards, 1).numpy()


def _row(
    name: str, spec: str, reason: str | None, returns: np.ndarray | None = None, lengths: np.ndarray | None = None,
    control: np.ndarray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One row of the document; without returns, one that is not applicable."""
    if returns is None or lengths is None or control is None:
        numbers = dict.fromkeys(("mean", "sd", "ci95", "length", "difference", "difference_ci95", "share_kept"))
        return {"name": name, "spec": spec, "applicable": False, "reason": reason, **numbers, "recovery": None, "returns": []}
    found, difference = summary(returns), returns.astype(np.float64) - control
    untreated = float(np.asarray(control, dtype=np.float64).mean())
    return {
        "name": name, "spec": spec, "applicable": True, "reason": None, "mean": found["mean"], "sd": found["sd"], "ci95": found["ci95"],
        "length": float(lengths.mean()), "difference": float(difference.mean()), "difference_ci95": list(bootstrap_interval(difference)),
        "share_kept": found["mean"] / untreated if untreated > 0 else None, "recovery": None, "returns": returns,
    }  # fmt: skip


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row as JSON, its returns as in `evaluate`."""
    return {**row, "returns": [round(float(score), 4) for score in row["returns"]]}
