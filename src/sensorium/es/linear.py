"""Dense linear algebra for strategies: NumPy on the CPU, where its `eigh` takes two thirds of torch's time, torch on other devices."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def product(a: Float[Tensor, "*rows n"], b: Float[Tensor, "n m"]) -> Float[Tensor, "*rows m"]:
    """The matrix product a b."""
    return torch.from_numpy(a.numpy() @ b.numpy()) if a.is_cpu else a @ b


def eigensystem(a: Float[Tensor, "n n"]) -> tuple[Float[Tensor, "n"], Float[Tensor, "n n"]]:
    """Eigenvalues of a symmetric matrix in ascending order, and eigenvectors in columns."""
    if a.is_cpu:
        values, axes = np.linalg.eigh(a.numpy())
        return torch.from_numpy(values), torch.from_numpy(axes)
    return torch.linalg.eigh(a)
