"""The control suite: observations, rewards, and agreement of its engines."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Uniform
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs import renderer
from sensorium.envs.control import DOMAINS, SUITE, WHERE, Control, layout
from sensorium.envs.control_pool import Row, flat, load

pytest.importorskip("dm_control")


def test_every_task_exists_in_dm_control():
    from dm_control import suite

    known = {f"{domain}_{task}" for domain, task in suite.ALL_TASKS}
    assert {f"{domain}_{task}" for domain, tasks in SUITE.items() for task in tasks} <= known


@pytest.mark.parametrize(("task", "state", "actions", "steps"), [
    ("walker_flip", 24, 6, 1000), ("quadruped_jump", 78, 12, 1000), ("jaco_reach_bottom_right", 55, 9, 250), ("point_mass_easy", 4, 2, 1000),
])  # fmt: skip
def test_published_sizes(task, state, actions, steps):
    spec = Control(task).spec
    assert (spec.observation, spec.action, spec.horizon) == ((state,), actions, steps)
    assert Control(task, pixels=True, repeat=2).spec.observation == (9, 84, 84)
    assert Control(task, pixels=True, repeat=2).spec.horizon == steps // 2


@pytest.mark.parametrize("task", ["walker_flip", "quadruped_stand", "quadruped_jump", "jaco_reach_top_left", "reach_duplo"])
def test_rewards_of_urlb_are_between_0_and_1(task):
    row = Row(task, 1)
    row.begin(0)
    draw = np.random.default_rng(0)
    rewards = [row.step(draw.uniform(-1, 1, len(row.low)))[0] for _ in range(20)]
    assert min(rewards) >= 0
    assert max(rewards) <= 1


def test_rewards_of_urlb_by_hand():
    flip, jump, reach = (load(task, np.random.RandomState(0)) for task in ("walker_flip", "quadruped_jump", "jaco_reach_top_right"))
    for env in (flip, jump, reach):
        env.reset()
    # a walker upright at 1.2 m without spin: stand 1, move 0
    with flip.physics.reset_context():
        pass
    height, upright = float(flip.physics.torso_height()), float(flip.physics.torso_upright())
    standing = 1.0 if height >= 1.2 else np.exp(-0.5 * ((1.2 - height) / 0.6 * np.sqrt(-2 * np.log(0.1))) ** 2)
    assert flip.task.get_reward(flip.physics) == pytest.approx((3 * standing + (1 + upright) / 2) / 4 / 6, abs=1e-6)
    # full spin is worth six times as much
    flip.physics.named.data.sensordata["torso_angular_momentum"][1] = 6
    assert flip.task.get_reward(flip.physics) == pytest.approx((3 * standing + (1 + upright) / 2) / 4, abs=1e-6)
    # a quadruped earns its uprightness, (1 + cos) / 2, times its height up to 1 m: half of that on the ground
    upright = float(jump.physics.torso_upright())
    height = float(jump.physics.named.data.sensordata["center_of_mass"][2])
    assert jump.task.get_reward(jump.physics) == pytest.approx((1 + upright) / 2 * (0.5 + 0.5 * max(height, 0)), abs=1e-6)
    # the brick is in its corner
    assert reach.physics.bind(reach.task._target).xpos[:2] == pytest.approx([0.09, 0.09], abs=0.03)


def test_a_row_is_a_function_of_its_seed_independent_of_earlier_episodes():
    env, seeds = Control("reacher_easy", horizon=6).open(), row_seeds(0, 3)
    first = play(env, Uniform(2), seeds, keep=("observations",)).observations
    play(env, Uniform(2), row_seeds(1, 3))
    again = play(env, Uniform(2), seeds, keep=("observations",)).observations
    alone = play(Control("reacher_easy", horizon=6).open(), Uniform(2), seeds[1:2], keep=("observations",)).observations
    assert torch.equal(first, again)
    assert torch.equal(first[:, 1:2], alone)


def test_pixels_are_three_frames_and_the_first_is_repeated_after_reset():
    world = Control("pendulum_swingup", pixels=True, repeat=2, visuals="fast", horizon=5)
    env = world.open()
    obs = env.reset(row_seeds(0, 2))
    assert obs.dtype == torch.uint8
    assert torch.equal(obs[:, :3], obs[:, 3:6])
    assert torch.equal(obs[:, :3], obs[:, 6:])
    step = env.step(torch.ones(2, 1))
    assert torch.equal(step.obs[:, :6], obs[:, 3:])
    assert not torch.equal(step.obs[:, 6:], obs[:, 6:])
    # the state is available too, and an action is repeated twice
    blind = world.from_states.open()
    blind.reset(row_seeds(0, 2))
    torch.testing.assert_close(env.states(), blind.step(torch.ones(2, 1)).obs)
    env.close()


@pytest.mark.parametrize(("task", "camera"), [("walker_walk", 0), ("quadruped_walk", 2)])
def test_full_pixels_equal_dm_controls(task, camera):
    env = Control(task, pixels=True).open()
    ours = env.reset(row_seeds(0, 1))[0, -3:].permute(1, 2, 0).numpy()
    theirs = env.control_pool.rows[0].env.physics.render(84, 84, camera_id=camera)
    assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 0.5
    fast = Control(task, pixels=True, visuals="fast").open()
    difference = np.abs(fast.reset(row_seeds(0, 1))[0, -3:].permute(1, 2, 0).numpy().astype(int) - ours.astype(int)).mean()
    assert 0.5 < difference < 30
    assert env.picture().shape == (240, 240, 3)
    env.close()
    fast.close()


def test_names_describe_the_observations():
    assert (
        Control("walker_run", pixels=True, repeat=2, visuals="fast").spec.name
        == "walker_run (pixels, fast visuals, action repeat 2, dm_control)"
    )


@pytest.mark.parametrize("domain", [d for d in WHERE if d not in ("jaco", "reach")])
def test_coordinates_refer_to_existing_entries(domain):
    world = Control(f"{domain}_{DOMAINS[domain][0]}", horizon=3)
    env = world.open()
    env.reset(row_seeds(0, 8))
    places = world.places(env.step(torch.zeros(8, world.spec.action)).obs)
    assert places.shape == (8, len(world.where))
    assert ((places >= 0) & (places <= 1)).all()
    # initial positions differ between rows
    assert places.std(0).max() > 0.003


@pytest.mark.parametrize("task", ["walker_walk", "pendulum_swingup"])
def test_engines_agree_under_random_actions(task):
    pytest.importorskip("envpool")
    assert layout(task, "envpool") == layout(task, "dm_control")
    found = []
    for engine in ("envpool", "dm_control"):
        env = Control(task, repeat=2, engine=engine, horizon=40).open()
        rollouts = [play(env, Uniform(layout(task, engine)[1]), row_seeds(seed, 16), keep=("observations",)) for seed in range(4)]
        env.close()
        returns = torch.cat([rollout.returns for rollout in rollouts]).double()
        seen = torch.cat([rollout.observations.double().mean(0) for rollout in rollouts])
        found.append((returns, seen))
    (one, seen_one), (other, seen_other) = found
    for a, b in ((one[:, None], other[:, None]), (seen_one, seen_other)):
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt() + 1e-6
        assert ((a.mean(0) - b.mean(0)).abs() < 4 * error + 1e-3).all()


def test_an_episode_is_truncated_at_its_horizon():
    rollout = play(Control("point_mass_easy", repeat=2, engine="dm_control").open(), Uniform(2), row_seeds(0, 1))
    assert rollout.lengths.tolist() == [500]


@pytest.mark.parametrize(("settings", "says"), [
    ({"task": "walker_swim"}, "did you mean walker"), ({"task": "walker_flip", "engine": "envpool"}, "EnvPool has no walker_flip"),
    ({"repeat": 0}, "at least 1"), ({"visuals": "nice"}, "visuals are full or fast"), ({"pixels": True, "visuals": "fast", "engine": "envpool"}, "need engine dm_control"),
])  # fmt: skip
def test_wrong_settings_are_usage_errors(settings, says):
    with pytest.raises(Usage, match=says):
        Control(**settings).open()


def test_failed_rendering_is_a_one_line_failure(monkeypatch):
    renderer.prepare.cache_clear()
    monkeypatch.setattr(renderer, "PROBE", "import sys; sys.exit('no display')")
    with pytest.raises(Failure, match="rendering does not work here"):
        Control("walker_run", pixels=True).open()
    renderer.prepare.cache_clear()


def test_observations_are_in_dm_controls_order():
    env = load("cheetah_run", np.random.RandomState(0))
    names = layout("cheetah_run", "dm_control")[0]
    observation = env.reset().observation
    assert names[0] == "position[0]"
    assert flat(observation)[names.index("velocity[0]")] == pytest.approx(observation["velocity"][0])


def test_envpool_renders_in_a_fresh_process():
    program = (
        "import torch, sensorium; w = sensorium.world('control', task='pendulum_swingup', pixels=True, repeat=2, engine='envpool', horizon=2); "
        "e = w.open(); o = e.reset(torch.arange(1)); s = e.step(torch.zeros(1, 1)); print(tuple(s.obs.shape), int(s.obs.max()) > 100)"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert child.stdout.strip() == "(1, 9, 84, 84) True", child.stderr[-500:]


def test_triton_can_be_loaded_after_pixels_were_drawn():
    """Mesa and Triton both contain LLVM: without the order of `load_triton` the second one ends the process."""
    pytest.importorskip("triton", reason="torch's CPU build has no Triton")
    program = (
        "import torch; from sensorium.envs.control import Control; world = Control('cartpole_swingup', pixels=True, repeat=2, visuals='fast').open(); "
        "world.reset(torch.arange(1)); import triton._C.libtriton; world.close()"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
