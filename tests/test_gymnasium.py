"""Worlds of Gymnasium's registry: observations, actions, exactness, processes, and environments that misbehave."""

import json
import subprocess
import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit
from PIL import Image

import sensorium
from sensorium import cli, doctor
from sensorium.core import card, checkpoint
from sensorium.core.env import closing
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Uniform
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds, uniform
from sensorium.envs import worlds
from sensorium.envs.gym_patches import GymPatches
from sensorium.envs.gymnasium import Gymnasium
from sensorium.envs.host import SEED
from sensorium.envs.normalised import Normalised, fitted
from sensorium.envs.rows import MODULES
from sensorium.envs.wrappers import shortened
from sensorium.settings import described, in_world, world_settings
from tests import foreign

IDS = {
    "CartPole-v1": {}, "Acrobot-v1": {}, "MountainCar-v0": {}, "MountainCarContinuous-v0": {}, "Pendulum-v1": {}, "LunarLander-v3": {},
    "BipedalWalker-v3": {}, "CarRacing-v3": {"horizon": 4}, "Hopper-v5": {}, "HalfCheetah-v5": {}, "Ant-v5": {}, "Reacher-v5": {},
    "MiniGrid-Empty-5x5-v0": {"keys": ("image", "direction")}, "foreign/Walk-v0": {}, "foreign/Choice-v0": {"keys": ("last", "where")}, "foreign/Grey-v0": {},
}  # fmt: skip
"""ids of classic control, Box2D, MuJoCo, another package and this one's own"""


def world(id: str) -> Gymnasium:
    """The world of an id; skips where its library is not installed."""
    for module, names in {"minigrid": "MiniGrid", "Box2D": "Lunar Bipedal CarRacing", "mujoco": "Hopper Half Ant Reacher"}.items():
        if id.startswith(tuple(names.split())):
            # Box2D crashes where its warnings on import are errors, and importorskip ignores them
            pytest.importorskip(module)
    return Gymnasium(id, **{"horizon": 12, **IDS[id]})


def actions(spec, seeds, t):
    """Random actions: in [-1, 1], or logits."""
    return 2 * uniform(seeds, t, spec.action) - 1


def episode(world, seeds):
    """Observations [steps + 1, rows, ...], and the steps, of random actions."""
    with closing(world) as env:
        obs, steps = [env.reset(seeds)], []
        for t in range(world.spec.horizon):
            steps.append(env.step(actions(world.spec, seeds, t)))
            obs.append(steps[-1].obs)
    return torch.stack(obs), steps


def by_hand(made: Gymnasium, seed: int):
    """The same episode by Gymnasium alone, with one environment and its loop written out."""
    env = TimeLimit(gymnasium.make(made.id, max_episode_steps=-1, **json.loads(made.kwargs or "{}")), made.spec.horizon)
    obs, _ = env.reset(seed=int(seed) & SEED)
    found, rewards, ended = [obs], [], (False, False)
    for t in range(made.spec.horizon):
        action = actions(made.spec, torch.tensor([seed]), t)[0].numpy()
        if made.spec.discrete:
            action = env.action_space.start + int(np.argmax(action))
        else:
            low, high = env.action_space.low, env.action_space.high
            action = (low + (action + 1) / 2 * (high - low)).astype(env.action_space.dtype)
        obs, reward, *ended, _ = env.step(action)
        found.append(obs)
        rewards.append(reward)
        if any(ended):
            break
    env.close()
    return found, rewards, ended


def expected(made: Gymnasium, obs) -> np.ndarray:
    """An observation as the world should give it."""
    if made.keys:
        one_hot = {
            key: np.eye(4 if key == "direction" else 3)[value] if np.ndim(value) == 0 else np.ravel(value)
            for key, value in obs.items()
            if key in made.keys
        }
        return np.concatenate([one_hot[key] for key in gymnasium.spaces.Dict({k: gymnasium.spaces.Discrete(1) for k in made.keys}).spaces])
    return np.repeat(obs[..., None], 3, 2) if obs.ndim == 2 else obs


@pytest.mark.parametrize("id", IDS)
def test_an_episode_is_the_one_of_gymnasium_and_equal_in_any_batch_and_process(id):
    made, seeds = world(id), row_seeds(3, 3)
    obs, steps = episode(made, seeds)
    alone, only = episode(made, seeds[1:2])
    assert torch.equal(obs[:, 1], alone[:, 0])
    assert [float(step.reward[1]) for step in steps] == [float(step.reward[0]) for step in only]
    apart, others = episode(Gymnasium(**{**vars(made), "processes": 2}), seeds)
    assert torch.equal(obs, apart)
    assert all(torch.equal(a, b) for one, other in zip(steps, others, strict=True) for a, b in zip(one, other, strict=True))
    theirs, rewards, ended = by_hand(made, int(seeds[1]))
    for mine, other in zip(obs[:, 1].numpy(), theirs, strict=False):
        np.testing.assert_allclose(mine, expected(made, other), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([float(step.reward[1]) for step in steps][: len(rewards)], rewards, rtol=1e-4, atol=1e-5)
    last = steps[len(rewards) - 1]
    assert (bool(last.terminated[1]), bool(last.truncated[1])) == (bool(ended[0]), bool(ended[1]) and not ended[0])
    # after the end: no reward, the last observation
    assert all(float(step.reward[1]) == 0 for step in steps[len(rewards) :])


def test_spaces():
    walk = Gymnasium("foreign/Walk-v0").spec
    assert (walk.kind, walk.observation, walk.action, walk.discrete, walk.bounds, walk.horizon) == (
        "vector",
        (2,),
        1,
        False,
        ((-2, 6),),
        10,
    )
    choice = Gymnasium("foreign/Choice-v0", keys=("last", "where")).spec
    assert (choice.observation, choice.action, choice.discrete) == ((5,), 3, True)
    assert choice.sensors == ("last[0]", "last[1]", "last[2]", "where[0]", "where[1]")
    assert (Gymnasium("foreign/Grey-v0").spec.kind, Gymnasium("foreign/Grey-v0").spec.observation) == ("image", (8, 6, 3))
    assert Gymnasium("foreign/Grey-v0", pixels=4, repeat=3).spec.observation == (4, 4, 3)
    assert Gymnasium("foreign/Grey-v0", repeat=3).spec.horizon == 4
    assert Gymnasium("foreign/Grey-v0", horizon=7).spec.horizon == 7


def test_actions_are_scaled_to_the_bounds_and_repeated():
    with closing(Gymnasium("foreign/Walk-v0", '{"gravity": 0.5}', repeat=2)) as env:
        before = env.reset(row_seeds(0, 2))[:, 0]
        step = env.step(torch.tensor([[-1.0], [0.0]]))
    # (-2 + 0.5) and (2 + 0.5), twice
    torch.testing.assert_close(step.obs[:, 0] - before, torch.tensor([-3.0, 5.0]))
    places = (before + torch.tensor([[-1.5, 2.5], [-3.0, 5.0]]) - 1).abs()
    torch.testing.assert_close(step.reward, -places.sum(0))


def test_rendered_pixels():
    pytest.importorskip("pygame")
    made = Gymnasium("Pendulum-v1", pixels=24, horizon=3)
    obs, _ = episode(made, row_seeds(1, 2))
    assert obs.dtype == torch.uint8
    assert obs.shape == (4, 2, 24, 24, 3)
    assert not torch.equal(obs[0, 0], obs[3, 0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "CartPoll-v1"}, "did you mean CartPole-v1"),
        ({"id": "os:CartPole-v1"}, "import"),
        ({"id": "GymV26Environment-v0", "kwargs": '{"env_id": "os:x"}'}, "import"),
        ({"id": "foreign/Walk-v0", "kwargs": "[1]"}, "JSON object"),
        ({"id": "foreign/Walk-v0", "kwargs": '{"wind": 1}'}, "unexpected keyword argument 'wind'"),
        ({"id": "foreign/Several-v0"}, "actions MultiDiscrete"),
        ({"id": "foreign/Choice-v0"}, "observes said, which is not a vector; choose keys of last, where"),
        ({"id": "foreign/Walk-v0", "keys": ("a",)}, "no Dict"),
        ({"id": "FrozenLake-v1"}, "observes Discrete(16)"),
        ({"id": "foreign/Walk-v0", "repeat": 0}, "at least 1"),
        ({"id": "foreign/Walk-v0", "patience": 0.0}, "number of seconds"),
    ],
)
def test_worlds_that_do_not_fit_are_one_sentence(fields, message):
    with pytest.raises(Usage) as error:
        Gymnasium(**fields).spec  # noqa: B018
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Raises", "step 3) failed: ValueError: the walker fell"),
        ("Hangs", "step 3) took more than 1 s"),
        ("Nan", "step 3) gave a reward or an observation that is not finite"),
        ("Reward", "step 3) gave a reward or an observation that is not finite"),
        ("Shape", "step 3) observed (3,), not (2,)"),
    ],
)
def test_a_row_that_misbehaves_is_named(name, message, processes, monkeypatch):
    seeds = row_seeds(0, 2)
    monkeypatch.setattr("sensorium.envs.rows.TRIAL", 0.0)
    with closing(Gymnasium(f"foreign/{name}-v0", processes=processes, patience=1.0)) as env:
        env.reset(seeds)
        for _ in range(2):
            env.step(torch.zeros(2, 1))
        with pytest.raises(Failure) as error:
            env.step(torch.zeros(2, 1))
    assert message in str(error.value)
    assert f"seed {int(seeds[0]) & SEED}" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "message"), [("Dies", "ended its process (exit code 7)"), ("Blocks", "hangs: no answer for 6 s")])
def test_a_row_that_takes_its_process_with_it_is_named(name, message, monkeypatch):
    monkeypatch.setattr("sensorium.envs.rows.TRIAL", 0.0)
    with closing(Gymnasium(f"foreign/{name}-v0", processes=2, patience=1.0)) as env:
        env.reset(row_seeds(0, 4))
        for _ in range(2):
            env.step(torch.zeros(4, 1))
        with pytest.raises(Failure, match="step 3") as error:
            env.step(torch.zeros(4, 1))
    assert message in str(error.value)


def test_a_class_without_a_module_stays_in_this_process():
    class Local(foreign.Walk):
        pass

    gymnasium.register("local/Walk-v0", entry_point=Local, max_episode_steps=5)
    try:
        with closing(Gymnasium("local/Walk-v0", processes=2)) as env:
            env.reset(row_seeds(0, 4))
            assert env.batch.count == 2
            assert float(env.step(torch.zeros(4, 1)).obs[0, 1]) == 1
    finally:
        del gymnasium.registry["local/Walk-v0"]


def test_a_card_cannot_import(tmp_path):
    """A card's world is looked up among ids that are registered; nothing else is imported."""
    module = tmp_path / "evil.py"
    module.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nimport gymnasium\ngymnasium.register('Evil-v0', entry_point='evil:x')")
    for id, kwargs in (("evil:Evil-v0", ""), ("Evil-v0", ""), ("GymV26Environment-v0", '{"env_id": "evil:Evil-v0"}')):
        program = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import sensorium
from dataclasses import replace

from sensorium.core import card, checkpoint
from sensorium.core.policy import Uniform
from sensorium.envs.normalised import Normalised, fitted
from sensorium.envs.wrappers import shortened
from sensorium.core.errors import Usage
try:
    card.build({{"is": "gymnasium", "id": {id!r}, "kwargs": {kwargs!r}}})
except Usage:
    print("refused")
"""
        assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "refused\n"
    assert not (tmp_path / "ran").exists()


def test_cards_and_names():
    made = sensorium.world("gym:foreign/Walk-v0", kwargs={"gravity": -5}, horizon=3)
    assert made == Gymnasium("foreign/Walk-v0", '{"gravity": -5}', horizon=3)
    assert card.build(card.plain(made)) == made
    with pytest.raises(Usage, match="did you mean pixels"):
        sensorium.world("gym:foreign/Walk-v0", pixel=3)
    with pytest.raises(Usage, match="gym:ID names a Gymnasium environment"):
        sensorium.world("walk")
    settings, rest = world_settings(
        ["--world.kwargs.gravity", "-5", "a", "--world.kwargs.continuous=True", "--world.keys", "b,c", "--world.pixels", "64"]
    )
    assert settings == {"kwargs": {"gravity": -5, "continuous": True}, "keys": ("b", "c"), "pixels": 64}
    assert rest == ["a"]
    recipe, rest = in_world("clone", ["--world", "gym:foreign/Walk-v0", "--world.kwargs.gravity", "2", "--seed", "1"])
    assert (recipe, rest[2:]) == ("clone", ["--seed", "1"])
    assert worlds.world(rest[1]) == Gymnasium("foreign/Walk-v0", '{"gravity": 2}')
    with pytest.raises(Usage, match="named world"):
        in_world("clone", ["--world.pixels", "2"])


def test_senses_apply():
    made = sensorium.world("gym:foreign/Walk-v0", "noise:2,shuffle")
    plain, _ = episode(Gymnasium("foreign/Walk-v0"), row_seeds(0, 2))
    treated, _ = episode(made, row_seeds(0, 2))
    assert treated.shape == (*plain.shape[:2], 4)
    assert all(bool((treated[0, 0] == value).any()) for value in plain[0, 0])


@pytest.mark.parametrize(
    ("name", "works"), [("Walk", (True, True, True)), ("Remembers", (False, False, True)), ("Raises", (True, False, False))]
)
def test_doctor_examines_a_world(name, works, monkeypatch):
    monkeypatch.setenv(MODULES, "tests.foreign")
    checks = doctor.diagnose_world(f"gym:foreign/{name}-v0")
    assert tuple(check["works"] for check in checks) == works
    if name == "Remembers":
        assert "after other episodes" in checks[1]["detail"]
        assert "--world.anew True" in checks[1]["detail"]
        assert doctor.diagnose_world(described(f"gym:foreign/{name}-v0", {"anew": True}))[1]["works"]
    assert cli.main(["doctor", "--world", "toy"]) == 2


def test_an_agent_plays():
    class Still:
        members = 1

        def take(self, members):
            return self

        def begin(self, seeds):
            return ()

        def act(self, obs, memory, t):
            return torch.full((len(obs), 1), -0.5), memory

    made = Gymnasium("foreign/Walk-v0", horizon=12)
    with closing(made) as env:
        rollout = play(env, Still(), row_seeds(0, 5), keep=("observations", "rewards"))
    # -0.5 is the action 0: nobody moves
    torch.testing.assert_close(rollout.returns, -12 * (rollout.observations[0, :, 0] - 1).abs())
    assert rollout.lengths.tolist() == [12] * 5


def test_normalised_sensors():
    """Means and deviations are those of the same episodes computed by NumPy; observations are limited; agents keep them elsewhere."""
    made = Gymnasium("foreign/Walk-v0", horizon=9)
    fit = fitted(made, Uniform(1), 6)
    obs, steps = episode(made, row_seeds(0, 6))
    before = obs[:-1]
    live = torch.stack([torch.zeros(6, dtype=torch.bool), *[(step.terminated | step.truncated) for step in steps[:-1]]]).cumsum(0) == 0
    seen = before[live].numpy().astype(np.float64)
    np.testing.assert_allclose(fit.mean, seen.mean(0), rtol=1e-3)
    np.testing.assert_allclose(fit.sd, seen.std(0), rtol=1e-3)
    normal, _ = episode(fit, row_seeds(0, 6))
    torch.testing.assert_close(normal, ((obs - torch.tensor(fit.mean)) / torch.tensor(fit.sd)).clamp(-10, 10))
    far, _ = episode(replace(fit, sd=(1e-4, 1e-4)), row_seeds(0, 6))
    assert float(far.abs().max()) == 10
    assert card.build(card.plain(fit)) == fit
    assert shortened(fit, 3).spec.horizon == 3
    other = Gymnasium("foreign/Walk-v0", '{"gravity": 1}')
    assert fit.applied_to(other) == Normalised(other, fit.mean, fit.sd)
    with closing(fit) as env:
        env.reset(row_seeds(0, 6))
        assert env.views(other)
        assert torch.equal(env.shown(made), obs[0])
    with pytest.raises(Usage, match="1 and 2 numbers"):
        Normalised(made, (0.0,), (1.0, 1.0)).spec  # noqa: B018
    with pytest.raises(Usage, match="positive"):
        replace(fit, sd=(0.0, 1.0))


@pytest.mark.parametrize("name", ["Walk", "Choice"])
def test_evolution_and_cloning_in_any_world(name, tmp_path):
    """Tiny recipes train, resume to the bit, are cloned and evaluated under shuffled sensors and with other arguments."""
    keys = ("last", "where") if name == "Choice" else ()
    task = described(f"gym:foreign/{name}-v0", {"keys": keys} if keys else {})
    for recipe in ("neurons", "neurons-mlp"):
        sensorium.train(f"{recipe}.{task}", "tiny", tmp_path / recipe, on="here")
        stages = sensorium.registry.recipe(f"{recipe}.{task}").stages("tiny")
        half = {"evolve": replace(stages["evolve"], steps=2)}
        sensorium.train(f"{recipe}.{task}", "tiny", tmp_path / "again" / recipe, on="here", stages=half)
        sensorium.train(f"{recipe}.{task}", "tiny", tmp_path / "again" / recipe, on="here")
        whole, resumed = (checkpoint.load(place / recipe / "1-evolve") for place in (tmp_path, tmp_path / "again"))
        assert whole[0] == resumed[0] == 4
        assert all(torch.equal(tensor, resumed[1][key]) for key, tensor in whole[1].items())
    sensorium.train("clone", "tiny", tmp_path / "clone", teacher=str(tmp_path / "neurons-mlp"))
    plain, shuffled = (sensorium.evaluate(tmp_path / "clone", 3, senses=senses)["returns"] for senses in ("", "shuffle"))
    np.testing.assert_allclose(plain, shuffled, rtol=1e-3)
    other = worlds.world(f"gym:foreign/{name}-v0", kwargs={"gravity": 3}, keys=keys)
    assert (
        sensorium.evaluate(tmp_path / "clone", 3, world=described(f"gym:{other.id}", {"kwargs": {"gravity": 3}, "keys": keys}))["returns"]
        != plain
    )


@pytest.mark.slow
@pytest.mark.parametrize("id", [id for id in IDS if not id.startswith("foreign")])
def test_tiny_training_resumes_to_the_bit_and_plays(id, tmp_path):
    """Evolution for vectors, a world model for images: stopped after half of the last stage and continued, equal to an uninterrupted run."""
    made = world(id)
    # Box2D keeps state of earlier episodes
    settings = {"horizon": 40, **({"keys": made.keys} if made.keys else {}), **({"anew": True} if id.startswith("Bipedal") else {})}
    recipe = described(f"{'neurons' if made.spec.kind == 'vector' else 'world-model'}.gym:{id}", settings)
    stages = sensorium.registry.recipe(recipe).stages("tiny")
    last = list(stages)[-1]
    sensorium.train(recipe, "tiny", tmp_path / "whole", on="here", stages=stages)
    half = {**stages, last: replace(stages[last], steps=stages[last].steps // 2)}
    sensorium.train(recipe, "tiny", tmp_path / "halves", on="here", stages=half)
    sensorium.train(recipe, "tiny", tmp_path / "halves", on="here", stages=stages)
    whole, halves = (checkpoint.load(tmp_path / place / f"{len(stages)}-{last}")[1] for place in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    assert all(torch.equal(tensor, halves[key]) for key, tensor in whole.items())
    returns = sensorium.evaluate(tmp_path / "whole", 2, senses="shuffle" if made.spec.kind == "vector" else None)["returns"]
    assert np.isfinite(returns).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["doctor", "--world", "gym:foreign/Walk-v0", "--import", "no_such_module"], "module no_such_module cannot be imported"),
        (["train", "neurons.gym:Nope-v0", "--preset", "tiny"], "no registered Gymnasium environment 'Nope-v0'"),
        (["train", "neurons.gym:foreign/Grey-v0", "--preset", "tiny"], "allowed: worlds with a vector of sensors"),
        (["train", "neurons.gym:foreign/Walk-v0", "--preset", "tiny", "--world.pixel", "3"], "did you mean pixels"),
        (["train", "neurons.gym:foreign/Walk-v0", "--preset", "tiny", "--world.kwargs.gravity"], "needs a value"),
        (["train", "cart-pole", "--preset", "tiny", "--world.horizon", "3"], "--world.horizon is a setting of a named world"),
        (["train", "world-model.pong", "--preset", "tiny"], "allowed: vectors, and images of 64 x 64 x 3"),
        (["train", "world-model.gym:foreign/Walk-v0", "--preset", "tiny", "--data", "nowhere"], "nowhere holds no episodes"),
        (["evaluate", "zoo/cart-pole-mlp", "--world", "gym:foreign/Walk-v0"], "this network has 5 input channels"),
        (["evaluate", "zoo/cart-pole-mlp", "--world", "gym:foreign/Choice-v0", "--world.keys", "last"], "cannot play in"),
        (["evaluate", "zoo/cart-pole-mlp", "--world.horizon", "4"], "give --world NAME"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MODULES, "")
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_import_registers_environments(capsys, monkeypatch, tmp_path):
    """`--import MODULE` imports from the current folder, here and in workers."""
    monkeypatch.setenv(MODULES, "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_walks.py").write_text(
        "import gymnasium\nfrom tests.foreign import Walk\ngymnasium.register('mine/Walk-v0', entry_point='tests.foreign:Walk', max_episode_steps=7)\n"
    )
    arguments = ["neurons.gym:mine/Walk-v0", "--preset", "tiny", "--out", "run", "--import", "my_walks", "--on", "processes:2"]
    assert cli.main(["train", *arguments]) == 0
    assert cli.main(["evaluate", "run", "--import", "my_walks", "--episodes", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["returns"]) == 3


def test_images_as_patches():
    """Patches are cut from Gymnasium's own frames, in grey by Pillow's formula; a teacher sees the vector, the normalised vector or the image."""
    seen = worlds.world("gym:Pendulum-v1", pixels=84, horizon=3)
    made = seen.student
    seeds = row_seeds(0, 2)
    obs, _ = episode(made, seeds)
    frames, _ = episode(seen, seeds)
    assert obs.shape == (4, 2, 196, 4, 36)
    patches = obs[-1].permute(0, 2, 1, 3).reshape(2, 4, 14, 14, 6, 6).transpose(3, 4).reshape(2, 4, 84, 84)
    for row in range(2):
        for t in range(4):
            grey = np.asarray(Image.fromarray(frames[t, row].numpy()).convert("L"), dtype=int)
            # Pillow rounds in another way
            assert np.abs(patches[row, t].numpy() - grey).max() <= 1
    vector = worlds.world("gym:Pendulum-v1", horizon=3)
    normal = Normalised(vector, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    with closing(made) as env, closing(vector) as plain:
        env.reset(seeds)
        plain.reset(seeds)
        action = torch.ones(2, 1)
        env.step(action)
        states = plain.step(action).obs
        assert all(env.views(other) for other in (vector, normal, seen))
        torch.testing.assert_close(env.shown(vector), states)
        torch.testing.assert_close(env.shown(normal), (states - torch.tensor(normal.mean)) / torch.tensor(normal.sd))
        assert env.shown(seen).shape == (2, 84, 84, 3)
        for other in ({"id": "CartPole-v1"}, {"kwargs": '{"g": 5}'}, {"repeat": 2}, {"pixels": 64}):
            assert not env.views(replace(vector, **other))
    assert card.build(card.plain(made)) == made
    assert shortened(made, 2).spec.horizon == 2
    assert vector.student is vector
    assert worlds.world("gym:foreign/Grey-v0").student.world.spec.observation == (84, 84, 3)
    with pytest.raises(Usage, match="background is for car-patches and pong"):
        replace(made, senses="background:dunes")
    with pytest.raises(Usage, match="multiples of 6"):
        GymPatches(replace(seen, pixels=64)).spec  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1"])
def test_a_teacher_on_vectors_is_cloned_into_an_agent_of_patches(id, tmp_path):
    sensorium.train(f"neurons-mlp.gym:{id}", "tiny", tmp_path / "teacher", on="here")
    seen = described(f"gym:{id}", {"pixels": 84})
    sensorium.train("clone", "tiny", tmp_path / "clone", teacher=str(tmp_path / "teacher"), world=seen)
    plain, shuffled, hidden = (
        sensorium.evaluate(tmp_path / "clone", 2, senses=senses)["returns"] for senses in ("", "patches", "occlude:0.5")
    )
    np.testing.assert_allclose(plain, shuffled, rtol=1e-3)
    assert np.isfinite(hidden).all()
