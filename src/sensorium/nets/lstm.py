"""LSTM over sequences with resets of its state (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

The gate order is input, forget, candidate, output. The backward pass is explicit: products with the recurrent weights run step by
step, the weight gradient is one large product at the end, and matrix products may run in bfloat16. In float32 on CPUs torch's own LSTM
is faster; `fused_sequence` uses it, with steps in between that reset the state.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.machine import compiled
from sensorium.nets.exponential import sigmoid, tanh
from sensorium.nets.packed import affine, product

FORGET_BIAS = 1.0
"""constant added to the forget gates' pre-activations, so that an untrained network keeps its cell state"""
CLOSED = -1e4
"""pre-activation at which a gate is exactly 0, and its negative at which it is exactly 1, in float32"""

Implementation = Literal["explicit", "fused"]
"""`sequence`, or `fused_sequence`"""


def faster(device: torch.device, dtype: torch.dtype) -> Implementation:
    """The faster implementation for sequences: torch's LSTM where oneDNN computes it in float32."""
    fused = device.type == "cpu" and dtype == torch.float32 and torch.backends.mkldnn.is_available()
    return "fused" if fused else "explicit"


def gates(sums: Float[Tensor, "rows four_h"], cell: Float[Tensor, "rows h"]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Next hidden and cell state, and the four gates, from pre-activations and the cell state."""
    i, f, g, o = sums.float().chunk(4, -1)
    i, f, g, o = sigmoid(i), sigmoid(f + FORGET_BIAS), tanh(g), sigmoid(o)
    cell = f * cell + i * g
    return o * tanh(cell), cell, i, f, g, o


def cell(
    x: Float[Tensor, "rows n"], hidden: Float[Tensor, "rows h"], cell: Float[Tensor, "rows h"], kernel: Float[Tensor, "n_and_h four_h"],
    bias: Float[Tensor, "four_h"],
) -> tuple[Float[Tensor, "rows h"], Float[Tensor, "rows h"]]:  # fmt: skip
    """Hidden and cell state after one step, computed in the kernel's dtype; its first rows are those of the inputs."""
    sums = affine(torch.cat([x, hidden], 1), kernel, bias)
    hidden, cell, *_ = gates(sums, cell)
    return hidden, cell


def _forward(sums: Tensor, product: Tensor, cell: Tensor, keep: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden state, masked hidden state and cell state for the next step (reset where `keep` is 0), and the gates."""
    hidden, cell, *four = gates(sums.float() + product.float(), cell)
    # converted before they are joined: otherwise compiled code writes and reads all of them once more, in float32
    return hidden.to(sums.dtype), (hidden * keep * mask).to(sums.dtype), cell * keep, torch.cat([gate.to(sums.dtype) for gate in four], 1)


def _backward(
    four: Tensor, before: Tensor, d_hidden: Tensor, d_next: Tensor, d_cell: Tensor, keep: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the pre-activations and of the previous cell state."""
    i, f, g, o = four.float().chunk(4, 1)
    squashed = tanh(f * before + i * g)
    d_hidden = d_hidden.float() + d_next.float() * keep * mask
    d_cell = d_cell * keep + d_hidden * o * (1 - squashed**2)
    d_input, d_forget = d_cell * g * i * (1 - i), d_cell * before * f * (1 - f)
    d_candidate, d_output = d_cell * i * (1 - g**2), d_hidden * squashed * o * (1 - o)
    return torch.cat([gate.to(four.dtype) for gate in (d_input, d_forget, d_candidate, d_output)], 1), d_cell * f


_steps: dict[bool, tuple[Any, Any]] = {False: (_forward, _backward)}


def _pointwise(compile: bool) -> tuple[Any, Any]:
    if compile not in _steps:
        _steps[compile] = compiled(_forward), compiled(_backward)
    return _steps[compile]


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, sums: Tensor, keep: Tensor, hidden: Tensor, cell: Tensor, w_h: Tensor, compile: bool, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        step, _ = _pointwise(compile)
        # resets apply before a step; after the last step there is none
        after = torch.cat([keep[1:], torch.ones_like(keep[:1])])
        weights, hidden, cell = w_h.to(sums.dtype), (hidden * keep[0] * mask).to(sums.dtype), cell * keep[0]
        multiply = product(weights)
        hiddens, befores, cells, fours = ([sums.new_empty(())] * len(sums) for _ in range(4))
        for t in range(len(sums)):
            befores[t], cells[t] = hidden, cell
            hiddens[t], hidden, cell, fours[t] = step(sums[t], multiply(hidden), cell, after[t], mask)
        ctx.save_for_backward(torch.stack(fours), torch.stack(befores), torch.stack(cells), keep[0], after, weights, mask)
        ctx.compile, ctx.dtype = compile, w_h.dtype
        return torch.stack(hiddens), cell

    @staticmethod
    def backward(ctx: Any, d_hiddens: Tensor, d_cell: Tensor) -> Any:  # type: ignore[override]
        fours, befores, cells, first, after, weights, mask = ctx.saved_tensors
        _, step = _pointwise(ctx.compile)
        d_sums, multiply, d_next = [fours] * len(fours), product(weights.T.contiguous()), torch.zeros_like(befores[0])
        for t in reversed(range(len(fours))):
            d_sums[t], d_cell = step(fours[t], cells[t], d_hiddens[t], d_next, d_cell, after[t], mask)
            d_next = multiply(d_sums[t])
        all_sums = torch.stack(d_sums)
        d_weights = befores.flatten(0, 1).T @ all_sums.flatten(0, 1)
        return all_sums, None, d_next.float() * first * mask, d_cell * first, d_weights.to(ctx.dtype), None, None


def sequence(
    sums: Float[Tensor, "steps rows four_h"], keep: Float[Tensor, "steps rows 1"], hidden: Float[Tensor, "rows h"],
    cell: Float[Tensor, "rows h"], w_h: Float[Tensor, "h four_h"], compile: bool = True, mask: Float[Tensor, "rows h"] | None = None,
) -> tuple[Float[Tensor, "steps rows h"], Float[Tensor, "rows h"]]:  # fmt: skip
    """Hidden states after every step and the last cell state.

    `sums` is the inputs' contribution to the gates, bias included. Its dtype (float32 or bfloat16) is that of the products and of the
    tensors kept for the backward pass. Where `keep` is 0 the state is reset before the step. `mask` multiplies the hidden state before
    each product with the recurrent weights, but not the hidden states that are returned.
    """
    mask = keep.new_ones(1, 1) if mask is None else mask
    return _Sequence.apply(sums, keep, hidden, cell, w_h, compile, mask)  # type: ignore[no-any-return]


def fused_sequence(
    inputs: Float[Tensor, "steps rows n"], keep: Float[Tensor, "steps rows 1"], hidden: Float[Tensor, "rows h"],
    cell: Float[Tensor, "rows h"], kernel: Float[Tensor, "n_and_h four_h"], bias: Float[Tensor, "four_h"],
) -> tuple[Float[Tensor, "steps rows h"], Float[Tensor, "rows h"]]:  # fmt: skip
    """Hidden states after every step and the last cell state, by torch's LSTM in float32.

    Where `keep` is 0 the state is reset before the step: a row gets a step more, in which its input, forget and output gates are closed.
    Rows with fewer resets than others have steps at their end that leave the cell state as it is.
    """
    (steps, rows, width), units = inputs.shape, hidden.shape[1]
    resets = (keep[..., 0] < 0.5).long().cumsum(0)
    most = int(resets[-1].max())
    w_x, forget = kernel[:width].T, torch.zeros_like(bias).index_fill_(0, torch.arange(units, 2 * units, device=bias.device), FORGET_BIAS)
    place = (torch.arange(steps, device=inputs.device)[:, None] + resets)[..., None]
    if most:
        time = torch.arange(steps + most, device=inputs.device)[:, None]
        filled = torch.zeros(steps + most, rows, dtype=torch.bool, device=inputs.device).scatter_(0, place[..., 0], True)
        ended = time > place[-1, :, 0]
        longer = inputs.new_zeros(steps + most, rows, width).scatter(0, place.expand(-1, -1, width), inputs)
        inputs = torch.cat([longer, torch.stack([~filled & ~ended, ended], -1).to(inputs.dtype)], -1)
        # columns: pre-activations of the gates (input, forget, candidate, output) in a reset, and after the end
        gate = torch.tensor([[CLOSED, CLOSED], [CLOSED, -CLOSED], [0.0, 0.0], [CLOSED, 0.0]], device=inputs.device)
        w_x = torch.cat([w_x, gate.repeat_interleave(units, 0)], 1)
    weights = [w_x.contiguous(), kernel[width:].T.contiguous(), bias + forget, torch.zeros_like(bias)]
    hiddens, _, last = torch.lstm(inputs, (hidden[None], cell[None]), weights, True, 1, 0.0, True, False, False)
    return (hiddens.gather(0, place.expand(-1, -1, units)) if most else hiddens), last[0]
