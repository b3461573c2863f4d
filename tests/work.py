"""Functions of jobs for tests, in a module that workers import."""

import os
import time
from pathlib import Path

import torch

from sensorium.core.errors import Failure


def product(scale: torch.Tensor, number: int, seconds: float = 0.0) -> torch.Tensor:
    """The tensor times a number, after some seconds."""
    time.sleep(seconds)
    return scale * number


def threads() -> int:
    """Torch threads of a job."""
    return torch.get_num_threads()


def die_once(folder: Path, number: int) -> int:
    """End the process at the first attempt of job 1; the number."""
    attempts(folder, number)
    if number == 1 and len(list(folder.glob("1.*"))) == 1:
        os._exit(7)
    return number


def hang_once(folder: Path, number: int) -> int:
    """Hang at the first attempt of job 1; the number."""
    attempts(folder, number)
    if number == 1 and len(list(folder.glob("1.*"))) == 1:
        time.sleep(600)
    return number


def attempts(folder: Path, number: int) -> None:
    """Leave a file for an attempt of a job."""
    (folder / f"{number}.{os.getpid()}.{time.monotonic_ns()}").touch()


def die() -> None:
    """End the process."""
    os._exit(7)


def fail(number: int) -> None:
    """Fail as a job does."""
    raise Failure(f"job {number} failed")


def exhaust() -> None:
    """Run out of memory."""
    raise MemoryError
