"""Jobs in worker processes: results in order, lost jobs computed again; and the pool of local processes."""

import faulthandler
import functools
import importlib.metadata
import multiprocessing
import os
import pickle
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, ClassVar

import numpy as np
import torch

from sensorium.core.errors import Failure, Usage
from sensorium.core.jobs import INSIDE, Job, Origin, origin
from sensorium.core.machine import keep_pages
from sensorium.core.processes import end_with_parent

Outcome = tuple[float, bytes]
"""seconds of a job, and its pickled result"""


def setting(name: str, default: int) -> int:
    """A number from the environment variable `name`. Errors: core.errors.Usage where it is not a whole number of at least 1."""
    value = os.environ.get(name, str(default))
    if not value.isdigit() or int(value) < 1:
        raise Usage(f"{name} cannot be '{value}'; a whole number, at least 1")
    return int(value)


@functools.cache
def versions() -> tuple[str, ...]:
    """What a worker must have in common with the process that sends it jobs."""
    own = "unknown"
    with suppress(importlib.metadata.PackageNotFoundError):
        own = importlib.metadata.version("sensorium")
    return (
        f"sensorium {own}",
        f"torch {torch.__version__}",
        f"numpy {np.__version__}",
        f"Python {sys.version_info[0]}.{sys.version_info[1]}",
    )


_unpickled = functools.lru_cache(2)(pickle.loads)


def attempt(common: bytes, job: bytes, deadline: int, expected: tuple[str, ...], inside: str, folder: str = ".") -> Outcome:
    """Compute a job in a worker, which ends itself after `deadline` seconds (0: none).

    `inside`: as `core.jobs.INSIDE`. `folder`: the current folder, to which the job's paths are relative, where the worker's machine has it.

    Errors: core.errors.Failure where the worker has other versions.
    """
    if versions() != expected:
        wrong = [f"{there} there, {here} here" for there, here in zip(versions(), expected, strict=True) if there != here]
        raise Failure(f"the worker on {platform.node()} has other versions: {'; '.join(wrong)}")
    began, INSIDE[:] = time.perf_counter(), [inside]
    torch.set_num_threads(1)
    with suppress(OSError):
        os.chdir(folder)
    if deadline:
        faulthandler.dump_traceback_later(deadline, exit=True, file=2)
    try:
        function, shared = _unpickled(common)
        result = pickle.dumps(function(*shared, *pickle.loads(job)))
    finally:
        faulthandler.cancel_dump_traceback_later()
    return time.perf_counter() - began, result


class Workers:
    """A pool of worker processes; a subclass says where. SENSORIUM_JOB_RETRIES and SENSORIUM_JOB_SECONDS limit retries and time of a job."""

    lost: ClassVar[tuple[type[BaseException], ...]]
    """exceptions that mean a lost worker"""

    def __init__(self) -> None:
        self.retries, self.deadline = setting("SENSORIUM_JOB_RETRIES", 3), setting("SENSORIUM_JOB_SECONDS", 3600)
        self.busy = self.available = 0.0

    @property
    def workers(self) -> int:
        """As `core.jobs.Pool.workers`."""
        raise NotImplementedError

    def map(
        self, function: Callable[..., Any], jobs: Iterable[Job], shared: Job = (), *, ahead: int = 0, limited: bool = True
    ) -> Iterator[Any]:  # fmt: skip
        """As `core.jobs.Pool.map`."""
        return Batch(self, function, jobs, shared, ahead, self.deadline if limited else 0).results()

    def dumps(self, value: Any) -> bytes:
        """The value for a worker."""
        return pickle.dumps(value)

    def share(self, common: bytes) -> Any:
        """What `submit` needs to send `common`, which several jobs have in common."""
        return common

    def submit(self, common: Any, job: bytes, deadline: int) -> "Future[Outcome]":
        """Submit an `attempt`."""
        raise NotImplementedError

    def block(self, futures: "list[Future[Outcome] | None]") -> None:
        """Wait, or return at once; called before the result of one of these is waited for."""

    def recover(self) -> None:
        """Prepare for new submissions after a worker was lost; afterwards the futures of all jobs lost with it have ended."""

    def cause(self, error: BaseException) -> BaseException:
        """The exception of the job itself."""
        return error

    def utilisation(self) -> float | None:
        """As `core.jobs.Utilised.utilisation`."""
        share = min(self.busy / self.available, 1.0) if self.available else None
        self.busy = self.available = 0.0
        return share

    def close(self) -> None:
        """End the workers."""
        raise NotImplementedError


@dataclass
class Submitted:
    """A job that has been submitted."""

    number: int
    job: bytes
    losses: int = 0
    future: "Future[Outcome] | None" = None


class Batch:
    """The jobs of one `map`."""

    def __init__(self, pool: Workers, function: Callable[..., Any], jobs: Iterable[Job], shared: Job, ahead: int, deadline: int):
        self.pool, self.jobs, self.ahead, self.deadline = pool, iter(jobs), ahead, deadline
        self.origin = origin.get(Origin())
        self.first = self.origin.count
        self.common = self.pickled((function, shared))
        self.sent = pool.share(self.common)
        self.pending: dict[int, Submitted] = {}
        self.done: dict[int, Any] = {}
        self.ended: SimpleQueue[Submitted] = SimpleQueue()
        self.count = self.taken = 0

    def results(self) -> Iterator[Any]:
        """The results in order."""
        began = time.perf_counter()
        try:
            self.fill()
            while self.pending or self.taken in self.done:
                while self.taken not in self.done:
                    self.settle()
                    began = self.measure(began)
                self.taken += 1
                self.fill()
                yield self.done.pop(self.taken - 1)
        finally:
            for each in self.pending.values():
                assert each.future is not None
                each.future.cancel()

    def measure(self, began: float) -> float:
        """Count the time since `began` as available to the workers; returns the current time."""
        now = time.perf_counter()
        self.pool.available += (now - began) * self.pool.workers
        return now

    def pickled(self, value: Any) -> bytes:
        """The value for a worker. Errors: core.errors.Usage where it cannot be sent."""
        try:
            return self.pool.dumps(value)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise Usage(f"{str(error).splitlines()[0]}, so it cannot be sent to other processes; give --on here") from None

    def fill(self) -> None:
        """Submit further jobs: all, or up to `ahead`."""
        while not self.ahead or self.count - self.taken < self.ahead:
            job = next(self.jobs, None)
            if job is None:
                return
            self.submit(Submitted(self.count, self.pickled(job)))
            self.count += 1
            self.origin.count += not self.ahead

    def submit(self, each: Submitted) -> None:
        """Submit a job for the first time, or again."""
        self.pending[each.number] = each
        each.future = self.pool.submit(self.sent, each.job, self.deadline)
        each.future.add_done_callback(lambda _: self.ended.put(each))

    def settle(self) -> None:
        """Wait until a job has ended, take its result, and submit lost jobs again. Errors: those of the job."""
        self.pool.block([each.future for each in self.pending.values()])
        lost = self.take(self.ended.get())
        if not lost:
            return
        self.pool.recover()
        while not self.ended.empty():
            lost += self.take(self.ended.get())
        # objects sent earlier may be lost as well
        self.sent = self.pool.share(self.common)
        # of the jobs lost together, only the first ones can have been running
        for order, each in enumerate(sorted(lost, key=lambda each: each.number)):
            each.losses += order < self.pool.workers
            if each.losses > self.pool.retries:
                ahead = bool(self.ahead)
                raise Failure(
                    f"a job was lost {each.losses} times: its worker died, was out of memory, or took over {self.deadline} s; "
                    f"to compute it here: {self.origin.of(each.number + (0 if ahead else self.first), ahead)}"
                )
            self.submit(each)

    def take(self, each: Submitted) -> list[Submitted]:
        """Take the result of a job that has ended; returns the job if it is lost. Errors: those of the job."""
        assert each.future is not None
        del self.pending[each.number]
        error = each.future.exception()
        if error is None:
            seconds, result = each.future.result()
            self.pool.busy += seconds
            self.done[each.number] = pickle.loads(result)
            return []
        error = self.pool.cause(error)
        if isinstance(error, (*self.pool.lost, MemoryError)):
            return [each]
        raise error from None


def _start() -> None:
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent handles them; its end ends this process
    keep_pages()
    torch.set_num_threads(1)


class Processes(Workers):
    """A number of local processes, which ignore SIGINT, SIGHUP and SIGTERM."""

    lost = (BrokenProcessPool,)

    def __init__(self, count: int):
        super().__init__()
        self.count = count
        self.executor: ProcessPoolExecutor | None = None

    def __str__(self) -> str:
        return f"{self.count} process{'es' * (self.count > 1)}"

    @property
    def workers(self) -> int:
        """As `core.jobs.Pool.workers`."""
        return self.count

    def submit(self, common: bytes, job: bytes, deadline: int) -> "Future[Outcome]":
        """As `Workers.submit`."""
        if self.executor is None:
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            self.executor = ProcessPoolExecutor(self.count, multiprocessing.get_context("spawn"), _start)
        try:
            return self.executor.submit(attempt, common, job, deadline, versions(), "here")
        except BrokenProcessPool as error:
            broken: Future[Outcome] = Future()
            broken.set_exception(error)
            return broken

    def recover(self) -> None:
        """Kill the remaining workers; the next submission starts others."""
        executor, self.executor = self.executor, None
        if executor is not None:
            # the executor would wait for workers that ignore SIGTERM and may hang
            for process in list((executor._processes or {}).values()):
                process.kill()
            executor.shutdown()

    def close(self) -> None:
        """End the workers; those with a job are killed."""
        if self.executor is not None and not self.executor._pending_work_items:
            self.executor.shutdown()
            self.executor = None
        self.recover()
