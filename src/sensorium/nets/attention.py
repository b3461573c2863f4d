"""Attention for training, and column sums of attention matrices, one row of a batch at a time so that the weights fit in the CPU cache."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.machine import compiled
from sensorium.nets.exponential import LOG2_E, power_of_two


def exp_scores(queries: Float[Tensor, "q d"], keys: Float[Tensor, "d n"]) -> tuple[Float[Tensor, "q n"], Float[Tensor, "q"]]:
    """exp(Q K^T - row maximum) and its row sums. The product is an explicit sum over d, which the compiler fuses (d is small)."""
    queries = LOG2_E * queries
    scores = queries[:, :1] * keys[:1]
    for i in range(1, len(keys)):
        scores = scores + queries[:, i : i + 1] * keys[i : i + 1]
    weights = power_of_two(scores - scores.amax(1, keepdim=True))
    return weights, weights.sum(1)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        weights = torch.softmax(queries @ keys.mT.contiguous(), -1)
        ctx.save_for_backward(queries, keys, values, weights)
        return weights @ values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        queries, keys, values, weights = ctx.saved_tensors
        p, d_p = weights.float(), (gradient @ values.mT.contiguous()).float()
        d_scores = (p * (d_p - (p * d_p).sum(-1, keepdim=True))).to(weights.dtype)
        # the small factors are transposed, and not the weights
        d_keys, d_values = queries.mT.contiguous() @ d_scores, gradient.mT.contiguous() @ weights
        return d_scores @ keys, d_keys.mT, d_values.mT


def softmax_attention(
    queries: Float[Tensor, "rows m d"], keys: Float[Tensor, "rows n d"], values: Float[Tensor, "rows n v"]
) -> Float[Tensor, "rows m v"]:
    """softmax(Q K^T) V, for training: the weights are kept for the gradients, which need no transposed copy of them."""
    return _Attention.apply(queries, keys, values)  # type: ignore[no-any-return]


_compiled: list[Callable[..., Any]] = []


def votes(queries: Float[Tensor, "rows m d"], keys: Float[Tensor, "rows m d"], compile: bool = True) -> Float[Tensor, "rows m"]:
    """Column sums of softmax(Q K^T) for each row: the total attention that each key receives.

    On the CPU, compiled and without gradients, row by row; otherwise as one batched softmax.
    """
    if not compile or queries.device.type != "cpu" or torch.is_grad_enabled():
        return torch.softmax(queries @ keys.mT, -1).sum(-2)
    if not _compiled:
        _compiled.append(compiled(exp_scores))
    found = torch.zeros(keys.shape[:2])
    for total, q, k in zip(found, queries, keys.mT.contiguous(), strict=True):
        weights, sums = _compiled[0](q, k)
        total.addmv_(weights.T, sums.reciprocal_())
    return found
