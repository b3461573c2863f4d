"""Equations of Tang & Ha 2021, "The Sensory Neuron as a Transformer" (arXiv 2109.02869).

N sensors, M rows of the code, H LSTM units of a neuron, d dimensions of queries and keys. In the functions without vision the last axis is
rows (episodes): each row has its own weights (a population of agents), or the axis has length 1 and all rows share them. Operations are
vectorised along this axis.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from sensorium.nets import exponential
from sensorium.nets.attention import softmax_attention
from sensorium.nets.exponential import sigmoid


def positional_table(rows: int, width: int) -> Float[Tensor, "rows width"]:
    """Fixed queries Q: sin (even columns j) or cos (odd j) of i / 10000^(2 floor(j/2) / width) (section 3.1, Vaswani et al. 2017)."""
    i = torch.arange(rows, dtype=torch.float64)[:, None]
    j = torch.arange(width)[None, :]
    angle = i / 10000.0 ** (2 * (j // 2) / width)
    return torch.where(j % 2 == 0, torch.sin(angle), torch.cos(angle)).to(torch.float32)


def tanh(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """tanh(x), exact to 5e-7. Compiled for AVX-512, 2 sigmoid(2x) - 1 takes a third of the time of torch.tanh, with gradients too."""
    return exponential.tanh(x) if exponential.approximated(x) else 2 * sigmoid(2 * x) - 1


def product(weight: Float[Tensor, "out in #rows"], x: Float[Tensor, "in *middle rows"]) -> Float[Tensor, "out *middle rows"]:
    """weight @ x for each row, with one weight for all rows or one per row."""
    if weight.shape[-1] == 1:
        return (weight[..., 0] @ x.reshape(len(x), -1)).view(-1, *x.shape[1:])
    middle = (1,) * (x.dim() - 2)
    return (weight.view(*weight.shape[:2], *middle, -1) * x).sum(1)


def lstm(gates: Float[Tensor, "gates *rest"], cell: Float[Tensor, "H *rest"]) -> tuple[Float[Tensor, "H *rest"], Float[Tensor, "H *rest"]]:
    """Hidden and cell state after one step, from the pre-activations of the gates i, f, g, o (the recurrent f_k of section 3.1)."""
    i, f, g, o = gates.chunk(4)
    cell = sigmoid(f) * cell + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(cell), cell


def attention(queries: Float[Tensor, "M d #rows"], keys: Float[Tensor, "d N rows"], scale: float = 1.0) -> Float[Tensor, "M N rows"]:
    """Attention weight of each row of the code on each sensor: tanh(Q K^T / scale) (eq. 2)."""
    return tanh(product(queries, keys) / scale)


def message(weights: Float[Tensor, "M N rows"], values: Float[Tensor, "N rows"], gain: float = 1.0) -> Float[Tensor, "M rows"]:
    """The code, the input of the policy head: tanh of the weighted sum over sensors (eq. 2; the outer tanh is from the released code).

    The sum makes the code independent of the order of the sensors. It is not normalised, so `gain` is 0.5 when the number of sensors is
    doubled (table 1, footnote).
    """
    return tanh(gain * (weights * values).sum(1))


# with vision: patches n of N, frames t of T, pixels p of a patch; episodes ("rows") first


def differences(frames: Float[Tensor, "*rows T p"]) -> Float[Tensor, "*rows less p"]:
    """Differences of consecutive frames, the input of the keys (appendix, and the released code)."""
    return frames[..., 1:, :] - frames[..., :-1, :]


def visual_message(
    queries: Float[Tensor, "#rows M d"], keys: Float[Tensor, "rows N d"], values: Float[Tensor, "rows N d"]
) -> Float[Tensor, "rows M d"]:
    """softmax(Q K^T / sqrt(d)) V, the softmax over patches (eq. 2 with softmax).

    The M x N weights are not materialised, except for gradients in bfloat16, where materialising them takes half the time.
    """
    rows, kind = len(keys), keys.device.type
    if keys.requires_grad and torch.is_autocast_enabled(kind):
        with torch.autocast(kind, enabled=False):
            parts = (queries / keys.shape[-1] ** 0.5).expand(rows, -1, -1), keys, values
            return softmax_attention(*(part.to(torch.get_autocast_dtype(kind)) for part in parts))
    mixed = scaled_dot_product_attention(queries.expand(rows, -1, -1)[:, None], keys[:, None], values[:, None])
    return mixed[:, 0]


def normalised(
    x: Float[Tensor, "*rows d"], weight: Float[Tensor, "*#rows d"] | None = None, bias: Float[Tensor, "*#rows d"] | None = None
) -> Float[Tensor, "*rows d"]:
    """Layer normalisation over the last axis (Ba et al. 2016)."""
    x = layer_norm(x, x.shape[-1:])
    return x if weight is None or bias is None else x * weight + bias


def votes(queries: Float[Tensor, "M d"], keys: Float[Tensor, "M d"]) -> Float[Tensor, "M"]:
    """Column sums of softmax(Q K^T), the importance of each entry (Tang, Nguyen & Ha 2020, section 3).

    "Neuroevolution of self-interpretable agents". This is the reference implementation; `nets.attention.votes` computes the same without
    the M x M weights.
    """
    return torch.softmax(queries @ keys.mT, -1).sum(-2)


def most_voted(importance: Float[Tensor, "rows M"], count: int) -> Int[Tensor, "rows count"]:
    """Indices of the entries with the most votes, in descending order."""
    return importance.topk(count, 1).indices
