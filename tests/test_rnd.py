"""RND's equations against hand-computed numbers and NumPy; the predictor learns, and the reward of visited states falls."""

import numpy as np
import pytest
import torch

from sensorium import registry
from sensorium.core.seeding import Seeds
from sensorium.nets.moments import running_moments
from sensorium.systems.rnd import equations as eq
from sensorium.systems.rnd.model import RND


def test_the_error_is_the_mean_square_of_each_row():
    error = eq.prediction_error(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 4.0], [3.0, -1.0]]))
    assert error.tolist() == [2.0, 5.0]


def test_observations_are_whitened_and_clipped():
    # mean 2, variance 4: (x - 2) / 2
    obs = torch.tensor([[0.0], [0.0], [4.0], [4.0]])
    assert eq.whitened(obs).flatten().tolist() == pytest.approx([-1, -1, 1, 1], abs=1e-4)
    one_far = torch.zeros(100, 1)
    one_far[0] = 1.0
    # unclipped it would be sqrt(99)
    assert float(eq.whitened(one_far)[0]) == 5.0


def test_every_channel_of_an_image_is_whitened_separately():
    image = torch.rand(3, 2, 4, 4) * torch.tensor([1.0, 100.0]).view(1, 2, 1, 1)
    white = eq.whitened(image)
    assert white.mean((0, 2, 3)).abs().max() < 1e-4
    assert white.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1], abs=1e-3)


def test_running_moments_equal_those_of_all_data():
    random = np.random.default_rng(0)
    batches = [random.normal(3, 2, 16) for _ in range(50)]
    mean, variance, count = torch.zeros(()), torch.zeros(()), torch.tensor(1e-4)
    for batch in batches:
        mean, variance, count = running_moments(mean, variance, count, torch.tensor(batch, dtype=torch.float32))
    whole = np.concatenate(batches)
    assert float(mean) == pytest.approx(whole.mean(), rel=1e-3)
    # each batch's variance is unbiased: 16/15 of the biased one
    expected = np.mean([batch.var(ddof=1) for batch in batches]) + np.var([batch.mean() for batch in batches])
    assert float(variance) == pytest.approx(expected, rel=1e-2)
    assert float(count) == pytest.approx(800, rel=1e-4)


def test_the_reward_is_the_error_divided_by_its_standard_deviation():
    assert eq.intrinsic_reward(torch.tensor([3.0, 6.0]), torch.tensor(9.0)).tolist() == pytest.approx([1.0, 2.0])


def opened(rnd: RND, observation: tuple[int, ...]):
    state = rnd.init(observation, Seeds(0, "pretrain", 0))
    return state, rnd.open(state, observation, True, torch.float32)


def test_the_predictor_fits_seen_data_and_the_target_is_constant():
    state, live = opened(RND(outputs=8, hidden=32, learning_rate=1e-3), (4,))
    before = {name: tensor.clone() for name, tensor in state.items() if name.startswith("random/")}
    generator = torch.Generator().manual_seed(0)
    near = torch.randn(256, 4, generator=generator) * torch.tensor([1.0, 1.0, 1.0, 0.0])
    first = float(live.error(near).detach().mean())
    for number in range(300):
        live.learn(near, near, number)
    assert float(live.error(near).detach().mean()) < 0.1 * first
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    # the same batch with some rows replaced: those have the largest error
    mixed = near.clone()
    mixed[:16, 3] = 8.0
    reward = live.intrinsic_reward(mixed, mixed, Seeds(0, "pretrain", 1))
    assert float(reward[:16].mean()) > 3 * float(reward[16:].mean())
    assert float(state["error/count"]) == pytest.approx(256, rel=1e-4)


def test_the_predictor_trains_the_encoder_of_pixels_and_a_task_without_intrinsic_reward_does_not():
    settings = RND(outputs=8, hidden=16, channels=4)
    state, live = opened(settings, (9, 84, 84))
    obs = torch.randint(0, 255, (4, 9, 84, 84), dtype=torch.uint8)
    name = "representation/model/encoder.layers.0.weight"
    before = state[name].clone()
    live.learn(obs, obs, 0)
    assert not torch.equal(state[name], before)
    assert len(live.by_critic) == 1
    tune = registry.recipe("rnd-pixels").stages("tiny")["finetune"]
    assert not tune.explorer.explores  # type: ignore[attr-defined]
    assert tune.explorer.open(state, (9, 84, 84), True, torch.float32).learn(obs, obs, 0) == {}  # type: ignore[attr-defined]


def test_the_error_does_not_depend_on_the_layout_in_memory_and_changes_no_observation():
    _, live = opened(RND(outputs=8, hidden=16, channels=4), (9, 84, 84))
    obs = torch.randint(0, 255, (4, 9, 84, 84), dtype=torch.uint8)
    innermost = obs.float().to(memory_format=torch.channels_last)
    torch.testing.assert_close(live.error(innermost), live.error(obs))
    assert torch.equal(innermost, obs.float())
    live.learn(innermost, innermost, 0)


def test_the_paper_preset_equals_urlb():
    stages = registry.recipe("rnd-states").stages("paper")
    explore, tune = stages["pretrain"], stages["finetune"]
    assert (explore.world.task, tune.world.task) == ("walker_stand", "walker_run")  # type: ignore[attr-defined]
    assert explore.steps * explore.world.frames == 2_000_000  # type: ignore[attr-defined]
    assert tune.steps * tune.world.frames == 100_000  # type: ignore[attr-defined]
    assert (explore.batch, explore.every, explore.rnd.outputs, explore.rnd.hidden, explore.rnd.learning_rate) == (1024, 2, 512, 1024, 1e-4)  # type: ignore[attr-defined]
