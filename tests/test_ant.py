"""Ant: equality with the library's simulator, except for the training reward."""

import warnings

import numpy as np
import pytest
import torch

from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds, uniform
from sensorium.envs.ant import SENSORS, Ant, AntV5
from sensorium.envs.host import SEED

gymnasium = pytest.importorskip("gymnasium")


@pytest.fixture(autouse=True)
def bullet():
    pytest.importorskip("pybullet_envs_gymnasium")


def actions(seeds: torch.Tensor, t: int) -> torch.Tensor:
    return 2 * uniform(seeds, t, 8) - 1


def test_equals_the_registered_environment_step_by_step():
    seeds, env = row_seeds(3, 2), Ant(horizon=60).open()
    with warnings.catch_warnings():
        # Gymnasium's checker warns about the library's bounds
        warnings.simplefilter("ignore")
        other = gymnasium.make("AntBulletEnv-v0")
        other.reset(seed=0)
        first, _ = other.reset(seed=int(seeds[1]) & SEED)
        obs = env.reset(seeds)
        assert obs.dtype == torch.float32
        assert np.array_equal(obs[1], first)
        for t in range(60):
            action = actions(seeds, t)
            step, theirs = env.step(action), other.step(action[1].numpy())
            assert np.array_equal(step.obs[1], theirs[0])
            assert float(step.reward[1]) == pytest.approx(theirs[1], rel=1e-6)
    env.close()
    other.close()


def test_a_row_is_a_function_of_its_seed_and_actions_independent_of_earlier_episodes():
    def rollout(env, seeds):
        obs = [env.reset(seeds)] + [env.step(actions(seeds, t)).obs for t in range(25)]
        return torch.stack(obs)

    seeds, env = row_seeds(1, 3), Ant(horizon=30).open()
    together = rollout(env, seeds)
    again, alone = rollout(env, seeds), rollout(Ant(horizon=30).open(), seeds[1:2])
    assert torch.equal(together, again)
    assert torch.equal(together[:, 1:2], alone)


def test_training_reward_is_only_for_running_and_never_negative():
    seeds, world = row_seeds(0, 2), Ant(horizon=20)
    plain, training = world.open(), world.training.open()
    inner = plain.simulators.rows  # type: ignore[attr-defined]
    plain.reset(seeds)
    training.reset(seeds)
    for t in range(20):
        step, paid = plain.step(actions(seeds, t)), training.step(actions(seeds, t))
        parts = [env.rewards for env in inner]
        assert [round(float(r), 4) for r in paid.reward] == [round(max(0.0, sum(part[1:])), 4) for part in parts]
        assert [round(float(r), 4) for r in step.reward] == [round(sum(part), 4) for part in parts]


def test_sensors_have_names_and_torques_are_bounded():
    assert Ant().spec.observation == (len(SENSORS),) == (28,)
    env = Ant(horizon=5).open()
    env.reset(row_seeds(0, 1))
    wild, env2 = env.step(torch.full((1, 8), 7.0)).obs, Ant(horizon=5).open()
    env2.reset(row_seeds(0, 1))
    assert torch.equal(wild, env2.step(torch.ones(1, 8)).obs)


def test_nothing_is_printed_to_stdout(capfd):
    env = Ant(horizon=2).open()
    env.reset(row_seeds(0, 2))
    env.close()
    assert capfd.readouterr().out == ""


def test_mujocos_ant_has_other_observations_and_rewards():
    pytest.importorskip("envpool")
    env = AntV5(horizon=10).open()
    rollout = play(env, Still(), row_seeds(0, 3), keep=("observations",))
    assert rollout.observations.shape == (10, 3, 105)
    # standing still earns 1 per step, plus the distance from initial velocities
    assert bool(((rollout.returns > 5) & (rollout.returns < 15)).all())


class Still:
    members = 1

    def take(self, members):
        return self

    def begin(self, seeds):
        return ()

    def act(self, obs, memory, t):
        return torch.zeros(len(obs), 8), memory
