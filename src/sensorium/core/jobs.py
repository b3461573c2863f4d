"""Jobs: independent pieces of work, computed in this process, in local processes or on a Ray cluster, with the same bits.

A job is a call of a module-level function. It uses one torch thread wherever it runs, and its result depends on its arguments alone. A job
whose worker is lost (killed, out of memory, longer than its deadline) is computed again, so what it writes must be written atomically.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from sensorium.core.env import Env, TorchEnv, World, closing
from sensorium.core.errors import Usage
from sensorium.core.log import tell
from sensorium.core.machine import one_thread

PLACES = "here, processes:N, ray, ray:ADDRESS"
"""allowed values of --on"""

Job = tuple[Any, ...]
"""the arguments of a job that are its own"""


@runtime_checkable
class Pool(Protocol):
    """Computes jobs at one place."""

    @property
    def workers(self) -> int:
        """Jobs computed at the same time."""
        ...

    def map(
        self, function: Callable[..., Any], jobs: Iterable[Job], shared: Job = (), *, ahead: int = 0, limited: bool = True
    ) -> Iterator[Any]:  # fmt: skip
        """Yield `function(*shared, *job)` for each job, in order, as they come.

        `shared` is sent once per call. With `ahead` each job is that of one step of a stage, and at most `ahead` are submitted before the
        result of an earlier one is taken. `limited`: whether jobs have a deadline. Errors: those of the function, core.errors.Usage for what
        cannot be sent to a worker, core.errors.Failure for a job that is lost too often.
        """
        ...

    def close(self) -> None:
        """End the workers, unless they belong to a surrounding `on`."""
        ...


@runtime_checkable
class Utilised(Protocol):
    """Open resources that measure how busy their workers are."""

    def utilisation(self) -> float | None:
        """Share of the workers' time spent in jobs since the last call; None where there are no workers, or no jobs."""
        ...


class Here:
    """Computes jobs in this process, each when its result is asked for."""

    workers = 1

    def map(
        self, function: Callable[..., Any], jobs: Iterable[Job], shared: Job = (), *, ahead: int = 0, limited: bool = True
    ) -> Iterator[Any]:  # fmt: skip
        """As `Pool.map`; nothing is submitted ahead, and there are no deadlines."""
        for job in jobs:
            with one_thread():
                result = function(*shared, *job)
            yield result

    def close(self) -> None:
        """Nothing to end."""


@dataclass
class Origin:
    """Where jobs come from: the command that computes one of them alone, here."""

    command: str = "the same command with --on here"
    folder: str = ""
    """of the stage whose step the jobs belong to; empty: `command` is that of all jobs"""
    step: int = 0
    count: int = 0
    """jobs submitted in this step"""

    def of(self, number: int, ahead: bool) -> str:
        """The command of job `number` of the step; with `ahead`, of the only job `number` steps later."""
        step, job = (self.step + number, 0) if ahead else (self.step, number)
        return f"python -m sensorium.job {self.folder} {step} {job}" if self.folder else self.command


origin: ContextVar[Origin] = ContextVar("origin")


@contextmanager
def coming_from(source: Origin) -> Iterator[None]:
    """Context: a job that is lost too often is reported with this origin."""
    token = origin.set(source)
    try:
        yield
    finally:
        origin.reset(token)


@dataclass
class Place:
    """A place as --on names it, and its pools by name once they are open."""

    text: str = ""
    pools: dict[str, Pool] = field(default_factory=dict)


_place: ContextVar[Place | None] = ContextVar("place", default=None)


@contextmanager
def on(text: str) -> Iterator[None]:
    """Context: jobs are computed at a place, whose workers live until its end; "": as around it, else as `default_place` says.

    Errors: core.errors.Usage for a place that is not one of PLACES.
    """
    kind, _, rest = text.partition(":")
    processes = kind == "processes" and rest.isdigit() and int(rest) > 0
    if not (text in ("", "here", "ray") or processes or (kind == "ray" and rest)):
        raise Usage(f"--on cannot be '{text}'; allowed: {PLACES}")
    if not text and _place.get() is not None:
        yield
        return
    with at(Place(text)):
        yield


@contextmanager
def at(place: Place) -> Iterator[None]:
    """Context: jobs are computed at this place, whose pools are closed at its end."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)
        for pool in place.pools.values():
            pool.close()


def chosen() -> str | None:
    """The place of a surrounding `on`; None without one."""
    place = _place.get()
    return None if place is None else place.text


INSIDE: list[str] = []
"""in a worker, the place of the jobs of its jobs: `here` in a local process, `ray` on Ray"""


def default_place(simulators: bool) -> str:
    """Where jobs are computed if no place is named: those of simulators in one process per core, those of worlds in torch here."""
    if not simulators:
        return "here"
    return INSIDE[0] if INSIDE else f"processes:{os.cpu_count() or 1}"


def place_of(simulators: bool) -> str:
    """Where jobs are computed, as --on names it. `simulators`: whether their world is not a TorchWorld."""
    return chosen() or default_place(simulators)


class Borrowed:
    """A pool of a surrounding `on`."""

    def __init__(self, pool: Pool):
        self.pool, self.map = pool, pool.map

    @property
    def workers(self) -> int:
        """As `Pool.workers`."""
        return self.pool.workers

    def utilisation(self) -> float | None:
        """As `Utilised.utilisation`."""
        return self.pool.utilisation() if isinstance(self.pool, Utilised) else None

    def close(self) -> None:
        """The pool stays open."""


def open_pool(simulators: bool) -> Pool:
    """The pool of the place, which its user closes. `simulators`: as for `place_of`. Prints to stderr what it starts."""
    text, place = place_of(simulators), _place.get()
    if text == "here":
        return Here()
    if place is not None and text in place.pools:
        return Borrowed(place.pools[text])
    pool = _start(text)
    tell(f"on {pool}")
    if place is None:
        return pool
    place.pools[text] = pool
    return Borrowed(pool)


def _start(text: str) -> Pool:
    kind, _, rest = text.partition(":")
    if kind == "ray":
        from sensorium.core.cluster import Ray

        return Ray(rest)
    from sensorium.core.workers import Processes

    return Processes(int(rest))


def simulated(world: World) -> bool:
    """Whether a world is not a TorchWorld."""
    with closing(world) as env:
        return not isinstance(env, TorchEnv)


@functools.lru_cache(1)
def opened(world: World) -> Env:
    """A world's Env, kept for the next job of this process because some simulators start slowly."""
    return world.open()
