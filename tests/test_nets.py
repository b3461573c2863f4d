"""Shared network parts against torch's own."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import conv_transpose2d

from sensorium.core import machine
from sensorium.core.errors import Failure
from sensorium.core.machine import compiled
from sensorium.nets import descent, exponential, lstm, packed, whitening
from sensorium.nets.attention import softmax_attention
from sensorium.nets.conv import conv_transpose_stride2


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("size", "side"), [(5, 1), (5, 5), (6, 13), (4, 3), (3, 2)])
def test_conv_transpose_stride2_equals_torchs(size, side):
    x, weight, bias = random(2, 3, side, side), random(3, 4, size, size, seed=1), random(4, seed=2)
    torch.testing.assert_close(conv_transpose_stride2(x, weight, bias), conv_transpose2d(x, weight, bias, stride=2), rtol=1e-4, atol=1e-4)


def test_exponentials_equal_torchs_eager_and_compiled():
    x = torch.linspace(-120, 120, 100001)
    torch.testing.assert_close(exponential.power_of_two(x).double(), torch.exp2(x.double()), rtol=1e-6, atol=0)
    assert exponential.power_of_two(torch.tensor([-1e6])).item() == 2.0**-126
    extremes = torch.tensor([-math.inf, -1e6, 1e6, math.inf])
    for sigmoid, tanh in ((exponential.sigmoid, exponential.tanh), (compiled(exponential.sigmoid), compiled(exponential.tanh))):
        torch.testing.assert_close(sigmoid(x), torch.sigmoid(x), atol=2e-7, rtol=1e-6)
        torch.testing.assert_close(tanh(x), torch.tanh(x), atol=5e-7, rtol=0)
        torch.testing.assert_close(sigmoid(extremes), torch.sigmoid(extremes), atol=1e-37, rtol=0)
        assert tanh(extremes).tolist() == [-1, -1, 1, 1]
        near = torch.logspace(-9, 1, 10001)
        torch.testing.assert_close(tanh(near), torch.tanh(near.double()).float(), atol=0, rtol=6e-7)


def test_cell_equals_torchs_lstm_with_a_forget_bias():
    n, h = 4, 5
    ours, theirs = {"kernel": random(n + h, 4 * h) * 0.4, "bias": random(4 * h, seed=1)}, torch.nn.LSTMCell(n, h)
    with torch.no_grad():
        theirs.weight_ih.copy_(ours["kernel"][:n].T)
        theirs.weight_hh.copy_(ours["kernel"][n:].T)
        theirs.bias_ih.copy_(ours["bias"])
        theirs.bias_hh.zero_()
        theirs.bias_hh[h : 2 * h] = lstm.FORGET_BIAS
    x, hidden, cell = random(3, n, seed=2), random(3, h, seed=3), random(3, h, seed=4)
    for mine, other in zip(lstm.cell(x, hidden, cell, **ours), theirs(x, (hidden, cell)), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("masked", [False, True])
def test_sequence_and_its_gradient_equal_single_steps_of_the_cell(masked: bool):
    steps, rows, n, h = 7, 3, 4, 5
    x, keep = random(steps, rows, n), (torch.rand(steps, rows, 1, generator=torch.Generator().manual_seed(1)) > 0.3).float()
    parts = [random(n, 4 * h, seed=2), random(h, 4 * h, seed=3), random(4 * h, seed=4), random(rows, h, seed=5), random(rows, h, seed=6)]
    parts = [(0.4 * part).requires_grad_() for part in parts]
    w_x, w_h, bias, hidden, cell = parts
    mask = random(rows, h, seed=8) if masked else None
    hiddens, last = lstm.sequence(x @ w_x + bias, keep, hidden, cell, w_h, compile=False, mask=mask)
    expected, kernel = [], torch.cat([w_x, w_h])
    for t in range(steps):
        seen = hidden if mask is None else hidden * mask
        hidden, cell = lstm.cell(x[t], seen * keep[t], cell * keep[t], kernel, bias)
        expected.append(hidden)
    torch.testing.assert_close(hiddens, torch.stack(expected))
    torch.testing.assert_close(last, cell)
    weight = random(steps, rows, h, seed=7)
    ours = torch.autograd.grad((hiddens * weight).sum() + (last**2).sum(), parts)
    theirs = torch.autograd.grad((torch.stack(expected) * weight).sum() + (cell**2).sum(), parts)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_sequence_compiled_and_in_bfloat16_is_near_float32():
    steps, rows, h = 12, 8, 16
    sums, w_h, blank = random(steps, rows, 4 * h), 0.2 * random(h, 4 * h, seed=1), torch.zeros(rows, h)
    keep = torch.ones(steps, rows, 1)
    w_h.requires_grad_()
    for mask in (None, random(rows, h, seed=2)):
        exact, _ = lstm.sequence(sums, keep, blank, blank, w_h, compile=False, mask=mask)
        fast, _ = lstm.sequence(sums, keep, blank, blank, w_h, compile=True, mask=mask)
        half, _ = lstm.sequence(sums.bfloat16(), keep, blank, blank, w_h, compile=False, mask=mask)
        torch.testing.assert_close(exact, fast)
        torch.testing.assert_close(*(torch.autograd.grad((one**2).sum(), w_h)[0] for one in (exact, fast)))
        torch.testing.assert_close(exact, half.float(), atol=0.03, rtol=0.03)


def test_adam_equals_torchs_and_resumes_from_its_state():
    def loss(model: torch.nn.Module) -> torch.Tensor:
        return (model(random(5, 3, seed=3)) ** 2).sum()

    plain = torch.nn.Linear(3, 2)
    state = descent.first(plain)
    adam = torch.optim.Adam(plain.parameters(), 0.1)
    for _ in range(6):
        adam.zero_grad()
        loss(plain).backward()
        adam.step()
    for part in (4, 2):  # stopped after four updates, and opened anew
        model = descent.loaded(torch.nn.Linear(3, 2), state)
        ours = descent.optimizer(model, state, 0.1)
        for _ in range(part):
            ours.zero_grad()
            loss(model).backward()
            ours.step()
        state["updates"] = state["updates"] + part
        state = {name: tensor.detach().clone() for name, tensor in state.items()}
    torch.testing.assert_close(state["model/weight"], plain.weight.detach())
    torch.testing.assert_close(state["model/bias"], plain.bias.detach())


def test_initial_weights_are_glorot_uniform():
    model = torch.nn.Linear(300, 200)
    descent.glorot(model, 1)
    bound = (6 / 500) ** 0.5
    assert float(model.weight.detach().abs().max()) <= bound
    assert float(model.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not model.bias.any()


def test_update_vector_is_adam_with_clipped_gradients():
    start, gradients = torch.randn(20), [torch.randn(20) * scale for scale in (0.1, 3.0, 1.0, 0.02)]
    state = descent.init_vector(start)
    weights = torch.nn.Parameter(start.clone())
    average, adam = start.clone(), torch.optim.Adam([weights], 0.01)
    for number, gradient in enumerate(gradients, 1):
        descent.update_vector(state, gradient.clone(), 0.01, 10**9, 0.5, 0.9)
        weights.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([weights], 0.5)
        adam.step()
        average = average + (1 - number / (number + 10)) * (weights.detach() - average)
        torch.testing.assert_close(state["weights"], weights.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(state["agent"], average, rtol=1e-5, atol=1e-6)
    assert int(state["updates"]) == 4


@pytest.mark.parametrize("quantile", [0.75, 1.0])
def test_per_row_gradients_are_clipped_to_a_quantile_and_infinite_ones_are_zero(quantile):
    gradients = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 2, 64)[:, None]
    gradients[5] = math.inf
    gradients[6, 3] = math.nan
    gradients[7] = 1e30
    limited = whitening.limited(gradients, quantile).numpy()
    expected = gradients.numpy().copy()
    expected[[5, 6, 7]] = 0
    lengths = np.linalg.norm(expected, axis=1)
    limit = np.quantile(lengths, quantile)
    for row, length in zip(expected, lengths, strict=True):
        row *= min(1, limit / length) if length else 1
    np.testing.assert_allclose(limited, expected, rtol=1e-5)
    with pytest.raises(Failure, match="no gradient is finite"):
        whitening.limited(torch.full((3, 4), math.nan), quantile)


def test_the_inverse_root_inverts_the_damped_spread():
    rows = np.random.default_rng(0).normal(size=(40, 12)) @ np.diag(np.logspace(-2, 1, 12))
    spread = rows.T @ rows
    root = whitening.inverse_root(torch.from_numpy(spread), 0.01).numpy()
    damped = spread + 0.01 * np.trace(spread) / 12 * np.eye(12)
    np.testing.assert_allclose(root @ damped @ root, np.eye(12), atol=1e-9)
    np.testing.assert_allclose(root, root.T, atol=1e-12)
    assert torch.isfinite(whitening.inverse_root(torch.zeros(3, 3), 0.01)).all()


@pytest.mark.parametrize("seed", range(3))
def test_whitened_steps_minimise_an_ill_conditioned_quadratic(seed):
    """Gradient scales differ by a factor of 100 between rotated directions; Adam at its best learning rate is far behind."""
    generator = torch.Generator().manual_seed(seed)
    across = torch.linalg.qr(torch.randn(30, 30, generator=generator))[0] * torch.logspace(-2, 0, 30)
    goal = torch.randn(30, generator=generator)

    def learn(state, update):
        for k in range(400):
            rows = torch.randn(128, 30, generator=torch.Generator().manual_seed(k)) @ across.mT
            update(k, state, ((state["weights"] - goal) * rows).sum(1, keepdim=True) * rows)
        return float((state["agent"] - goal).norm() / goal.norm())

    def whitened(k, state, gradients):
        whitening.measure(state, gradients)
        whitening.update_vector(state, gradients, whitening.whitener(state), 0.05, 100, 0.9)

    def plain(rate):
        return lambda _, state, gradients: descent.update_vector(state, gradients.mean(0), rate, 100, 1e9, 0.9)

    far = learn(whitening.init_vector(torch.zeros(30)), whitened)
    best = min(learn(descent.init_vector(torch.zeros(30)), plain(rate)) for rate in (0.003, 0.01, 0.03, 0.1, 0.3))
    assert far < 0.5 * best, (far, best)


def test_an_exploding_gradient_moves_no_further_than_noise():
    generator, state = torch.Generator().manual_seed(0), whitening.init_vector(torch.zeros(30))

    def update(gradients):
        whitening.update_vector(state, gradients, whiten, 0.01, 10**9, 0.9)

    rows = [torch.randn(64, 30, generator=generator) for _ in range(50)]
    for gradients in rows:
        whitening.measure(state, gradients)
    whiten = whitening.whitener(state)
    # enough updates for the mean gradient to converge
    for _ in range(50):
        update(torch.zeros(64, 30))
    update(1e6 * rows[0])
    for _ in range(100):
        update(torch.zeros(64, 30))
    # one step in total
    assert float(state["weights"].norm()) == pytest.approx(0.01 * 30**0.5, rel=0.02)


@pytest.mark.parametrize("resets", [0.0, 0.1, 0.6])
def test_the_fused_sequence_and_its_gradient_equal_the_explicit_one(resets):
    draw = torch.Generator().manual_seed(2)
    steps, rows, n, h = 15, 9, 5, 7
    x, hidden, cell, kernel, bias = (
        torch.randn(*shape, generator=draw).requires_grad_() for shape in ((steps, rows, n), (rows, h), (rows, h), (n + h, 4 * h), (4 * h,))
    )
    keep = (torch.rand(steps, rows, 1, generator=draw) >= resets).float()
    sums = (x.flatten(0, 1) @ kernel[:n] + bias).view(steps, rows, -1)
    found = []
    for hiddens, last in (
        lstm.sequence(sums, keep, hidden, cell, kernel[n:], compile=False), lstm.fused_sequence(x, keep, hidden, cell, kernel, bias),
    ):  # fmt: skip
        weights = torch.arange(h) - 2.5
        gradients = torch.autograd.grad((hiddens * weights).sum() + last.sum(), [x, hidden, cell, kernel, bias])
        found.append((hiddens, last, *gradients))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_a_run_keeps_the_implementation_of_its_card():
    assert machine.implementation("lstm", "fused") == "fused"
    with machine.keeping({"lstm": "explicit"}) as chosen:
        assert machine.implementation("lstm", "fused") == "explicit"
        assert machine.implementation("other", "a") == "a"
    assert chosen == {"lstm": "explicit", "other": "a"}
    assert machine.implementation("lstm", "fused") == "fused"


def test_affine_is_a_product_and_a_bias():
    x, weight, bias = random(3, 4), random(4, 5, seed=1), random(5, seed=2)
    torch.testing.assert_close(packed.affine(x, weight, bias), x @ weight + bias)


@pytest.mark.skipif(not packed.AVAILABLE, reason="this processor has no bfloat16")
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (3, 40, 33), (64, 578, 96), (5, 32, 64)])
def test_packed_weights_give_the_product_of_plain_ones_eager_and_compiled(rows, inputs, outputs):
    x, weight, bias = (random(*shape, seed=outputs).bfloat16() for shape in ((rows, inputs), (inputs, outputs), (outputs,)))
    expected = x.double() @ weight.double() + bias.double()
    for affine in (packed.affine, compiled(packed.affine)):
        torch.testing.assert_close(affine(x.float(), weight, bias).double(), expected, rtol=2**-8, atol=1e-2)
        assert weight in packed._kept


@pytest.mark.skipif(not packed.AVAILABLE, reason="this processor has no bfloat16")
def test_packed_weights_follow_a_change_of_the_weights():
    x, weight, bias = (torch.ones(shape, dtype=torch.bfloat16) for shape in ((2, 3), (3, 4), (4,)))
    other = torch.full_like(weight, 5.0)
    assert (packed.affine(x, weight, bias) == 4).all()
    weight.mul_(2)
    assert (packed.affine(x, weight, bias) == 7).all()
    bias.zero_()
    assert (packed.affine(x, weight, bias) == 6).all()
    weight.data = other
    assert (packed.affine(x, weight, bias) == 15).all()


@pytest.mark.skipif(not packed.AVAILABLE, reason="this processor has no bfloat16")
def test_a_product_with_a_gradient_uses_plain_weights():
    x, weight, bias = (random(*shape).bfloat16() for shape in ((2, 3), (3, 4), (4,)))
    weight.requires_grad_()
    (gradient,) = torch.autograd.grad(packed.affine(x, weight, bias).sum(), weight)
    torch.testing.assert_close(gradient, x.sum(0)[:, None].expand(3, 4))
    assert weight not in packed._kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 64), (5, 7)])
def test_products_with_the_same_weights_equal_plain_ones(dtype, inputs, outputs):
    x, weight = random(3, inputs).to(dtype), random(inputs, outputs, seed=1).to(dtype)
    result = packed.product(weight)(x)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), x.double() @ weight.double(), rtol=2**-8 if dtype == torch.bfloat16 else 1e-5, atol=1e-2)


@pytest.mark.slow
def test_sequence_in_bfloat16_with_packed_weights_is_near_float32():
    steps, rows, h = 6, 4, 32
    parts = [random(steps, rows, 4 * h), random(rows, h, seed=1), random(rows, h, seed=2), 0.2 * random(h, 4 * h, seed=3)]
    keep = (torch.rand(steps, rows, 1, generator=torch.Generator().manual_seed(1)) > 0.3).float()
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        sums, hidden, cell, w_h = (part.clone().requires_grad_() for part in parts)
        hiddens, last = lstm.sequence(sums.to(dtype), keep, hidden, cell, w_h, compile=False)
        gradients.append(torch.autograd.grad((hiddens.float() ** 2).sum() + last.sum(), [sums, hidden, cell, w_h]))
    for exact, half in zip(*gradients, strict=True):
        assert float((exact - half).norm() / exact.norm()) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_softmax_attention_and_its_gradients_equal_the_plain_formula(dtype):
    def gradients(attend, parts):
        parts = [part.clone().requires_grad_() for part in parts]
        found = attend(*parts)
        weight = random(*found.shape, seed=3)
        return [found.detach().double(), *(grad.double() for grad in torch.autograd.grad((found * weight).sum(), parts))]

    parts = [random(2, 5, 4), random(2, 7, 4, seed=1), random(2, 7, 3, seed=2)]
    expected = gradients(lambda q, k, v: torch.softmax(q @ k.mT, -1) @ v, [part.double() for part in parts])
    found = gradients(softmax_attention, [part.to(dtype) for part in parts])
    for mine, exact in zip(found, expected, strict=True):
        error = float((mine - exact).norm() / exact.norm())
        assert error < (0.02 if dtype == torch.bfloat16 else 1e-6)
