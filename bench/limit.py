"""What the machine's matrix products allow, for the share `of_limit` of a row."""

import time
from collections.abc import Callable

import torch

SIDE = 1024


def products_per_second(dtype: torch.dtype) -> Callable[[], float]:
    """A measurement of floating-point operations per second: products of two matrices [1024, 1024]."""
    left, right = torch.rand(SIDE, SIDE).to(dtype), torch.rand(SIDE, SIDE).to(dtype)

    def measured() -> float:
        count, began = 8, time.perf_counter()
        for _ in range(count):
            left @ right
        return count * 2 * SIDE**3 / (time.perf_counter() - began)

    return measured
