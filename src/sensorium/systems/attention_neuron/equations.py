"""The mathematics of Tang & Ha 2021, "The Sensory Neuron as a Transformer" (arXiv 2109.02869), without vision.

N sensors, M rows of the code, H units of a neuron, d the width of queries and keys. Episodes ("rows") stand last: every row may have
weights of its own (a population of agents) or all share one set (then that axis has length 1), and the lanes of the processor run
along it.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def positional_table(rows: int, width: int) -> Float[Tensor, "rows width"]:
    """The fixed queries Q: sin in even and cos in odd columns of i / 10000^(2 floor(j/2) / width) (section 3.1, after Vaswani et al. 2017)."""
    i = torch.arange(rows, dtype=torch.float64)[:, None]
    j = torch.arange(width)[None, :]
    angle = i / 10000.0 ** (2 * (j // 2) / width)
    return torch.where(j % 2 == 0, torch.sin(angle), torch.cos(angle)).to(torch.float32)


def tanh(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """tanh(x) = 2 sigmoid(2x) - 1, to 2e-7: compiled for AVX-512 it takes a third of torch.tanh's time."""
    return 2 * torch.sigmoid(2 * x) - 1


def product(weight: Float[Tensor, "out in #rows"], x: Float[Tensor, "in *middle rows"]) -> Float[Tensor, "out *middle rows"]:
    """weight @ x in every row, whether rows share one weight or have their own."""
    if weight.shape[-1] == 1:
        return (weight[..., 0] @ x.reshape(len(x), -1)).view(-1, *x.shape[1:])
    middle = (1,) * (x.dim() - 2)
    return (weight.view(*weight.shape[:2], *middle, -1) * x).sum(1)


def lstm(gates: Float[Tensor, "gates *rest"], cell: Float[Tensor, "H *rest"]) -> tuple[Float[Tensor, "H *rest"], Float[Tensor, "H *rest"]]:
    """Hidden and cell state after one step, from the summed inputs of the gates i, f, g, o (the recurrent f_k of section 3.1)."""
    i, f, g, o = gates.chunk(4)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * tanh(g)
    return torch.sigmoid(o) * tanh(cell), cell


def attention(queries: Float[Tensor, "M d #rows"], keys: Float[Tensor, "d N rows"], scale: float = 1.0) -> Float[Tensor, "M N rows"]:
    """How much each row of the code listens to each sensor: tanh(Q K^T / scale) (eq. 2)."""
    return tanh(product(queries, keys) / scale)


def message(weights: Float[Tensor, "M N rows"], values: Float[Tensor, "N rows"], gain: float = 1.0) -> Float[Tensor, "M rows"]:
    """The code that the policy reads: tanh of the weighted sum over sensors (eq. 2; its outer tanh is the released code's).

    The sum is what forgets the sensors' order, and what lets their number change; it is not normalised, hence a gain of 0.5 where
    twice as many sensors are plugged in (table 1, footnote).
    """
    return tanh(gain * (weights * values).sum(1))
