"""Jobs on the workers of a cluster, simulated by events: how long runs take with given durations of jobs and costs of distributing them."""

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Seconds that jobs cost besides their computation."""

    submit: float = 0.0
    """of the driver, for each job"""
    take: float = 0.0
    """of the driver, for each result"""
    send: float = 0.0
    """of the driver, for the arguments that the jobs of a generation share, before the first one is submitted"""
    update: float = 0.0
    """of the driver between two generations"""
    latency: float = 0.0
    """of a worker, for each job: it waits for the arguments and returns the result"""


Run = Sequence[Sequence[float]]
"""seconds of each job of each generation"""

ENDED, SUBMITTED = 0, 1


def elapsed(runs: Sequence[Run], workers: int, costs: Costs = Costs()) -> float:
    """Seconds until all runs are finished.

    Each run has a driver of its own, which does one thing at a time: it sends the arguments, submits all jobs of a generation, takes the results
    as they come, and updates. The workers compute jobs in the order in which they were submitted. All generations have jobs.
    """
    events: list[tuple[float, int, int, int, float]] = []
    order = itertools.count()
    waiting, free = deque[tuple[int, float]](), workers
    generations, left, driver = [iter(run) for run in runs], [0] * len(runs), [0.0] * len(runs)

    def begin(run: int) -> None:
        """Submit the run's next generation, if there is one."""
        jobs = next(generations[run], ())
        for number, seconds in enumerate(jobs, 1):
            heapq.heappush(events, (driver[run] + costs.send + number * costs.submit, SUBMITTED, next(order), run, seconds))
        if jobs:
            left[run], driver[run] = len(jobs), driver[run] + costs.send + len(jobs) * costs.submit

    for run in range(len(runs)):
        begin(run)
    while events:
        now, kind, _, run, seconds = heapq.heappop(events)
        if kind == SUBMITTED:
            waiting.append((run, seconds))
        else:
            free, left[run] = free + 1, left[run] - 1
            driver[run] = max(driver[run], now) + costs.take
            if not left[run]:
                driver[run] += costs.update
                begin(run)
        while free and waiting:
            run, seconds = waiting.popleft()
            heapq.heappush(events, (now + costs.latency + seconds, ENDED, next(order), run, 0.0))
            free -= 1
    return max(driver)


def efficiency(runs: Sequence[Run], workers: int, costs: Costs = Costs()) -> float:
    """Share of the workers' time that is spent computing jobs."""
    return sum(sum(jobs) for run in runs for jobs in run) / (workers * elapsed(runs, workers, costs))
