"""Rows of a registered Gymnasium environment in worker processes. Imports no torch: workers start in half a second."""

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np

from sensorium.core.errors import Failure, Usage
from sensorium.core.processes import end_with
from sensorium.envs.rows import Made, Rows


class Unknown(Exception):
    """A worker cannot make an environment: it was registered by a script, with a class that has no module."""


class Workers:
    """Rows in worker processes, a contiguous part in each. Errors: `Unknown`, and core.errors as for `Rows`."""

    def __init__(self, made: Made, count: int):
        self.made, self.workers = made, [Worker(made) for _ in range(count)]
        try:
            for worker in self.workers:
                worker.receive(60, "at its start")
        except BaseException:
            self.close()
            raise

    def begin(self, seeds: Sequence[int]) -> np.ndarray:
        self.parts = np.array_split(np.arange(len(seeds)), len(self.workers))
        self.seeds, self.t = list(seeds), 0
        return np.concatenate(self.ask("begin", [([self.seeds[row] for row in part],) for part in self.parts]))

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        self.t += 1
        found = self.ask("step", [(action[part], live[part]) for part in self.parts])
        obs, rewards, terminated, truncated = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return obs, rewards, terminated, truncated

    def states(self) -> np.ndarray:
        return np.concatenate(self.ask("states", [() for _ in self.parts]))

    def ask(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        """The results of all workers that have rows, in order."""
        busy = [(worker, part, given) for worker, part, given in zip(self.workers, self.parts, arguments, strict=True) if len(part)]
        for worker, _, given in busy:
            worker.send((method, *given))
        found = []
        for worker, part, _ in busy:
            where = f"a seed of {', '.join(str(self.seeds[row]) for row in part)}; step {self.t}"
            found.append(worker.receive(self.made.patience + 5, where))
        return found

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


class Worker:
    """One worker process. It does not run the user's script again, as a spawned process would; it ends with this process."""

    def __init__(self, made: Made):
        self.id = made.id
        ours, theirs = socket.socketpair()
        command = f"from sensorium.envs.row_workers import serve; serve({theirs.fileno()}, {os.getpid()})"
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-c", command], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.pipe = Connection(ours.detach())
        try:
            self.send((made, pickle.dumps(gymnasium.spec(made.id))))
        except (pickle.PicklingError, AttributeError, TypeError):
            self.close()
            raise Unknown from None

    def send(self, message: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(message)

    def receive(self, seconds: float, where: str) -> Any:
        """The next result. Errors: those of the worker; core.errors.Failure where it ended or does not answer."""
        try:
            if not self.pipe.poll(seconds):
                self.process.kill()
                raise Failure(f"gym:{self.id} ({where}) hangs: no answer for {seconds:g} s")
            result = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            code = self.process.wait()
            reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise Failure(f"gym:{self.id} ({where}) ended its process ({reason})") from None
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        self.pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.process.kill()
        self.process.wait()


def serve(descriptor: int, parent: int) -> None:
    """The program of a worker: answers requests on a socket until it closes."""
    end_with(parent)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent handles them and closes the socket
    pipe = Connection(descriptor)
    made, spec = pipe.recv()
    try:
        if made.id not in gymnasium.registry:
            gymnasium.registry[made.id] = pickle.loads(spec)
        pipe.send(True)
    except Exception:
        pipe.send(Unknown())
    rows = Rows(made)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            method, *given = pipe.recv()
            try:
                result = getattr(rows, method)(*given)
            except (Usage, Failure) as error:
                result = error
            pipe.send(result)
    rows.close()
