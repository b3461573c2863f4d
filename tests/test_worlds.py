"""Simulated worlds: observations, rewards, and determinism of a row given its seed and actions."""

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds, uniform
from sensorium.envs import pixels
from sensorium.envs.car_racing import CarRacing
from sensorium.envs.host import HostEnv
from sensorium.envs.take_cover import TakeCover, moves
from sensorium.systems.world_models.behaviour import HeldActions, RandomNetworks

WORLDS = {
    "car, envpool": CarRacing(horizon=12),
    "car, gymnasium": CarRacing("gymnasium", horizon=12),
    "doom, envpool": TakeCover(horizon=12),
    "doom, vizdoom": TakeCover("vizdoom", horizon=12),
    "doom, faithful": TakeCover("vizdoom", faithful=True, horizon=12),
}


@pytest.fixture(params=WORLDS, ids=list(WORLDS))
def world(request):
    for module in ("envpool", "Box2D", "vizdoom"):
        pytest.importorskip(module)
    return WORLDS[request.param]


def episode(world, seeds):
    env = world.open()
    obs, steps = [env.reset(seeds)], []
    for t in range(world.horizon):
        steps.append(env.step(2 * uniform(seeds, t, world.spec.action) - 1))
        obs.append(steps[-1].obs)
    env.close()
    return torch.stack(obs), steps


def test_a_row_is_a_function_of_its_seed_and_its_actions(world):
    seeds = row_seeds(5, 3)
    obs, steps = episode(world, seeds)
    assert obs.dtype == torch.uint8
    assert obs.shape[1:] == (3, 64, 64, 3)
    alone, only = episode(world, seeds[1:2])
    assert torch.equal(obs[:, 1:2], alone)
    assert [float(step.reward[1]) for step in steps] == [float(step.reward[0]) for step in only]
    assert not torch.equal(obs[-1, 0], obs[-1, 1])


def test_truncation_at_the_horizon(world):
    _, steps = episode(world, row_seeds(5, 2))
    assert not any(bool(step.truncated.any()) for step in steps[:-1])
    assert bool((steps[-1].truncated | steps[-1].terminated).all())


def test_an_env_may_be_reset_again_with_other_rows(world):
    env = world.open()
    first = env.reset(row_seeds(1, 3))
    env.step(torch.zeros(3, world.spec.action))
    assert torch.equal(env.reset(row_seeds(1, 2)), first[:2])
    env.close()


class Scripted:
    """Simulators with automatic resets whose row r ends after r + 1 steps."""

    def begin(self, seeds):
        self.t = 0
        return torch.tensor(seeds, dtype=torch.float32)[:, None]

    def step(self, action, live):
        self.t += 1
        rows = np.arange(len(action))
        return torch.full((len(action), 1), float(self.t)), np.ones(len(action)), rows + 1 == self.t

    def close(self):
        pass


def test_rows_that_have_ended_repeat_their_last_observation_without_reward():
    env = HostEnv(CarRacing(horizon=3).spec, Scripted())
    env.reset(torch.arange(4))
    steps = [env.step(torch.zeros(4, 3)) for _ in range(4)]
    assert [step.obs[:, 0].tolist() for step in steps] == [[1, 1, 1, 1], [1, 2, 2, 2], [1, 2, 3, 3], [1, 2, 3, 3]]
    assert [step.reward.tolist() for step in steps] == [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert steps[2].terminated.tolist() == [False, False, True, False]
    assert steps[2].truncated.tolist() == [False, False, False, True]


def test_small_equals_pillows_bilinear():
    frames = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for mine, frame in zip(pixels.small(frames, 84), frames, strict=True):
        theirs = np.asarray(Image.fromarray(frame[:84].numpy()).resize((64, 64), Image.Resampling.BILINEAR))
        assert np.abs(mine.numpy().astype(int) - theirs).max() <= 1


def test_legacy_images_are_stretched_and_lowered_by_one():
    """Grass and road as in the authors' demo: largest value 229 without a kerb, 255 with one."""
    plain = torch.tensor([[102, 204, 102], [102, 229, 102], [102, 102, 102], [0, 0, 0]], dtype=torch.uint8)
    kerb = torch.cat([plain, torch.tensor([[255, 255, 255]], dtype=torch.uint8)])
    for colours, expected in (
        (plain, [[113, 226, 113], [113, 254, 113], [113, 113, 113], [255, 255, 255]]),
        (kerb, [[101, 203, 101], [101, 228, 101]]),
    ):
        frame = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
        for i, colour in enumerate(colours):
            frame[0, 10 * i : 10 * i + 10] = colour
        shown = pixels.legacy(frame, 64)
        assert [shown[0, 10 * i + 5, 5].tolist() for i in range(len(expected))] == expected


def test_actions_beyond_a_third_move():
    assert moves(np.array([[-1.0], [-0.34], [-0.33], [0.0], [0.33], [0.34], [1.0]])).tolist() == [-1, -1, 0, 0, 0, 1, 1]


def test_engines_agree_on_left_and_right():
    """Moving left reveals the wall on that side: both engines render the same scene with the same shift."""
    shown = {}
    for engine in ("envpool", "vizdoom"):
        for way in (-1.0, 1.0):
            env = TakeCover(engine, horizon=40).open()
            env.reset(row_seeds(0, 1))
            for _ in range(30):
                obs = env.step(torch.full((1, 1), way)).obs
            shown[engine, way] = obs[0].float()
            env.close()
    for way in (-1.0, 1.0):
        same, other = ((shown["envpool", way] - shown["vizdoom", turn]).abs().mean() for turn in (way, -way))
        assert same < other


def test_a_world_is_recognised_without_its_simulator():
    class Absent:
        @property
        def spec(self):
            raise AssertionError("evaluated")

        def open(self): ...

    assert isinstance(Absent(), World)


def test_wrong_settings_are_usage_errors():
    with pytest.raises(Usage, match="allowed: envpool, gymnasium"):
        CarRacing(engine="pybullet").open()  # type: ignore[arg-type]
    with pytest.raises(Usage, match="vizdoom"):
        TakeCover(faithful=True).open()


@pytest.mark.slow
def test_a_random_policys_score_equals_the_papers():
    """A new action at every tic, faithful screen: the paper has 210 +- 108. Held actions survive longer: the authors' data have 308."""
    pytest.importorskip("vizdoom")
    world = TakeCover("vizdoom", faithful=True)
    env = world.open()
    scores = torch.cat([play(env, HeldActions(longest=1), rows).returns for rows in row_seeds(3, 32).split(16)])
    env.close()
    assert 150 < float(scores.mean()) < 270


def test_a_random_policys_car_racing_score():
    """Few tiles: the authors' first generation scored -55, others -72."""
    pytest.importorskip("envpool")
    scores = play(CarRacing(horizon=150).open(), RandomNetworks(), row_seeds(0, 8)).returns
    assert -40 < float(scores.mean()) < 60
