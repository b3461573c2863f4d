"""Child processes end with their parent, even after kill -9: worker processes and external simulators. Linux only."""

import atexit
import ctypes
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1  # of Linux's prctl
MODULES = "SENSORIUM_IMPORT"
"""environment variable with the modules, separated by commas, that the user imports to register environments"""

GUARD = """
import os, signal, sys
def began(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[19]
    except OSError:
        return None
watched = [line.split() for line in sys.stdin]
for pid, start in watched:
    # the start time differs where the process id has been reused
    if began(pid) == start:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass
"""
"""program of the guard process: reads process ids and start times from a pipe until it closes, then kills those still running"""


def end_with_parent() -> None:
    """Ask the kernel to kill this worker of `multiprocessing` when its parent ends."""
    parent = multiprocessing.parent_process()
    end_with(parent.pid if parent is not None else None)


def end_with(parent: int | None) -> None:
    """Ask the kernel to kill this process when its parent, of this process id, ends."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # the parent may have ended before the call
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def fields(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty where there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def descendants() -> set[int]:
    """Process ids of this process's children, of their children, and so on."""
    parents = {int(path.name): fields(int(path.name))[1:2] for path in Path("/proc").iterdir() if path.name.isdigit()}
    found, last = set[int](), {os.getpid()}
    while last:
        last = {process for process, parent in parents.items() if parent and int(parent[0]) in last} - found
        found |= last
    return found


@functools.cache
def _guard(owner: int) -> IO[bytes]:
    """The pipe to the guard of process `owner`; a forked process starts its own."""
    command = [sys.executable, "-S", "-E", "-c", GUARD]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    guard.returncode = 0  # suppresses the warning about a running child: the guard outlives this process
    assert guard.stdin is not None
    atexit.register(guard.stdin.close)
    return guard.stdin


@contextmanager
def guarded() -> Iterator[None]:
    """Context: processes that this one or its children start in it are killed when this process ends, even by kill -9."""
    if not sys.platform.startswith("linux"):
        yield
        return
    pipe, before = _guard(os.getpid()), descendants()
    try:
        yield
    finally:
        found = [(process, fields(process)) for process in descendants() - before]
        with suppress(OSError):
            pipe.write(b"".join(f"{process} {stat[19]}\n".encode() for process, stat in found if len(stat) > 19))
            pipe.flush()
