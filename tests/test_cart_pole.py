"""The physics against a float64 reference written from the published equations, and the contract of a world."""

import math

import gymnasium
import numpy as np
import pytest
import torch

from sensorium.core.env import TorchEnv
from sensorium.core.seeding import row_seeds
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.toy import Toy


def reference_step(state: list[float], action: float) -> tuple[list[float], float, bool]:
    """One step of 0.01 s (Tang & Ha 2021's environment): g 9.82, cart and pole 0.5 kg, pole 0.6 m, friction 0.1, force 10 N."""
    x, v, theta, omega = state
    u, s, c = 10 * min(max(action, -1), 1), math.sin(theta), math.cos(theta)
    a = (-2 * 0.3 * omega**2 * s + 3 * 0.5 * 9.82 * s * c + 4 * u - 4 * 0.1 * v) / (4 * 1.0 - 3 * 0.5 * c**2)
    b = (-3 * 0.3 * omega**2 * s * c + 6 * 1.0 * 9.82 * s + 6 * (u - 0.1 * v) * c) / (4 * 0.6 * 1.0 - 3 * 0.3 * c**2)
    x, theta, v, omega = x + 0.01 * v, theta + 0.01 * omega, v + 0.01 * a, omega + 0.01 * b
    return [x, v, theta, omega], (math.cos(theta) + 1) / 2 * math.cos(math.pi / 2 * x / 2.4), abs(x) > 2.4


def test_steps_equal_the_reference():
    world, rows = CartPole(), 50
    state = tuple(part.double() for part in world.initial(row_seeds(0, rows)))
    others = [[float(part[i]) for part in state] for i in range(rows)]
    draw = np.random.default_rng(0)
    for t in range(100):
        actions = draw.uniform(-1.5, 1.5, rows)
        state, step = world.transition(state, torch.tensor(actions)[:, None], t)
        for i in range(rows):
            others[i], reward, ended = reference_step(others[i], actions[i])
            assert float(step.reward[i]) == pytest.approx(reward, abs=1e-9)
            assert bool(step.terminated[i]) == ended
        np.testing.assert_allclose(torch.stack(state, 1), others, atol=1e-9)
        x, v, theta, omega = np.array(others).T
        np.testing.assert_allclose(step.obs, np.stack([x, v, np.cos(theta), np.sin(theta), omega], 1), atol=1e-9)


def test_energy_is_conserved_without_friction_and_force(monkeypatch):
    """Kinetic plus potential energy of cart and uniform rod hardly drifts, a check independent of the reference."""
    monkeypatch.setattr("sensorium.envs.cart_pole.FRICTION", 0.0)
    monkeypatch.setattr("sensorium.envs.cart_pole.DT", 1e-5)
    world = CartPole()
    state = tuple(torch.tensor([value], dtype=torch.float64) for value in (0.0, 0.5, 2.0, 1.0))

    def energy() -> float:
        _, v, theta, omega = (float(part) for part in state)
        # the pole is a rod of length 0.6 m whose centre is 0.3 m from the cart, moment of inertia m l^2 / 3 about its end
        kinetic = 0.5 * 1.0 * v**2 + 0.5 * (0.5 * 0.6**2 / 3) * omega**2 - 0.5 * 0.3 * v * omega * math.cos(theta)
        return kinetic + 0.5 * 9.82 * 0.3 * math.cos(theta)

    before = energy()
    for t in range(20000):
        state, _ = world.transition(state, torch.zeros(1, 1, dtype=torch.float64), t)
    assert energy() == pytest.approx(before, rel=1e-3)


def test_hard_starts_cover_their_ranges_and_simple_ones_hang():
    start = torch.stack(CartPole().initial(row_seeds(1, 5000)), 1)
    lows, highs = torch.tensor([-2.4, -10, math.pi / 2, -10]), torch.tensor([2.4, 10, 3 * math.pi / 2, 10])
    assert ((start >= lows) & (start <= highs)).all()
    torch.testing.assert_close(start.mean(0), (lows + highs) / 2, atol=0.3, rtol=0)
    torch.testing.assert_close(start.std(0), (highs - lows) / 12**0.5, rtol=0.05, atol=0)
    simple = torch.stack(CartPole(hard=False).initial(row_seeds(1, 5000)), 1)
    torch.testing.assert_close(simple.mean(0), torch.tensor([0, 0, math.pi, 0]), atol=0.02, rtol=0)
    torch.testing.assert_close(simple.std(0), torch.full((4,), 0.2), rtol=0.05, atol=0)


@pytest.mark.parametrize("world", [CartPole(horizon=30), Toy()])
def test_ended_rows_are_frozen_until_the_next_reset(world):
    env, seeds = world.open(), row_seeds(0, 64)
    env.reset(seeds)
    ended, last = torch.zeros(64, dtype=torch.bool), None
    for _ in range(world.horizon + 3):
        step = env.step(torch.ones(64, 1))
        if last is not None:
            assert (step.reward[ended] == 0).all()
            assert torch.equal(step.obs[ended], last[ended])
            assert not (step.terminated | step.truncated)[ended].any()
        assert not (step.terminated & step.truncated).any()
        ended, last = ended | step.terminated | step.truncated, step.obs
    assert ended.all()
    again = env.reset(seeds)
    assert torch.equal(again, world.open().reset(seeds))


@pytest.mark.parametrize("world", [CartPole(), Toy()])
def test_a_row_is_equal_alone_and_in_a_batch_of_64(world):
    seeds, draw = row_seeds(5, 64), np.random.default_rng(1)
    batch, alone = TorchEnv(world), TorchEnv(world)
    assert torch.equal(batch.reset(seeds)[9:10], alone.reset(seeds[9:10]))
    for _ in range(20):
        action = torch.tensor(draw.uniform(-1, 1, (64, 1)), dtype=torch.float32)
        one, other = batch.step(action), alone.step(action[9:10])
        torch.testing.assert_close(one.obs[9:10], other.obs, atol=1e-6, rtol=1e-6)


def test_gymnasium_checks_pass_single_and_vector():
    from gymnasium.utils.env_checker import check_env

    env = gymnasium.make("sensorium/CartPoleSwingUpHarder-v0", render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=3)
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    first = env.reset(seed=3)[0]
    vector = gymnasium.make_vec("sensorium/CartPoleSwingUpHarder-v0", num_envs=4, compile=False)
    obs, _ = vector.reset(seed=3)
    assert obs.shape == (4, 5)
    np.testing.assert_array_equal(obs[0], first)
    for _ in range(1100):
        obs, reward, terminated, truncated, _ = vector.step(vector.action_space.sample())
        assert obs.dtype == np.float32
        assert np.isfinite(obs).all()
        assert reward.shape == terminated.shape == truncated.shape == (4,)
