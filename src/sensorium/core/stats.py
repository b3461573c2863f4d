"""Statistics of episode returns."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def interquartile_mean(scores: ArrayLike) -> float:
    """Mean of the middle 50 %, with scores at the edges weighted fractionally (Agarwal et al. 2021, section 4.3)."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    n = len(ordered)
    edges = np.arange(n + 1) / n
    weights = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return float((ordered * weights).sum() / weights.sum())


def mean(tables: np.ndarray) -> np.ndarray:
    """The mean of each table, [..., strata, n] to [...]."""
    return tables.reshape(*tables.shape[:-2], -1).mean(-1)


Statistic = Callable[[np.ndarray], np.ndarray]
"""reduces [samples, strata, n] to [samples]"""


def bootstrap_interval(scores: ArrayLike, statistic: Statistic = mean, samples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval by stratified percentile bootstrap: scores are [n], or [strata, n] with each stratum resampled separately.

    Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4.1.
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    draw, values = np.random.default_rng(seed), list[np.ndarray]()
    # parts of at most 8 MB; the numbers drawn do not depend on the parts
    part = max(1, 10**6 // table.size)
    for first in range(0, samples, part):
        chosen = draw.integers(0, table.shape[1], (min(part, samples - first), *table.shape))
        values.append(statistic(np.take_along_axis(table[None], chosen, -1)))
    low, high = np.percentile(np.concatenate(values), [2.5, 97.5])
    return float(low), float(high)


def ranks(values: ArrayLike) -> np.ndarray:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation: Pearson's correlation of the ranks (Spearman 1904); 0 where one of them is constant."""
    a, b = ranks(first), ranks(second)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def standard_error(sd: float, episodes: int) -> float:
    """Standard error of a mean over episodes."""
    return sd / math.sqrt(max(episodes, 1))


def summary(returns: ArrayLike) -> dict[str, Any]:
    """Episodes, mean, sample sd, median, IQM and 95 % interval of the mean."""
    scores = np.asarray(returns, dtype=np.float64)
    return {
        "episodes": len(scores),
        "mean": float(scores.mean()),
        "sd": float(scores.std(ddof=1)) if len(scores) > 1 else 0.0,
        "median": float(np.median(scores)),
        "iqm": interquartile_mean(scores),
        "ci95": list(bootstrap_interval(scores)),
    }
