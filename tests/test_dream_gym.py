"""Dream environments in Gymnasium: the interface, images, and training in a dream with another library."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import sensorium  # noqa: F401  registers the environments
from sensorium.core.seeding import row_seeds
from sensorium.envs.gym import episode_seeds
from sensorium.envs.pixel_cart_pole import PixelCartPole
from sensorium.nets import descent
from sensorium.systems.world_models.gym import Awake, AwakeVector
from sensorium.systems.world_models.model import MDNRNN, ConvVAE
from tests.conftest import trained


def test_a_dream_passes_gymnasiums_check():
    env = gymnasium.make("sensorium/Dream-v0", run=str(trained("take-cover")), temperature=1.15, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    obs, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    assert np.array_equal(obs, again)
    env.step(env.action_space.sample())
    picture = env.render()
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8


def test_vector_dreams_equal_single_dreams():
    run = str(trained("car-racing-dream"))
    many, one = gymnasium.make_vec("sensorium/Dream-v0", 3, run=run, compile=False), gymnasium.make("sensorium/Dream-v0", run=run)
    assert many.single_action_space.low.tolist() == [-1, 0, 0]
    together, _ = many.reset(seed=[1, 2, 3])
    alone, _ = one.reset(seed=2)
    for t in range(29):
        np.testing.assert_allclose(together[1], alone, rtol=1e-3, atol=1e-4)
        action = np.array([0.1 * t - 1, 0.5, 0.2], dtype=np.float32)
        together, rewards, _, _, _ = many.step(np.stack([action, action, -action]))
        alone, reward, _, _, _ = one.step(action)
        assert abs(rewards[1] - reward) < 1e-3
    # the next episode of a row starts with zero memory and step count 0
    many.step(np.zeros((3, 3), dtype=np.float32))
    begun, _, _, _, _ = many.step(np.zeros((3, 3), dtype=np.float32))
    assert not begun[:, 32:].any()


def untrained() -> tuple[PixelCartPole, ConvVAE, MDNRNN]:
    vision, memory = ConvVAE(4).requires_grad_(False), MDNRNN(4, 1, 8, restart=True).requires_grad_(False)
    for number, model in enumerate((vision, memory)):
        descent.glorot(model, number)
    return PixelCartPole(horizon=7), vision, memory


def test_rows_of_the_encoded_world_equal_single_environments_episode_after_episode():
    parts, seeds, steps = untrained(), [3, 8, 5], 20
    many = AwakeVector(*parts, num_envs=3)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, 3, 1)).astype(np.float32)
    together = [(many.reset(seed=seeds)[0], np.zeros(3), np.zeros(3, bool), np.zeros(3, bool))]
    together += [many.step(actions[t])[:4] for t in range(steps)]
    for row, seed in enumerate(seeds):
        one, episodes, ended = Awake(*parts), 0, False
        expected = [(one.reset(seed=seed)[0], 0.0, False, False)]
        for t in range(steps):
            if ended:  # begin the next episode by hand
                one.seeds, episodes = episode_seeds(row_seeds(seed, 1), torch.tensor([episodes + 1])), episodes + 1
                one.frame, one.t, one.hidden, one.cell = one.env.reset(one.seeds), 0, torch.zeros(1, 8), torch.zeros(1, 8)
                expected.append((one.look(), 0.0, False, False))
            else:
                expected.append(one.step(actions[t, row])[:4])
            ended = expected[-1][2] or expected[-1][3]
        assert episodes == 2
        for now, then in zip(together, expected, strict=True):
            for part, single in zip(now, then, strict=True):
                np.testing.assert_allclose(part[row], single, rtol=1e-4, atol=1e-5)
    many.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_another_librarys_agent_trains_in_the_dream_and_acts_in_the_world():
    sb3 = pytest.importorskip("stable_baselines3")
    run = str(trained("take-cover"))
    agent = sb3.PPO("MlpPolicy", gymnasium.make("sensorium/Dream-v0", run=run), n_steps=32, batch_size=16, n_epochs=1, device="cpu", seed=0)
    agent.learn(64)
    world = gymnasium.make("sensorium/Awake-v0", run=run, render_mode="rgb_array")
    assert world.observation_space == agent.observation_space
    obs, _ = world.reset(seed=0)
    for _ in range(5):
        action, _ = agent.predict(obs, deterministic=True)
        obs, reward, terminated, truncated, _ = world.step(action)
    assert reward == 1
    assert not terminated
    assert not truncated
    assert world.render().shape == (64, 64, 3)
    world.close()
    worlds = gymnasium.make_vec("sensorium/Awake-v0", num_envs=2, run=run)
    both, _ = worlds.reset(seed=[0, 1])
    action, _ = agent.predict(both, deterministic=True)
    assert worlds.step(action)[1].tolist() == [1, 1]
    worlds.close()
