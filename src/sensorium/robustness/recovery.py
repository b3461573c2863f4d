"""Recovery from one shuffle in the middle of an episode, relative to the same episode without it."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

WINDOW = 25
"""steps over which the reward is averaged"""
THRESHOLD = 0.9
"""share of the untreated reward per step from which on an agent counts as recovered"""
BEFORE = 100
"""steps before the shuffle that are shown"""
SAMPLES = 400
"""bootstrap samples of the pairs"""


def recovery(
    untreated: Float[np.ndarray, "steps episodes"], treated: Float[np.ndarray, "steps episodes"], lengths: Int[np.ndarray, "episodes"], at: int
) -> dict[str, Any]:  # fmt: skip
    """Steps from a shuffle at step `at` until the mean reward per step is back at 90 % of the untreated one; from paired rewards per step.

    Rewards are 0 after the end of an episode. Pairs whose episode (of `lengths` steps in the untreated arm) lasts beyond step `at` count; both
    arms are equal up to then. The share is the ratio of the two mean rewards over windows of 25 steps. `steps` counts to the end of the last
    window in which it is below 0.9, and is None if that is the last window of all. Its 95 % interval is a bootstrap over pairs; a bound is None
    where it lies beyond `limit`, the steps observed. Where the untreated reward is not positive in every window, a share says nothing:
    `meaningful` is False and `reason` says why.
    """
    limit = min(len(untreated) - at, at)
    found: dict[str, Any] = {
        "step": at, "window": WINDOW, "threshold": THRESHOLD, "limit": limit, "pairs": 0, "meaningful": False, "reason": None,
        "steps": None, "ci95": None, "curve": None,
    }  # fmt: skip
    before = min(BEFORE, at)
    if before < WINDOW or limit < WINDOW:
        return {**found, "reason": f"episodes of {len(untreated)} steps are too short; at least {2 * WINDOW}"}
    lasting = np.flatnonzero(lengths > at)
    if not len(lasting):
        return {**found, "reason": f"no episode lasts longer than {at} steps"}
    pair = np.stack([untreated, treated])[:, at - before : at + limit, lasting].astype(np.float64)
    rates = _windows(pair.mean(2))
    meaningful = bool((rates[0] > 0).all())
    draw, n = np.random.default_rng(0), len(lasting)
    samples = np.stack([_windows(pair[:, :, draw.integers(0, n, n)].mean(2)) for _ in range(SAMPLES)])
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    found |= {
        "pairs": n,
        "meaningful": meaningful,
        "curve": {
            "first": WINDOW - 1 - before,
            **{
                f"{arm}{suffix}": [round(float(value), 5) for value in values[i]]
                for i, arm in enumerate(("untreated", "treated"))
                for suffix, values in (("", rates), ("_low", low), ("_high", high))
            },
        },
    }
    if not meaningful:
        return {**found, "reason": f"the untreated reward is not positive in every window of {WINDOW} steps, so a share of it says nothing"}
    after = before - WINDOW + 1
    times = np.sort([_back(sample[:, after:]) for sample in samples])
    interval = [times[int(0.025 * SAMPLES)], times[int(0.975 * SAMPLES) - 1]]
    return {**found, "steps": _finite(_back(rates[:, after:])), "ci95": [_finite(bound) for bound in interval]}


def _windows(rewards: Float[np.ndarray, "2 steps"]) -> Float[np.ndarray, "2 windows"]:
    """Means over windows of 25 steps, named by their last step."""
    return np.stack([np.convolve(arm, np.full(WINDOW, 1 / WINDOW), "valid") for arm in rewards])


def _back(rates: Float[np.ndarray, "2 windows"]) -> float:
    """Steps to the end of the last window below the threshold, where the first window ends at the first step after the shuffle."""
    below = np.flatnonzero(rates[1] < THRESHOLD * rates[0])
    if not len(below):
        return 0.0
    return np.inf if below[-1] == rates.shape[1] - 1 else float(below[-1] + 1)


def _finite(steps: float) -> float | None:
    return float(steps) if np.isfinite(steps) else None
