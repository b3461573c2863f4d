"""The off-policy loop in worlds outside the control suite: short episodes, frames, coverage, resuming, and worlds that do not fit."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sensorium
from sensorium.core import checkpoint
from sensorium.core.env import Coordinates, WithStates, closing, coordinates, frames_per_episode, frames_per_step
from sensorium.core.errors import Usage
from sensorium.core.policy import Uniform
from sensorium.core.rollout import play
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, row_seeds, uniform
from sensorium.core.stage import placed
from sensorium.envs.gymnasium import Gymnasium
from sensorium.envs.normalised import Normalised
from sensorium.nets.encoders import Encoder
from sensorium.registry import recipe
from sensorium.rl.ddpg import DDPG
from sensorium.rl.learner import Learner, Learning
from sensorium.rl.off_policy.named import prepared
from sensorium.rl.sac import SAC
from sensorium.systems.proto_rl.figures import load_parts, probe_section, sections
from tests import foreign  # noqa: F401  (registers the walk)

WALK = "gym:foreign/Walk-v0"
FAST = 'gym:foreign/Walk-v0?{"kwargs": {"gravity": 4}}'
"""a walk that ends after about four steps"""
PENDULUM = 'gym:Pendulum-v1?{"pixels": 24, "coverage": ["0", "1"]}'


def newest(folder: Path) -> tuple[bytes, bytes]:
    """The newest tensors and the metrics of a stage."""
    latest = json.loads((folder / "latest.json").read_text())["checkpoints"][-1]["file"]
    return (folder / latest).read_bytes(), (folder / "metrics.jsonl").read_bytes()


def needs_rendering(task: str) -> None:
    if "Pendulum" in task:
        pytest.importorskip("pygame")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        (f"proto-states.{FAST}", {}), (f"rnd-states.{FAST}", {}), (f"scratch.{FAST}", {}), ("scratch.cart-pole", {}),
        (f"proto-pixels.{PENDULUM}", {}), (f"rnd-pixels.{PENDULUM}", {}), (f"drq-v2.{PENDULUM}", {}),
    ],
)  # fmt: skip
def test_recipes_train_in_named_worlds_and_resume_to_the_bit(name, flags, tmp_path):
    needs_rendering(name)
    stages = recipe(name).stages("tiny", **flags)
    for number, (stage_name, stage) in enumerate(stages.items(), 1):
        whole, resumed = (tmp_path / place / f"{number}-{stage_name}" for place in ("a", "b"))
        run(stage, whole, 0, last=False)
        run(replace(stage, steps=1), resumed, 0)  # type: ignore[type-var]
        # steps after the last checkpoint, as of a process that was killed
        killed = placed(stage, resumed)
        loaded = checkpoint.load(resumed)
        assert loaded is not None
        live = killed.open(loaded[1])
        killed.step(loaded[1], live, Seeds(0, stage_name, 2))
        live.close()
        run(stage, resumed, 0)
        assert newest(whole) == newest(resumed)
    assert np.isfinite(sensorium.evaluate(whole, 3)["returns"]).all()


def test_a_step_has_the_frames_of_a_full_episode_and_scores_whole_episodes(tmp_path):
    """Against episodes played by hand: random actions for the whole step, and the seeds of the step."""
    pretrain = recipe(f"rnd-states.{FAST}").stages("tiny")["pretrain"]
    world = Gymnasium("foreign/Walk-v0", '{"gravity": 4}', horizon=40)
    stage = placed(replace(pretrain, world=world, random=10**6, warmup=10**6, rows=3, capacity=10**4), tmp_path / "1-pretrain")  # type: ignore[type-var]
    state = stage.init(Seeds(0, "pretrain", 0))
    live = stage.open(state)
    score, lengths = [], 0
    metrics, _ = live.episode(Seeds(0, "pretrain", 1))
    with closing(world) as env:
        rollout = play(env, Uniform(1), Seeds(0, "pretrain", 1).rows("worlds", 3))
    replay = live.replay
    first = [int(np.flatnonzero(replay.finished.row == row)[0]) for row in range(3)]
    assert replay.finished.length[first].tolist() == rollout.lengths.tolist()
    assert (rollout.lengths < 8).all()
    for row in range(3):
        lengths = replay.lengths[0, :, row]
        lengths = lengths[lengths > 0]
        place = 0
        for number, length in enumerate(lengths):
            rewards = replay.arrays["rewards"][0, place : place + length, row]
            last = number + 1 == len(lengths)
            ended = bool(replay.terminated[0, :, row][number])
            assert ended or last
            # the reward is minus the distance to 1
            positions = replay.arrays["observations"][0, place + 1 : place + length + 1, row, 0]
            np.testing.assert_allclose(rewards, -np.abs(positions - 1), rtol=1e-5)
            assert (positions[:-1] <= 20).all()
            if ended:
                assert positions[-1] > 20
                score.append(rewards.sum())
            place += length + 1
    assert metrics["score/mean"] == pytest.approx(np.mean(score), rel=1e-5)
    # episodes of about four steps fill the slots: four of five hold a transition
    assert 0.85 * 120 < int(state["agent-steps"]) <= 120
    assert metrics["frames"] == float(state["agent-steps"])
    live.close()


def test_episodes_of_ten_steps_fill_a_step_exactly(tmp_path):
    pretrain = recipe(f"rnd-states.{WALK}").stages("tiny")["pretrain"]
    stage = placed(replace(pretrain, world=Gymnasium("foreign/Walk-v0", horizon=60, repeat=1), steps=2), tmp_path / "1-pretrain")  # type: ignore[type-var]
    run(stage, tmp_path / "1-pretrain", 0)
    rows = [json.loads(line) for line in (tmp_path / "1-pretrain" / "metrics.jsonl").read_text().splitlines()]
    assert [row["frames"] for row in rows] == [120, 240]


def test_stacked_frames_are_the_images_of_gymnasium():
    pytest.importorskip("pygame")
    single, stacked = Gymnasium("Pendulum-v1", pixels=20, horizon=5), Gymnasium("Pendulum-v1", pixels=20, horizon=5, stack=3)
    assert (stacked.spec.observation, stacked.spec.kind, stacked.spec.stack) == ((9, 20, 20), "frames", 3)
    seeds = row_seeds(4, 2)
    images, frames, states = [], [], []
    with closing(single) as one, closing(stacked) as other, closing(stacked.from_states) as plain:
        images.append(one.reset(seeds))
        frames.append(other.reset(seeds))
        states.append(plain.reset(seeds))
        for t in range(5):
            action = 2 * uniform(seeds, t, 1) - 1
            images.append(one.step(action).obs)
            frames.append(other.step(action).obs)
            states.append(plain.step(action).obs)
            assert isinstance(other, WithStates)
            assert torch.equal(other.states(), states[-1])
    for t in range(6):
        expected = torch.cat([images[max(t - k, 0)].permute(0, 3, 1, 2) for k in (2, 1, 0)], 1)
        assert torch.equal(frames[t], expected)
    with closing(replace(stacked, processes=2)) as apart:
        assert torch.equal(apart.reset(seeds), frames[0])
        assert isinstance(apart, WithStates)
        assert torch.equal(apart.states(), states[0])
    with pytest.raises(Usage, match="stack is for images: give pixels"):
        Gymnasium("Pendulum-v1", stack=3).spec  # noqa: B018


@pytest.mark.parametrize("side", [(15, 16), (24, 40), (84, 84)])
def test_the_encoder_takes_frames_of_any_size(side):
    encoder = Encoder(2, 0.0, (6, *side))
    assert encoder(torch.zeros(3, 6, *side, dtype=torch.uint8)).shape == (3, encoder.width)
    with pytest.raises(Usage, match="too small"):
        Encoder(2, 0.0, (9, 14, 84))


def test_coverage_in_named_dimensions(tmp_path):
    """Ranges: the space's, the user's, or twice what random actions visit; cells are counted as by NumPy."""
    pendulum = prepared('gym:Pendulum-v1?{"coverage": ["0", "2"]}', False)
    assert [(c.name, c.low, c.high) for c in coordinates(pendulum)] == [("entry 0", -1, 1), ("entry 2", -8, 8)]
    walk = prepared(WALK + '?{"coverage": ["0", "1:-2:6"]}', False)
    assert isinstance(walk, Normalised)
    assert isinstance(walk, Coordinates)
    with closing(Gymnasium("foreign/Walk-v0")) as env:
        rollout = play(env, Uniform(1), row_seeds(0, 16), keep=("observations",))
    live = torch.arange(len(rollout.observations))[:, None] < rollout.lengths
    seen = rollout.observations[..., 0][live]
    place, time = coordinates(walk)
    assert (time.low, time.high) == (-2, 6)
    assert place.low == pytest.approx(float(1.5 * seen.min() - 0.5 * seen.max()), rel=1e-3, abs=1e-3)
    assert place.high == pytest.approx(float(1.5 * seen.max() - 0.5 * seen.min()), rel=1e-3, abs=1e-3)
    states = torch.tensor([[place.low, 0.0], [place.high + 1, 4.0]])
    torch.testing.assert_close(walk.places(states), torch.tensor([[0.0, 0.25], [1.0, 0.75]]))
    explore = recipe(f"proto-states.{WALK}" + '?{"coverage": ["0", "1:-2:6"]}').stages("tiny")["pretrain"]
    stage = placed(explore, tmp_path / "1-pretrain")
    state = stage.init(Seeds(0, "pretrain", 0))
    live_ = stage.open(state)
    metrics = stage.step(state, live_, Seeds(0, "pretrain", 1))
    replay = live_.replay
    cells = set()
    for episode in zip(*replay.finished, strict=True):
        _, row, start, _, length, _ = (int(value) for value in episode)
        obs = replay.arrays["observations"][0, start + 1 : start + length + 1, row].astype(np.float64)
        raw = obs * np.array(stage.world.sd) + np.array(stage.world.mean)  # type: ignore[attr-defined]
        low, high = np.array([place.low, -2]), np.array([place.high, 6])
        cells |= {tuple(cell) for cell in np.minimum((np.clip((raw - low) / (high - low), 0, 1) * 20 + 1e-6).astype(int), 19)}
    assert metrics["cells/explorer"] == metrics["coverage/explorer"] == len(cells)
    assert metrics["coverage/random"] > 1
    live_.close()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("proto-states.gym:CartPole-v1", "a choice of 2 actions; allowed: worlds with continuous actions"),
        ("rnd-pixels.gym:CartPole-v1", "continuous actions"),
        ("scratch.gym:foreign/Grey-v0", "observes images"),
        ("proto-pixels.car-racing", "gym:ID, whose images are rendered"),
        ("drq-v2.ant-v5", "gym:ID, whose images are rendered"),
        ('proto-states.gym:Pendulum-v1?{"coverage": ["3"]}', "allowed: 0 to 2"),
        ('proto-states.gym:Pendulum-v1?{"coverage": ["0:2:1"]}', "NUMBER:LOW:HIGH"),
        ('proto-states.gym:Pendulum-v1?{"coverage": ["0:a:1"]}', "NUMBER:LOW:HIGH"),
        ("proto-states.gym:Pendulm-v1", "did you mean Pendulum-v1"),
    ],
)
def test_worlds_that_do_not_fit_are_one_sentence(name, says):
    if "ant" in name or "car-racing" in name:
        pytest.importorskip("envpool")
    with pytest.raises(Usage) as error:
        recipe(name).stages("tiny")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stage_refuses_other_worlds_itself(tmp_path):
    explore = recipe(f"rnd-states.{WALK}").stages("tiny")["pretrain"]
    for world, says in (
        (Gymnasium("CartPole-v1"), "has a choice of 2 actions and observes vector"),
        (Gymnasium("foreign/Grey-v0"), "allowed: continuous actions, a vector or stacked frames"),
        (Gymnasium("foreign/Walk-v0", coverage=("0",)), "needs a range for '0'"),
    ):
        with pytest.raises(Usage, match=says):
            run(replace(explore, world=world), tmp_path / "1-pretrain", 0)  # type: ignore[type-var]
    assert not (tmp_path / "1-pretrain" / "card.json").exists()


def test_an_agent_is_fine_tuned_in_the_same_environment_with_other_arguments(tmp_path):
    """It keeps the normalisation of its pre-training; another environment is another domain."""
    sensorium.train(f"rnd-states.{WALK}", "tiny", tmp_path / "walk")
    earlier = checkpoint.stage(tmp_path / "walk" / "1-pretrain").world  # type: ignore[attr-defined]
    tune = recipe(f"rnd-states.{FAST}").stages("tiny", pretrained=str(tmp_path / "walk"))["finetune"]
    assert tune.world == replace(earlier, world=replace(earlier.world, kwargs='{"gravity": 4}'))  # type: ignore[attr-defined]
    run(tune, tmp_path / "1-finetune", 0)
    other = recipe("rnd-states.cart-pole").stages("tiny", pretrained=str(tmp_path / "walk"))["finetune"]
    with pytest.raises(Usage, match="another domain: gym:foreign/Walk-v0 there, cart-pole"):
        run(other, tmp_path / "2-finetune", 0)


def test_presets_of_named_worlds():
    pytest.importorskip("pygame")
    assert recipe(f"scratch.{PENDULUM}").stages("tiny", observations="pixels")["scratch"].pixels  # type: ignore[attr-defined]
    assert isinstance(recipe(f"proto-pixels.{PENDULUM}").stages("tiny", variant="urlb")["pretrain"].learner, DDPG)  # type: ignore[attr-defined]
    for name, frames in ((f"proto-states.{WALK}", 100_000), (f"rnd-states.{WALK}", 100_000), (f"scratch.{WALK}", 200_000), ("proto-pixels.gym:Pendulum-v1", 20_000)):  # fmt: skip
        for stage in recipe(name).stages("laptop").values():
            assert stage.every == 1  # type: ignore[attr-defined]
            episode = frames_per_episode(stage.world) * stage.rows  # type: ignore[attr-defined]
            assert frames - episode < stage.steps * episode <= frames
    # a published length
    explore = recipe(f"proto-states.{WALK}").stages("paper")["pretrain"]
    assert explore.steps * frames_per_episode(explore.world) == 2_000_000  # type: ignore[attr-defined]
    assert frames_per_step(Gymnasium("foreign/Walk-v0", repeat=3)) == 3
    assert frames_per_episode(Gymnasium("foreign/Walk-v0", repeat=3)) == 12


def test_learners_are_a_protocol(tmp_path):
    """A learner of another class trains, where it has the same methods."""
    for learner in (SAC(), DDPG()):
        assert isinstance(learner, Learner)
        assert isinstance(learner.open(learner.init(3, 2, True, Seeds(0)), 3, 2, True), Learning)

    @dataclass(frozen=True)
    class Still:
        """DDPG whose actions are always 0."""

        inner: DDPG = DDPG(returns=1, hidden=8, features=8)
        returns: int = 1
        discount: float = 0.5

        @property
        def sizes(self) -> tuple[str, int, int]:
            return "still", 8, 8

        def actor(self, width, actions, states):
            return self.inner.actor(width, actions, states)

        def init(self, width, actions, states, seeds):
            return self.inner.init(width, actions, states, seeds)

        def open(self, state, width, actions, states):
            return self.inner.open(state, width, actions, states)

        def act(self, actor, code, noise, step):
            return torch.zeros(len(code), 1)

    stage = placed(replace(recipe(f"scratch.{WALK}").stages("tiny")["scratch"], learner=Still(), random=0), tmp_path / "1-scratch")  # type: ignore[type-var]
    state = stage.init(Seeds(0, "scratch", 0))
    live = stage.open(state)
    live.episode(Seeds(0, "scratch", 1))
    assert int(state["critic-updates"]) > 0
    drawn = live.replay.draw(50, 1, 0)
    assert not drawn.action.any()
    live.close()


@pytest.mark.slow
def test_reports_of_named_worlds(tmp_path):
    pytest.importorskip("pygame")
    sensorium.train(f"proto-pixels.{PENDULUM}", "tiny", tmp_path / "a")
    titles = [section.title for section in sections(tmp_path / "a").sections]
    assert titles == ["Evaluation", "Return", "Exploration without reward", "Prototypes", "Visited states and linear probes"]
    sensorium.train(f"proto-states.{WALK}", "tiny", tmp_path / "b")
    assert probe_section(load_parts(tmp_path / "b")["pretrain"]) is None
    assert [section.title for section in sections(tmp_path / "b").sections] == ["Evaluation", "Return", "Prototypes"]
