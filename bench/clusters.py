"""Ray: its throughput on this machine, and the efficiency of a cluster, simulated with constants measured in the same run.

`ray/throughput` and `ray/overhead` evaluate a population of controllers with V and M in CarRacing. `ray/job` and `ray/generation` are what
distributing costs. `ray/simulation` is the efficiency of 10, 100 and 1,000 workers at the size of the papers, 256 candidates with 16 episodes.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import cma
from bench.interleave import interleaved, row, seconds
from bench.schedule import Costs, Run, efficiency
from bench.world_models import untrained
from sensorium.core import workers as pools
from sensorium.core.env import World, closing
from sensorium.core.jobs import on
from sensorium.core.machine import one_thread
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs.car_racing import CarRacing
from sensorium.envs.take_cover import TakeCover
from sensorium.es.workers import Workers
from sensorium.systems.world_models.stages.controller import InWorldAgent

ROUNDS = 3
POPULATION, EPISODES = 256, 16
"""of the simulation: a generation at the published size"""
SIZES = (10, 100, 1000)
"""workers"""
NODE, NETWORK = 16, 1.25e9
"""workers per node, and bytes per second that leave the driver's node (10 Gbit/s): assumed, not measured"""
GENERATIONS, SEEDS = 5, 10
"""of the simulation; the seeds run side by side, as with --seeds 0..9"""
BLOCKS = (8, 4, 2, 1)
"""members per job among which the simulation takes the best"""


def nothing(*_: Any) -> None:
    """A job without work."""


def car_agent(folder: Path) -> InWorldAgent:
    """Controllers of CarRacing with untrained V and M."""
    return untrained(folder, 32, 256, 3, False)


def throughput() -> list[dict[str, Any]]:
    """Steps per second of a generation in CarRacing: on Ray, in as many local processes, and in this process."""
    members, episodes, horizon, count = 16, 4, 100, os.cpu_count() or 1
    local = f"processes:{count}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        agent, world = car_agent(Path(folder)), CarRacing(horizon=horizon)
        vectors, seeds = 0.01 * torch.randn(members, agent.layout.size), row_seeds(0, members * episodes).view(members, episodes)
        places: dict[str, Callable[[], float]] = {}
        for place in ("here", local, "ray"):
            stack.enter_context(on(place))
            workers = Workers(world, agent, 4, False)
            places[place] = lambda workers=workers: seconds(lambda: workers.scores(vectors, seeds))
            places[place]()  # start the workers and their worlds
        found = interleaved(places, ROUNDS)
    speed = {place: members * episodes * horizon / took for place, took in found.items()}
    return [
        row("ray/throughput", speed["ray"], "steps/s", "this process, one thread", speed["here"]),
        row("ray/overhead", speed["ray"], "steps/s", f"{count} local processes", speed[local]),
    ]


@dataclass(frozen=True)
class Constants:
    """What was measured on this machine."""

    job: float
    """seconds of the driver's processor for a job: submission and result"""
    latency: float
    """seconds from the start of a generation with a single job without work to its result"""
    put: float
    """seconds in which the shared arguments of a generation are put in the object store"""
    size: int
    """bytes of these arguments, which every node gets once per generation"""
    update: float
    """seconds of CMA-ES per generation"""

    def costs(self, workers: int) -> Costs:
        """The costs with a number of workers."""
        sent = self.put + self.size * -(-workers // NODE) / NETWORK
        return Costs(self.job / 2, self.job / 2, sent, self.update, self.latency)


def constants() -> Constants:
    """Measure a generation of CarRacing at the published size, with jobs without work, on the Ray of this machine."""
    with tempfile.TemporaryDirectory() as folder, on("ray"):
        agent = car_agent(Path(folder))
        vectors = 0.01 * torch.randn(POPULATION, agent.layout.size)
        shared = (CarRacing(), agent, vectors, row_seeds(0, POPULATION * EPISODES).view(POPULATION, EPISODES), False)
        workers = Workers(CarRacing(), agent, 1, False)
        pool, jobs = workers.pool, [(n,) for n in range(200)]
        inner = getattr(pool, "pool", None)
        assert isinstance(inner, pools.Workers)
        common = inner.dumps((nothing, shared))
        list(pool.map(nothing, jobs, shared))  # start the workers
        spent = []
        for _ in range(3):
            began = time.process_time()
            list(pool.map(nothing, jobs, shared))
            spent.append((time.process_time() - began) / len(jobs))
        latency = statistics.median(seconds(lambda: list(pool.map(nothing, [()], shared))) for _ in range(20))
        put = statistics.median(seconds(partial(inner.share, common)) for _ in range(20))
    updates = islice(cma.ours(agent.layout.size, POPULATION), 3, 13)
    return Constants(statistics.median(spent), latency, put, len(common), statistics.mean(updates))


@dataclass(frozen=True)
class Episodes:
    """Episodes of a world as one worker computes them."""

    step: float
    """seconds of a step"""
    lengths: np.ndarray
    """steps of the measured episodes"""

    def jobs(self, rng: np.random.Generator, members: int, episodes: int) -> list[float]:
        """Seconds of the jobs of a generation, each with some members and episodes, whose lengths are drawn from the measured ones."""
        count = POPULATION * EPISODES // (members * episodes)
        return (self.step * rng.choice(self.lengths, (count, members * episodes)).sum(1)).tolist()

    def runs(self, seeds: int, members: int, episodes: int) -> list[Run]:
        """Runs with several seeds."""
        rng = np.random.default_rng(0)
        return [[self.jobs(rng, members, episodes) for _ in range(GENERATIONS)] for _ in range(seeds)]


def car_episodes() -> Episodes:
    """Whole episodes of CarRacing."""
    with tempfile.TemporaryDirectory() as folder:
        return measured_episodes(CarRacing(), car_agent(Path(folder)))


def take_cover_episodes() -> Episodes:
    """Whole episodes of TakeCover, whose lengths have a long tail."""
    with tempfile.TemporaryDirectory() as folder:
        return measured_episodes(TakeCover("vizdoom"), untrained(Path(folder), 64, 512, 1, True))


def measured_episodes(world: World, agent: InWorldAgent) -> Episodes:
    """An episode of each of 16 controllers with random weights, with one thread."""
    vectors = 0.1 * torch.randn(16, agent.layout.size, generator=torch.Generator().manual_seed(0))
    with closing(world) as env, one_thread():
        agent.policy(vectors[:1]).begin(row_seeds(1, 1))  # load V and M
        began = time.perf_counter()
        lengths = play(env, agent.policy(vectors), row_seeds(0, 16)).lengths.numpy()
        return Episodes((time.perf_counter() - began) / float(lengths.sum()), lengths)


def simulation() -> list[dict[str, Any]]:
    """What distributing costs, and the efficiency of clusters."""
    found, per_job = constants(), f"one of {POPULATION} candidates x {EPISODES} episodes"
    rows = [
        row("ray/job", 1e3 * found.job, "ms/job", "of the driver's processor"),
        row("ray/latency", 1e3 * found.latency, "ms", "a generation with one job without work"),
        row("ray/put", 1e3 * found.put, "ms/generation", "into the object store"),
        row("ray/weights", found.size, "bytes/generation/node", per_job),
        row("ray/update", 1e3 * found.update, "ms/generation", "CMA-ES"),
    ]
    for name, episodes in {"car": car_episodes(), "take-cover": take_cover_episodes()}.items():
        low, high = np.percentile(episodes.lengths, (5, 95)) * episodes.step
        seconds_each = episodes.step * float(episodes.lengths.mean())
        rows.append(row(f"ray/episode-{name}", seconds_each, "s/episode", f"mean; 5 and 95 %: {low:.2g} and {high:.2g}"))
        for workers in SIZES:
            rows += simulated(name, episodes, workers, found.costs(workers))
    return rows


def simulated(name: str, episodes: Episodes, workers: int, costs: Costs) -> list[dict[str, Any]]:
    """Efficiencies with some workers: a run, several side by side, and a run whose jobs are single episodes."""
    label = f"ray/simulation-{name}-{workers}"

    def best(seeds: int) -> tuple[float, int]:
        return max((efficiency(episodes.runs(seeds, block, EPISODES), workers, costs), block) for block in BLOCKS)

    (one, block), (several, their_block) = best(1), best(SEEDS)
    single = efficiency(episodes.runs(1, 1, 1), workers, costs)
    return [
        row(label, one, "efficiency", f"one run, {block} members per job"),
        row(f"{label}-seeds", several, "efficiency", f"{SEEDS} seeds side by side, {their_block} members per job"),
        row(f"{label}-episodes", single, "efficiency", "one run, one episode per job"),
    ]


MEASURED = ("ray/job", "ray/latency", "ray/put", "ray/weights", "ray/update", "ray/episode")
ROWS = {"ray/throughput": throughput, "ray/overhead": throughput, **dict.fromkeys((*MEASURED, "ray/simulation"), simulation)}
