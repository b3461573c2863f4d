"""Learners on codes: their equations against known numbers, and learning tests."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from sensorium.core.seeding import Seeds, row_seeds
from sensorium.nets import descent
from sensorium.nets.augment import random_shift, shifts
from sensorium.nets.distributions import bounded_log_sd, squashed, truncated
from sensorium.nets.heads import Actor, Critic
from sensorium.nets.mlp import mlp, orthogonal
from sensorium.rl.acting import RandomTurns
from sensorium.rl.ddpg import DDPG
from sensorium.rl.sac import SAC
from sensorium.rl.targets import Batch, ema_update, lambda_returns, linear_schedule, n_step


def test_log_sd_between_its_bounds():
    raw = torch.tensor([-3, -1, 0, 0.5, 2], dtype=torch.float64)
    expected = [-9.9703285, -8.5695649, -4, -1.2272971, 1.7841655]
    torch.testing.assert_close(bounded_log_sd(raw, -10, 2), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-7)


def test_squashed_normal_on_a_worked_example_and_against_torch():
    mean, sd, before = (torch.tensor([x], dtype=torch.float64) for x in ([0.3, -0.7], [0.2, 0.5], [0.45, -1.2]))
    action, log_density = squashed(mean, sd, (before - mean) / sd)
    torch.testing.assert_close(action, torch.tensor([[0.4218990, -0.8336546]], dtype=torch.float64), rtol=1e-6, atol=0)
    assert log_density.item() == pytest.approx(1.0668493582, abs=1e-6)
    theirs = TransformedDistribution(Normal(mean, sd), TanhTransform()).log_prob(action).sum(1)
    torch.testing.assert_close(log_density, theirs)


def test_truncated_actions_are_bounded_and_pass_gradients():
    mean = torch.tensor([[0.9, 0.0]], requires_grad=True)
    action = truncated(mean, 1.0, torch.tensor([[5.0, 5.0]]), clip=0.3)
    torch.testing.assert_close(action.detach(), torch.tensor([[1 - 1e-6, 0.3]]))
    action.sum().backward()
    assert mean.grad is not None
    assert mean.grad.tolist() == [[1, 1]]


def test_schedule_n_step_and_moving_average_on_worked_examples():
    assert [round(linear_schedule(1.0, 0.1, 500_000, step), 6) for step in (0, 125_000, 250_000, 500_000, 900_000)] == [
        1,
        0.775,
        0.55,
        0.1,
        0.1,
    ]
    rewards = torch.tensor([[1.0, 2.0, 3.0]] * 3, dtype=torch.float64)
    ended = torch.tensor([[False] * 3, [False, False, True], [False, True, False]])
    total, discount = n_step(rewards, ended, 0.99)
    torch.testing.assert_close(total, torch.tensor([5.9203, 5.9203, 2.98], dtype=torch.float64))
    torch.testing.assert_close(discount, torch.tensor([0.970299, 0, 0], dtype=torch.float64))
    slow = [torch.zeros((), dtype=torch.float64)]
    for _ in range(10):
        ema_update(slow, [torch.ones((), dtype=torch.float64)], 0.05)
    assert slow[0].item() == pytest.approx(0.4012630608, abs=1e-9)


@pytest.mark.parametrize("trace", [0.0, 0.3, 1.0])
def test_lambda_returns_are_weighted_n_step_returns(trace):
    """G = (1 - l) sum_n l^(n-1) G_n, the longest with the remaining weight; after an end all longer ones are equal."""
    generator, discount = torch.Generator().manual_seed(0), 0.9
    rewards, values = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    ended = torch.tensor([[False, False, False, False, False], [False, False, True, True, True], [False, False, False, False, True]]).mT
    rewards = rewards * ~torch.cat([torch.zeros_like(ended[:1]), ended[:-1]])
    goals = lambda_returns(rewards, values, ended, discount, trace)
    for row in range(3):
        for t in range(5):
            steps = range(1, 5 - t + 1)
            returns = [
                sum(discount**k * float(rewards[t + k, row]) for k in range(n))
                + discount**n * float(values[t + n - 1, row]) * (not ended[t + n - 1, row])
                for n in steps
            ]
            weights = [(1 - trace) * trace ** (n - 1) for n in steps[:-1]] + [trace ** (len(steps) - 1)]
            assert float(goals[t, row]) == pytest.approx(sum(w * g for w, g in zip(weights, returns, strict=True)), abs=1e-12)


def test_random_shift_is_a_crop_of_the_padded_image():
    frames = torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8)
    moves = torch.tensor([[0, 0], [8, 8], [4, 4], [0, 8], [3, 5], [7, 1]])
    moved = random_shift(frames, moves)
    padded = nn.functional.pad(frames.float(), (4, 4, 4, 4), mode="replicate").byte()
    for i, (line, column) in enumerate(moves.tolist()):
        assert torch.equal(moved[i], padded[i, :, line : line + 20, column : column + 20])
    assert torch.equal(moved[2], frames[2])
    assert moved.is_contiguous(memory_format=torch.channels_last)
    drawn = shifts(0, 5000)
    assert torch.equal(drawn, shifts(0, 5000))
    assert torch.bincount(drawn[:, 0], minlength=9).min() > 450
    # DrQ-v2 samples with a grid; at whole pixels the result is equal
    side = frames.shape[-1] + 8
    line = torch.linspace(-1 + 1 / side, 1 - 1 / side, side)[:20]
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij")[::-1], -1)[None] + 2 / side * moves.flip(1)[:, None, None, :]
    theirs = nn.functional.grid_sample(padded.float(), grid.float(), padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(theirs, moved.float(), atol=0.01, rtol=0)


def test_orthogonal_weights():
    layers = mlp(30, 20, 10)
    orthogonal(layers, 0)
    weight = next(layers.parameters())
    torch.testing.assert_close(weight @ weight.T, torch.eye(20), atol=1e-5, rtol=0)
    convolution, norm = nn.Conv2d(2, 8, 3), nn.LayerNorm(4)
    orthogonal(convolution, 0)
    orthogonal(norm, 0)
    flat = convolution.weight.flatten(1)
    torch.testing.assert_close(flat @ flat.T, 2 * torch.eye(8), atol=1e-5, rtol=0)
    assert norm.weight.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("states", [False, True])
def test_heads_have_the_published_layers(states):
    count = lambda part: sum(p.numel() for p in part.parameters())  # noqa: E731
    actor, critic = Actor(24, 6, 50, 1024, True, states), Critic(24, 6, 50, 1024, True, states)
    layer = lambda a, b: a * b + b  # noqa: E731
    if states:  # URLB: features as wide as the layer after them, the action enters first
        assert count(actor) == layer(24, 1024) + 2 * 1024 + layer(1024, 1024) + layer(1024, 6)
        assert count(critic) == layer(30, 1024) + 2 * 1024 + 2 * (layer(1024, 1024) + layer(1024, 1))
    else:
        assert count(actor) == layer(24, 50) + 2 * 50 + layer(50, 1024) + layer(1024, 1024) + layer(1024, 6)
        assert count(critic) == layer(24, 50) + 2 * 50 + 2 * (layer(56, 1024) + layer(1024, 1024) + layer(1024, 1))


def batch(code: torch.Tensor, action: torch.Tensor) -> Batch:
    """Episodes of one step; the best action is the first number of the code."""
    reward = 1 - (action[:, 0] - code[:, 0]) ** 2
    return Batch(code, action, reward, torch.zeros(len(code)), code)


@pytest.mark.parametrize(
    "settings", [SAC(learning_rate=3e-3, hidden=64, alpha=0.02), DDPG(learning_rate=3e-3, hidden=64)], ids=["sac", "ddpg"]
)
def test_a_learner_finds_the_best_action(settings):
    state = settings.init(2, 1, True, Seeds(0, "x", 0))
    learner, generator = settings.open(state, 2, 1, True), torch.Generator().manual_seed(0)
    for number in range(400):
        code, action = (2 * torch.rand(128, n, generator=generator) - 1 for n in (2, 1))
        noise = {name: torch.randn(128, 1, generator=generator) for name in ("next", "action")}
        learner.update(batch(0.8 * code, action), number, noise.__getitem__, number)
    code = 0.8 * (2 * torch.rand(256, 2, generator=generator) - 1)
    action = settings.act(learner.actor, code, None, 0)
    assert (action[:, 0] - code[:, 0]).abs().mean() < 0.12
    # the state holds the result
    again = settings.open(state, 2, 1, True)
    assert torch.equal(settings.act(again.actor, code, None, 0), action)


def test_the_soft_target_by_hand(monkeypatch):
    """y = r + discount (min Q' - alpha log pi), critic loss the sum of both squared errors."""
    settings = SAC(hidden=16, features=4, alpha=0.3)
    state = settings.init(3, 2, False, Seeds(1, "x", 0))
    learner = settings.open(state, 3, 2, False)
    generator = torch.Generator().manual_seed(2)
    code, next_code, action = (
        torch.randn(5, 3, generator=generator),
        torch.randn(5, 3, generator=generator),
        torch.rand(5, 2, generator=generator),
    )
    reward, discount, noise = torch.randn(5, generator=generator), torch.full((5,), 0.9), torch.randn(5, 2, generator=generator)
    with torch.no_grad():
        mean, raw = learner.actor(next_code).chunk(2, 1)
        chosen, log_density = squashed(mean, bounded_log_sd(raw, -10, 2).exp(), noise)
        target = reward + discount * (torch.minimum(*learner.target(next_code, chosen)) - 0.3 * log_density)
        loss = sum(((q - target) ** 2).mean() for q in learner.critic(code, action))
    told = learner.update(Batch(code, action, reward, discount, next_code), 1, lambda name: noise, 0)
    torch.testing.assert_close(told["loss/critic"], loss)
    assert "alpha" not in told
    assert math.isclose(
        learner.update(Batch(code, action, reward, discount, next_code), 2, lambda name: noise, 0)["alpha"].item(), 0.3, rel_tol=1e-6
    )


def test_parts_of_a_state_share_its_tensors():
    state = descent.under("a", descent.first(nn.Linear(2, 1)))
    part = descent.part("a", state)
    part["model/weight"].fill_(3)
    assert state["a/model/weight"].eq(3).all()


def test_random_turns_hold_a_random_action_in_a_share_of_turns():
    class Still:
        members = 1

        def begin(self, seeds):
            return ()

        def act(self, obs, memory, t):
            return torch.full((len(obs), 3), 0.5), memory

    policy, obs = RandomTurns(Still(), 3, share=0.25, turn_steps=4), torch.zeros(500, 2)
    memory, played = policy.begin(row_seeds(0, 500)), []
    for t in range(40):
        action, memory = policy.act(obs, memory, t)
        played.append(action)
    turns = torch.stack(played).unflatten(0, (10, 4))
    assert (turns == turns[:, :1]).all()
    wild = turns[:, 0][(turns[:, 0] != 0.5).any(2)]
    assert len(wild) / 5000 == pytest.approx(0.25, abs=0.02)
    # uniform and independent
    torch.testing.assert_close(wild.T.cov(), torch.eye(3) / 3, atol=0.03, rtol=0)
    assert float(wild.mean()) == pytest.approx(0.0, abs=0.03)
