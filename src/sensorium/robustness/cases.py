"""The rows of the senses suite for a world, and which of them a policy can take."""

from dataclasses import dataclass

import torch

from sensorium.core.env import EnvSpec, World
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Policy
from sensorium.envs.wrappers import Treated, wrapped

PERIODS = (25, 100, 500)
"""steps between two reshuffles"""
SHARES = (0.1, 0.3)
"""shares of the channels that fail, besides a single channel"""
LATEST = 500
"""the reshuffle after which recovery is measured comes in the middle of the horizon, at this step at the latest"""


@dataclass(frozen=True)
class Case:
    """One treatment: its name in tables and its senses specification; `reshuffle` is the step after which recovery is measured, 0: none."""

    name: str
    spec: str
    reshuffle: int = 0


def cases(world: World) -> list[Case]:
    """The treatments of the suite for a world, in order and without repetition. Errors: core.errors.Usage where none exists."""
    spec = world.spec
    if spec.kind == "vector":
        found = _vectors(spec)
    elif isinstance(world, Treated):
        found = _images(spec)
    else:
        raise Usage(f"no treatments for {spec.name}: its observations are {spec.kind}; the suite is for vectors and for worlds of patches")
    return list({case.spec: case for case in reversed(found)}.values())[::-1]


def _shuffles(word: str, horizon: int) -> list[Case]:
    """Shuffles of channels or patches."""
    middle = min(horizon // 2, LATEST)
    return [
        Case("shuffled", word),
        *(Case(f"reshuffled every {every} steps", f"{word}:every={every}") for every in PERIODS if every < horizon),
        *([Case(f"shuffled at step {middle}", f"{word}:every={middle}:late", middle)] if middle else []),
    ]


def _vectors(spec: EnvSpec) -> list[Case]:
    n = spec.observation[0]
    counts = {"1 channel": 1, **{f"{100 * share:g} % of the channels": round(n * share) for share in SHARES}}
    counts = {name: count for name, count in counts.items() if count}
    return [
        *_shuffles("shuffle", spec.horizon),
        *(Case(f"{k} swap{'s' * (k > 1)}", f"swap:{k}") for k in (1, 2, 3)),
        *(Case(f"{k} noise channel{'s' * (k > 1)} added", f"noise:{k}") for k in (1, 5)),
        *(Case(f"dropped: {name}", f"drop:{count / n:.6g}") for name, count in counts.items()),
        *(Case(f"blank: {name}", f"blank:{count}") for name, count in counts.items()),
        *(Case(f"frozen: {name}", f"freeze:{count}") for name, count in counts.items()),
        *(Case(f"delayed by {k} step{'s' * (k > 1)}", f"delay:{k}") for k in (1, 3)),
        *(Case(f"1 channel times {factor:g}", f"scale:{factor:g}") for factor in (0.5, 2)),
        *(Case(f"Gaussian noise, sd {sd:g}", f"gaussian:{sd:g}") for sd in (0.1, 0.3)),
    ]


def _images(spec: EnvSpec) -> list[Case]:
    return [
        *_shuffles("patches", spec.horizon),
        *(Case(f"{k} swap{'s' * (k > 1)}", f"swap:{k}") for k in (1, 10)),
        Case("5 noise patches added", "noise:5"),
        *(Case(f"occluded: {100 * share:g} % of the patches", f"occlude:{share:g}") for share in (0.3, 0.7)),
        *(Case(f"black: {100 * share:g} % of the patches", f"blackout:{share:g}") for share in (0.1, 0.3)),
        *(Case(f"background: {name}", f"background:{name}") for name in ("checks", "dunes")),
    ]


def joined(*specs: str) -> str:
    """Senses specifications one after another."""
    return ",".join(spec for spec in specs if spec)


def refusal(world: World, policy: Policy, senses: str, device: str = "cpu") -> str | None:
    """Why a policy cannot take a treatment, in one line; None where it can.

    A treatment may not exist for the world (core.errors.Usage), or the policy raises an error for observations of another shape than those of
    the world, found by one step on zeros. Errors: what the policy raises for observations of the world's own shape.
    """
    try:
        treated, player = wrapped(world, policy, senses)
        spec = treated.spec
        blank = torch.zeros(2, *spec.observation, dtype=torch.float32 if spec.kind == "vector" else torch.uint8, device=device)
    except Usage as error:
        return _line(error)
    try:
        with torch.no_grad():
            player.act(blank, player.begin(torch.arange(2, device=device)), 0)
    except Usage as error:
        return _line(error)
    except (Failure, RuntimeError, ValueError, TypeError, IndexError) as error:
        if spec.observation == world.spec.observation:
            raise
        return f"the policy does not take observations {spec.observation}: {_line(error)}"
    return None


def _line(error: Exception) -> str:
    """The first line of an error, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
