"""CMA-ES, ask and tell, beside pycma: the mean of 300 generations on a sphere whose cost is not counted."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.interleave import row
from sensorium.es.cma import CMA

GENERATIONS = 300


def compare(n: int, population: int) -> list[dict[str, Any]]:
    """Both search in turns, a generation each."""
    import cma as pycma

    theirs = pycma.CMAEvolutionStrategy(np.zeros(n), 0.1, {"popsize": population, "verbose": -9, "seed": 1})
    ours = CMA(population, 0.1)
    state, our_time, their_time = ours.init(torch.zeros(n)), 0.0, 0.0
    for generation in range(GENERATIONS):
        began = time.perf_counter()
        candidates = ours.ask(state, generation)
        our_time += time.perf_counter() - began
        fitness = -((candidates - 1) ** 2).sum(1)
        began = time.perf_counter()
        ours.tell(state, candidates, fitness)
        our_time += time.perf_counter() - began
        began = time.perf_counter()
        solutions = theirs.ask()
        their_time += time.perf_counter() - began
        costs = [float(((x - 1) ** 2).sum()) for x in solutions]
        began = time.perf_counter()
        theirs.tell(solutions, costs)
        their_time += time.perf_counter() - began
    return [
        row(f"cma/ask-tell-{n}x{population}", our_time / GENERATIONS, "s a generation", "pycma", their_time / GENERATIONS, faster=False)
    ]


def sized(n: int, population: int) -> Callable[[], list[dict[str, Any]]]:
    return lambda: compare(n, population)


ROWS = {"cma/ask-tell-913x256": sized(913, 256), "cma/ask-tell-867x64": sized(867, 64)}
