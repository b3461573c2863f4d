"""The swing-up with images: the physics of CartPole, and images that determine position and angle."""

import math

import torch

from sensorium.core.seeding import row_seeds, uniform
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.pixel_cart_pole import MARGIN, PIVOT, POLE, PixelCartPole, drawn


def test_equals_cart_pole_with_held_actions():
    world, plain, seeds = PixelCartPole(horizon=20, repeat=3), CartPole(hard=False), row_seeds(0, 5)
    state, other = world.initial(seeds), plain.initial(seeds)
    for t in range(20):
        action = 2 * uniform(seeds, t, 1) - 1
        state, step = world.transition(state, action, t)
        reward = torch.zeros(5)
        for _ in range(3):
            other, inner = plain.transition(other, action, 0)
            reward = reward + inner.reward
        torch.testing.assert_close(step.reward, reward)
        assert all(torch.equal(a, b) for a, b in zip(state, other, strict=True))
        assert bool(step.truncated.all()) == (t == 19)


def centre(cover: torch.Tensor) -> tuple[float, float]:
    """Mean column and row of a mask."""
    total = cover.sum()
    line = torch.arange(64.0)
    return float((cover.sum(0) * line).sum() / total), float((cover.sum(1) * line).sum() / total)


def test_the_image_shows_position_and_angle():
    for position in (-2.0, 0.0, 1.5):  # the whole pole is always in the image
        for angle in (0.0, 1.0, math.pi, -2.0):
            picture = drawn(torch.tensor([position]), torch.tensor([angle]))[0].float()
            red, blue = picture[..., 0], picture[..., 2]
            column, line = centre((red - blue > 70).float())  # only the pole has much more red than blue
            middle = 32 + position * (32 - MARGIN) / 2.4
            assert abs(column - (middle - POLE / 2 * math.sin(angle))) < 1.5
            assert abs(line - (PIVOT - POLE / 2 * math.cos(angle))) < 1.5


def test_an_angle_is_rendered_modulo_a_full_turn():
    angles = torch.tensor([0.3, 0.3 + 2 * math.pi, 0.3 - 4 * math.pi])
    world = PixelCartPole()
    zeros = torch.zeros(3)
    pictures = world.observe((zeros, zeros, angles, zeros)).int()
    assert int((pictures - pictures[:1]).abs().max()) <= 1


def test_leaving_the_track_ends_the_episode():
    world = PixelCartPole()
    state = (torch.tensor([2.39]), torch.tensor([5.0]), torch.tensor([0.0]), torch.tensor([0.0]))
    _, step = world.transition(state, torch.zeros(1, 1), 0)
    assert bool(step.terminated)
    assert not bool(step.truncated)
