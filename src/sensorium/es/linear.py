"""Dense linear algebra for strategies: NumPy's on the CPU, where its `eigh` takes two thirds of the time of torch's, and torch's elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@contextmanager
def one_pool() -> Iterator[None]:
    """Within, torch keeps to one thread: its threads and NumPy's each spin while they wait for work, in the way of the others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def product(a: Float[Tensor, "*rows n"], b: Float[Tensor, "n m"]) -> Float[Tensor, "*rows m"]:
    """a b."""
    return torch.from_numpy(a.numpy() @ b.numpy()) if a.is_cpu else a @ b


def eigensystem(a: Float[Tensor, "n n"]) -> tuple[Float[Tensor, "n"], Float[Tensor, "n n"]]:
    """Eigenvalues of a symmetric matrix, rising, and their vectors in columns."""
    if a.is_cpu:
        values, axes = np.linalg.eigh(a.numpy())
        return torch.from_numpy(values), torch.from_numpy(axes)
    return torch.linalg.eigh(a)
