"""World models from recorded episodes: Minari datasets and NPZ folders, converted as by hand; nothing in them is run."""

import json
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest

import sensorium
from sensorium import cli
from sensorium.core import checkpoint
from sensorium.core.errors import Failure, Usage
from sensorium.data import offline
from sensorium.data.episodes import Episodes
from sensorium.envs.gymnasium import Gymnasium
from tests import foreign  # noqa: F401  registers environments

minari = pytest.importorskip("minari")


def stacked(space, observations):
    """Observations as Minari's buffers hold them: arrays, or a dict of arrays; texts are left as a list."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: stacked(inner, [obs[key] for obs in observations]) for key, inner in space.spaces.items()}
    return observations if isinstance(space, gymnasium.spaces.Text) else np.stack(observations)


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    """A folder of Minari datasets, with one of four episodes each of Pendulum and of the tests' Choice."""
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    for id, name in (("Pendulum-v1", "test/pendulum-v0"), ("foreign/Choice-v0", "test/choice-v0")):
        env, buffers = gymnasium.make(id, max_episode_steps=20), []
        env.action_space.seed(3)
        for number in range(4):
            seen, actions, rewards, ends = [env.reset(seed=number)[0]], [], [], [(False, False)]
            while not any(ends[-1]):
                actions.append(env.action_space.sample())
                obs, reward, terminated, truncated, _ = env.step(actions[-1])
                seen.append(obs)
                rewards.append(float(reward))
                ends.append((bool(terminated), bool(truncated)))
            over, cut = zip(*ends[1:], strict=True)
            buffers.append(
                EpisodeBuffer(
                    observations=stacked(env.observation_space, seen),
                    actions=actions,
                    rewards=rewards,
                    terminations=list(over),
                    truncations=list(cut),
                )
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            minari.create_dataset_from_buffers(name, buffers, env=env, data_format="hdf5", algorithm_name="random", description="random")
        env.close()
    return tmp_path / "minari"


def test_minari_episodes_are_converted_as_by_hand(datasets):
    pendulum = offline.episodes("minari:test/pendulum-v0", Gymnasium("Pendulum-v1"), range(1, 3))
    for mine, theirs in zip(pendulum, minari.load_dataset("test/pendulum-v0").iterate_episodes([1, 2]), strict=True):
        np.testing.assert_array_equal(mine.frames, theirs.observations[:-1].astype(np.float32))
        # torques in [-2, 2]
        np.testing.assert_allclose(mine.actions, theirs.actions / 2, rtol=1e-6)
        np.testing.assert_allclose(mine.rewards, theirs.rewards, rtol=1e-6)
        assert not mine.terminated
    choice = offline.episodes("minari:test/choice-v0", Gymnasium("foreign/Choice-v0", keys=("last", "where")), range(4))
    for mine, theirs in zip(choice, minari.load_dataset("test/choice-v0").iterate_episodes(), strict=True):
        last = np.eye(3)[theirs.observations["last"][:-1]]
        np.testing.assert_allclose(mine.frames, np.concatenate([last, theirs.observations["where"][:-1]], 1), rtol=1e-6)
        assert mine.actions.argmax(1).tolist() == (theirs.actions - 5).tolist()


def test_a_world_model_from_a_dataset(datasets, tmp_path):
    sensorium.train("world-model.gym:Pendulum-v1", "tiny", tmp_path / "run", on="here", data="minari:test/pendulum-v0")
    collected = Episodes(sorted((tmp_path / "run" / "1-collect").glob("shard-*.npz")))
    assert len(collected) == 4
    assert checkpoint.step_of(tmp_path / "run" / "1-collect") == 2
    assert np.isfinite(sensorium.evaluate(tmp_path / "run", 2, world="dream")["returns"]).all()
    # the dataset is not needed again, and a damaged shard is copied again from it
    shard = next((tmp_path / "run" / "1-collect").glob("shard-00001*"))
    kept = shard.read_bytes()
    shard.write_bytes(kept[:-10])
    from sensorium.systems.world_models.stages.collect import whole

    assert whole(str(tmp_path / "run" / "1-collect"))[0].read_bytes() == kept


def test_a_folder_of_episodes(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        np.savez(
            data / f"{number}.npz",
            observations=random.normal(size=(9, 2)),
            actions=random.uniform(-2, 6, (8, 1)),
            rewards=np.arange(8.0),
            terminated=number == 1,
        )
    found = offline.episodes(str(data), Gymnasium("foreign/Walk-v0"), range(5))
    assert [episode.terminated for episode in found] == [False, True, False, False, False]
    np.testing.assert_allclose(found[2].actions, (np.load(data / "2.npz")["actions"] - 2) / 4, rtol=1e-5)
    # the card has a relative path, as all cards
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "world-model.gym:foreign/Walk-v0", "--preset", "tiny", "--data", "data", "--out", "run"]) == 0
    assert json.loads((tmp_path / "run" / "1-collect" / "card.json").read_text())["stage"]["data"] == "../../data"


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (
            {"observations": np.zeros((5, 3)), "actions": np.zeros((4, 1)), "rewards": np.zeros(4), "terminated": True},
            Usage,
            "episode 0 of",
        ),
        ({"observations": np.zeros((5, 2)), "actions": np.zeros((4, 2)), "rewards": np.zeros(4), "terminated": True}, Usage, "(1,)"),
        (
            {"observations": np.full((5, 2), np.nan), "actions": np.zeros((4, 1)), "rewards": np.zeros(4), "terminated": True},
            Failure,
            "not finite",
        ),
        ({"observations": np.zeros((5, 2))}, Failure, "it needs the arrays"),
        ({"observations": np.array([object()]), "actions": 0, "rewards": 0, "terminated": 0}, Failure, "is no episode"),
    ],
)
def test_bad_episodes_are_one_sentence(arrays, error, message, tmp_path):
    np.savez(tmp_path / "0.npz", **arrays)
    with pytest.raises(error) as found:
        offline.episodes(str(tmp_path), Gymnasium("foreign/Walk-v0"), range(1))
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_missing_data_is_one_sentence(datasets, tmp_path):
    with pytest.raises(Usage, match="no Minari dataset 'test/nothing-v0'"):
        offline.count("minari:test/nothing-v0")
    with pytest.raises(Usage, match="holds no episodes"):
        offline.count(str(tmp_path / "nowhere"))
    with pytest.raises(Usage, match="renders its images"):
        offline.episodes("minari:test/pendulum-v0", Gymnasium("Pendulum-v1", pixels=64), range(1))


def test_a_dataset_cannot_run_code(datasets, tmp_path):
    """A stranger's dataset names an environment whose entry point would import a module; it is neither imported nor made."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    metadata = datasets / "test" / "pendulum-v0" / "data" / "metadata.json"
    if not metadata.exists():
        import h5py

        with h5py.File(datasets / "test" / "pendulum-v0" / "data" / "main_data.hdf5", "r+") as file:
            spec = json.loads(file.attrs["env_spec"])
            file.attrs["env_spec"] = json.dumps({**spec, "entry_point": "evil:Env", "id": "evil:Evil-v0"})
    else:
        facts = json.loads(metadata.read_text())
        spec = json.loads(facts["env_spec"])
        metadata.write_text(json.dumps({**facts, "env_spec": json.dumps({**spec, "entry_point": "evil:Env", "id": "evil:Evil-v0"})}))
    program = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from sensorium.core.errors import Failure
from sensorium.data import offline
from sensorium.envs.gymnasium import Gymnasium
try:
    print(len(offline.episodes("minari:test/pendulum-v0", Gymnasium("Pendulum-v1"), range(2))))
except Failure as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
    assert not (tmp_path / "ran").exists()
