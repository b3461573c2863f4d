"""Dream environments in Gymnasium: the interface, images, and training in a dream with another library."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sensorium  # noqa: F401  registers the environments
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
    many, one = gymnasium.make_vec("sensorium/Dream-v0", 3, run=run), gymnasium.make("sensorium/Dream-v0", run=run)
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
