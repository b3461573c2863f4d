"""CMA-ES ask and tell compared with pycma: mean time of 300 generations on a sphere function, without the time of the function.

The two alternate every 50 generations. Each uses its own linear algebra threads, which spin for a while when idle, so alternating at every
generation would slow both down.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bench.interleave import row
from sensorium.core.errors import Failure
from sensorium.es.cma import CMA

GENERATIONS, TURN = 300, 50


def sphere(candidates: np.ndarray) -> np.ndarray:
    """The function to minimise, [candidates, n] -> [candidates]."""
    return ((candidates - 1) ** 2).sum(1)


def ours(n: int, population: int) -> Iterator[float]:
    """Seconds of ask and tell for one generation after another."""
    search = CMA(population, 0.1)
    state, generation = search.init(torch.zeros(n)), 0
    while True:
        began = time.perf_counter()
        candidates = search.ask(state, generation)
        asked = time.perf_counter() - began
        costs = sphere(candidates.numpy())
        began = time.perf_counter()
        search.tell(state, candidates, -torch.from_numpy(costs))
        yield asked + time.perf_counter() - began
        generation += 1


def theirs(n: int, population: int) -> Iterator[float]:
    """The same for pycma. Errors: core.errors.Failure if it is not installed."""
    try:
        import cma as pycma
    except ImportError:
        raise Failure("this row needs pycma: pip install cma==4.5.0") from None

    search = pycma.CMAEvolutionStrategy(np.zeros(n), 0.1, {"popsize": population, "verbose": -9, "seed": 1})
    while True:
        began = time.perf_counter()
        candidates = search.ask()
        asked = time.perf_counter() - began
        costs = sphere(np.stack(candidates))
        began = time.perf_counter()
        search.tell(candidates, costs.tolist())
        yield asked + time.perf_counter() - began


def compare(n: int, population: int) -> list[dict[str, Any]]:
    """Mean seconds per generation of both."""
    searches, spent = {"ours": ours(n, population), "theirs": theirs(n, population)}, {"ours": 0.0, "theirs": 0.0}
    for _ in range(GENERATIONS // TURN):
        for name, search in searches.items():
            spent[name] += sum(next(search) for _ in range(TURN))
    value, baseline = (spent[name] / GENERATIONS for name in ("ours", "theirs"))
    return [row(f"cma/ask-tell-{n}x{population}", value, "s/generation", "pycma", baseline, faster=False)]


def sized(n: int, population: int) -> Callable[[], list[dict[str, Any]]]:
    """A function for the table of rows."""
    return lambda: compare(n, population)


ROWS = {"cma/ask-tell-913x256": sized(913, 256), "cma/ask-tell-867x64": sized(867, 64)}
