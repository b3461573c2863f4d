"""Jobs on Ray: a cluster of this machine that ends with this process, or an existing one.

Jobs are stateless tasks. Common arguments go through the object store once per generation. Lost tasks are submitted again by this process,
which counts the losses: Ray itself retries nothing.
"""

import functools
import logging
import os
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sensorium.core.errors import Failure, Usage
from sensorium.core.jobs import INSIDE
from sensorium.core.processes import MODULES, fields, guarded
from sensorium.core.workers import Outcome, Workers, attempt, versions

STORE = 200 * 2**20
"""bytes of the local cluster's object store"""
PREFIX = "ray-sensorium-"
"""of the names of local clusters' folders, before the process id; short, because socket paths have a limit of 107 bytes"""
ANSWER = 5.0
"""seconds in which the address of a cluster has to answer"""


def _ray() -> Any:
    """The module ray with its messages, usage statistics and memory monitor off, and workers of normal priority instead of niceness 15.

    Errors: core.errors.Failure where it is missing.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise Failure(f"ray cannot be imported ({error}); pip install 'sensorium[ray]'") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def remove_old_folders() -> None:
    """Delete the folders of local clusters whose process was killed (Linux)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*") if sys.platform.startswith("linux") else ():
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not fields(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def kept_signals() -> Iterator[None]:
    """Context that restores the signal handlers, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def own_sessions() -> Iterator[None]:
    """Context in which Ray's processes are started in sessions of their own.

    A signal to the process group, as of a terminal or a scheduler, then reaches this process only, which finishes its step.
    """
    from ray._private import services

    start = services.ConsolePopen
    services.ConsolePopen = functools.partial(start, start_new_session=True)
    try:
        yield
    finally:
        services.ConsolePopen = start


def _answers(address: str) -> None:
    """Check that something listens at host:port. Errors: core.errors.Failure."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise Usage(f"--on ray:ADDRESS cannot be '{address}'; allowed: auto, HOST:PORT, ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except OSError as error:
        raise Failure(f"no Ray cluster answers at {address} ({error.strerror or error})") from None


def environment() -> dict[str, Any]:
    """The runtime environment of a connection: the user's modules of `--import`; those that are not installed are sent."""
    names = [name for name in os.environ.get(MODULES, "").split(",") if name]
    if not names:
        return {}
    installed = {sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")}
    files = {name.partition(".")[0]: getattr(sys.modules.get(name.partition(".")[0]), "__file__", None) for name in names}
    own = [Path(file) for file in files.values() if file and not any(file.startswith(f"{place}{os.sep}") for place in installed)]
    return {
        "env_vars": {MODULES: ",".join(names)},
        "py_modules": [str(file.parent if file.name == "__init__.py" else file) for file in own],
    }


class Ray(Workers):
    """The workers of a Ray cluster, one per CPU. `address`: "" for a cluster of this machine; `auto`, host:port or ray://host:port.

    A connection that exists is used, and not closed. Errors: core.errors.Failure, core.errors.Usage.
    """

    def __init__(self, address: str = ""):
        super().__init__()
        self.ray = ray = _ray()
        self.folder = ""
        self.own = not ray.is_initialized()
        self.lost = (ray.exceptions.RayError,)  # type: ignore[misc]
        if self.own:
            with kept_signals():
                self.connect(address)
        # a connection of the caller's keeps its own modules; it only gets their names
        named = {} if self.own else {key: value for key, value in environment().items() if key == "env_vars"}
        self.task = ray.remote(num_cpus=1, max_retries=0, runtime_env=named)(attempt)

    def connect(self, address: str) -> None:
        """Start a cluster, or connect to one."""
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False, "runtime_env": environment()}
        if not address:
            remove_old_folders()
            self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
            with guarded(), own_sessions():
                self.ray.init(
                    "local", num_cpus=os.cpu_count(), include_dashboard=False, object_store_memory=STORE, _temp_dir=self.folder,
                    _node_ip_address="127.0.0.1", **quiet,
                )  # fmt: skip
            return
        if address != "auto":
            _answers(address)
        try:
            self.ray.init(address, **quiet)
        except Exception as error:
            with suppress(Exception):
                self.ray.shutdown()
            raise Failure(f"cannot join the Ray cluster at {address}: {' '.join(str(error).split())}") from None

    def __str__(self) -> str:
        return f"ray, {self.workers} worker{'s' * (self.workers > 1)}"

    @property
    def workers(self) -> int:
        """CPUs of the cluster; at least 1."""
        return max(int(self.ray.cluster_resources().get("CPU", 1)), 1)

    def dumps(self, value: Any) -> bytes:
        """As `Workers.dumps`; classes of a script or a notebook are sent by value."""
        return self.ray.cloudpickle.dumps(value)

    def share(self, common: bytes) -> Any:
        """Put the bytes in the object store."""
        return self.ray.put(common)

    def submit(self, common: Any, job: bytes, deadline: int) -> "Future[Outcome]":
        """As `Workers.submit`."""
        return self.task.remote(common, job, deadline, versions(), "ray", os.getcwd()).future()

    def block(self, futures: "list[Future[Outcome] | None]") -> None:
        """In a task, wait by Ray's own means, so that its CPU is free for the tasks that it waits for."""
        if INSIDE:
            self.ray.wait([future.object_ref for future in futures], num_returns=1, fetch_local=False)  # type: ignore[union-attr]

    def cause(self, error: BaseException) -> BaseException:
        """As `Workers.cause`: Ray wraps the exceptions of tasks."""
        if isinstance(error, self.ray.exceptions.RuntimeEnvSetupError):
            return Failure(f"Ray cannot prepare its workers: {' '.join(str(error).split())}")
        return getattr(error, "cause", error) if isinstance(error, self.ray.exceptions.RayTaskError) else error

    def close(self) -> None:
        """Disconnect; a cluster of this machine ends with all its processes."""
        if self.own and self.ray.is_initialized():
            with kept_signals():
                self.ray.shutdown()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
