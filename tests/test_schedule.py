"""The simulated cluster of `sensorium bench ray`, against closed forms and a simulation in ticks."""

import math
import random

import pytest

from bench.schedule import Costs, Run, efficiency, elapsed


@pytest.mark.parametrize(("jobs", "workers"), [(1, 1), (7, 3), (12, 4), (64, 10), (64, 100), (256, 1000)])
def test_equal_jobs_without_costs(jobs: int, workers: int):
    """The workers compute ceil(jobs / workers) rounds."""
    found = efficiency([[[2.0] * jobs] * 3], workers)
    assert found == pytest.approx(jobs / (workers * math.ceil(jobs / workers)))


@pytest.mark.parametrize("seconds", [0.5, 5.0, 50.0])
def test_equal_jobs_with_costs_and_enough_workers(seconds: float):
    """The driver takes the first result after it has submitted the last job."""
    jobs, costs = 20, Costs(submit=0.25, take=0.125, send=3.0, update=4.0, latency=1.0)
    submitted = costs.send + jobs * costs.submit
    # results come every `submit` seconds, slower than they are taken, so that only those of before the last submission wait
    done = [costs.send + number * costs.submit + costs.latency + seconds for number in range(1, jobs + 1)]
    last = max(max(submitted, done[first]) + (jobs - first) * costs.take for first in range(jobs))
    assert elapsed([[[seconds] * jobs] * 2], jobs, costs) == pytest.approx(2 * (last + costs.update))


def test_with_a_worker_per_job_the_longest_one_decides():
    lengths = [random.Random(1).expovariate(1) for _ in range(50)]
    assert elapsed([[lengths]], 50) == max(lengths)
    assert elapsed([[lengths]], 1) == pytest.approx(sum(lengths))


def in_ticks(runs: list[Run], workers: int, costs: Costs) -> int:
    """As `elapsed` for whole seconds, second by second: each driver and each worker counts down what it is doing."""
    drivers = [{"todo": None, "generation": -1, "unsubmitted": [], "results": 0, "missing": 0, "left": 0} for _ in runs]
    queue: list[tuple[int, int]] = []
    busy: list[list[int]] = []  # seconds left, run
    now = 0

    def settle() -> None:
        """All that takes no time, until nothing changes."""
        changed = True
        while changed:
            changed = False
            for run, driver in enumerate(drivers):
                while driver["left"] == 0 and driver["todo"] != "finished":
                    changed = True
                    advance(run, driver)
                    if driver["todo"] == "idle":
                        changed = False
                        break
            for each in [each for each in busy if each[0] == 0]:
                busy.remove(each)
                drivers[each[1]]["results"] += 1
                changed = True
            while queue and len(busy) < workers:
                run, seconds = queue.pop(0)
                busy.append([int(seconds + costs.latency), run])
                changed = True

    def advance(run: int, driver: dict) -> None:
        """Finish what the driver was doing, and begin the next thing."""
        if driver["todo"] == "submit":
            queue.append((run, driver["unsubmitted"].pop(0)))
        elif driver["todo"] == "take":
            driver["missing"] -= 1
        if driver["todo"] in (None, "update"):
            driver["generation"] += 1
            if driver["generation"] == len(runs[run]):
                driver["todo"] = "finished"
                return
            driver["unsubmitted"] = list(runs[run][driver["generation"]])
            driver["missing"] = len(driver["unsubmitted"])
            driver["todo"], driver["left"] = "send", int(costs.send)
        elif driver["unsubmitted"]:
            driver["todo"], driver["left"] = "submit", int(costs.submit)
        elif not driver["missing"]:
            driver["todo"], driver["left"] = "update", int(costs.update)
        elif driver["results"]:
            driver["results"] -= 1
            driver["todo"], driver["left"] = "take", int(costs.take)
        else:
            driver["todo"] = "idle"

    while True:
        settle()
        if all(driver["todo"] == "finished" for driver in drivers):
            return now
        now += 1
        for driver in drivers:
            driver["left"] = max(driver["left"] - 1, 0)
        for each in busy:
            each[0] -= 1


@pytest.mark.parametrize("seed", range(40))
def test_against_a_simulation_in_ticks(seed: int):
    """One run; several runs are the same as long as no two jobs are submitted at the same time."""
    rng = random.Random(seed)
    costs = Costs(*(float(rng.randint(low, 3)) for low in (0, 0, 0, 0, 1)))
    runs: list[Run] = [[[float(rng.randint(1, 9)) for _ in range(rng.randint(1, 12))] for _ in range(3)]]
    workers = rng.randint(1, 6)
    assert elapsed(runs, workers, costs) == in_ticks(runs, workers, costs)


def test_several_runs_fill_the_gaps_of_each_other():
    """Two workers, and generations of a long job and a short one: alone, one worker waits for the other."""
    run = [[4.0, 1.0], [4.0, 1.0]]
    assert elapsed([run], 2) == 8
    # first run: 0-4, 0-1; second run: 1-5, 4-5; then both workers have a long job and a short one
    assert elapsed([run, run], 2) == in_ticks([run, run], 2, Costs()) == 10
    assert efficiency([run, run], 2) == 1
