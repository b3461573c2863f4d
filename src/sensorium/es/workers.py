"""Evaluation of a generation, in this process or in worker processes.

A generation is split into jobs of `block` members x episodes. With block 0 one job holds the whole population and uses all threads of
this process. Other jobs use one torch thread and give the same bits in this process and in workers.
"""

import functools
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import Env, TorchEnv, World
from sensorium.core.errors import Failure, Usage
from sensorium.core.machine import keep_pages, one_thread
from sensorium.core.processes import end_with_parent
from sensorium.core.rollout import play
from sensorium.nets.agent import Agent

_place: ContextVar[str] = ContextVar("place", default="")


DEAD = "a worker process died (killed, or out of memory); the same command resumes from the last checkpoint"


@contextmanager
def on(place: str) -> Iterator[None]:
    """Context: generations are evaluated `here` or on `processes:N`; "": here for torch worlds, one process per core for simulators.

    Errors: core.errors.Usage for any other place.
    """
    kind, _, count = place.partition(":")
    if place not in ("", "here") and not (kind == "processes" and count.isdigit() and int(count) > 0):
        raise Usage(f"--on cannot be '{place}'; allowed: here, processes:N")
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def processes(simulators: bool) -> int:
    """Number of worker processes; 0: this process does the work. `simulators`: whether the world is not a TorchWorld."""
    place = _place.get()
    if not place:
        return (os.cpu_count() or 1) if simulators else 0
    return int(place.partition(":")[2] or 0)


def open_pool(count: int) -> ProcessPoolExecutor:
    """A pool of `count` processes with one torch thread each, which ignore SIGINT, SIGHUP and SIGTERM."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start, (1,))


@functools.lru_cache(1)
def opened(world: World) -> Env:
    """A world's Env, cached for the next job of this process because some simulators start slowly."""
    return world.open()


@dataclass(frozen=True)
class Job:
    """A block of members with the same number of episodes each."""

    world: World
    agent: Agent
    vectors: Float[Tensor, "members n"]
    seeds: Int[Tensor, "members episodes"]
    compile: bool

    def run(self) -> Float[Tensor, "members 2"]:
        """Mean return and mean length of each member."""
        rollout = play(opened(self.world), self.agent.policy(self.vectors), self.seeds.flatten(), compile=self.compile)
        parts = (rollout.returns, rollout.lengths.to(rollout.returns.dtype))
        return torch.stack([part.view(self.seeds.shape).mean(1) for part in parts], 1)


def _start(threads: int) -> None:
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent handles them; its end ends this process
    keep_pages()
    torch.set_num_threads(threads)


def _run(world: World, agent: Agent, vectors: Any, seeds: Any, compile: bool) -> Any:
    return Job(world, agent, torch.from_numpy(vectors), torch.from_numpy(seeds), compile).run().numpy()


class Workers:
    """Evaluates candidates at the place chosen by `on`. Errors: core.errors.Usage for processes without a `block`."""

    def __init__(self, world: World, agent: Agent, block: int, compile: bool):
        self.world, self.agent, self.block, self.compile = world, agent, block, compile
        self.pool: ProcessPoolExecutor | None = None
        count = processes(not isinstance(world.open(), TorchEnv))
        if count and not block:
            raise Usage("--on processes:N distributes jobs, and this stage has only one; give --stage.block, e.g. 32 members per job")
        if count:
            self.pool = open_pool(count)

    def scores(self, vectors: Float[Tensor, "population n"], seeds: Int[Tensor, "population episodes"]) -> Float[Tensor, "population 2"]:
        """Mean return and mean length of each candidate. Errors: core.errors.Failure where a worker died."""
        size = self.block or len(vectors)
        jobs = [Job(self.world, self.agent, v, s, self.compile) for v, s in zip(vectors.split(size), seeds.split(size), strict=True)]
        if self.pool is None and not self.block:
            return jobs[0].run()
        if self.pool is None:
            with one_thread():
                return torch.cat([job.run() for job in jobs])
        try:
            parts = [
                self.pool.submit(_run, job.world, job.agent, job.vectors.cpu().numpy(), job.seeds.cpu().numpy(), job.compile)
                for job in jobs
            ]
            return torch.cat([torch.from_numpy(part.result()) for part in parts]).to(vectors.device)
        except BrokenProcessPool:
            raise Failure(DEAD) from None

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
