"""Episodes on disk: lossless, verified, repaired, and read in an order that is a function of the seed."""

from pathlib import Path

import numpy as np
import pytest

from sensorium import registry
from sensorium.core.errors import Failure, Usage
from sensorium.core.run import run
from sensorium.data import episodes as disk
from sensorium.data.episodes import Episode, Episodes, Shuffled
from sensorium.data.minari import export
from sensorium.data.recording import Recorded, manifest


def made(length: int, seed: int, terminated: bool = False) -> Episode:
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (length, 64, 64, 3), dtype=np.uint8)
    frames[:, 0, 0] = [[seed, t, 0] for t in range(length)]  # which frame it is
    return Episode(frames, random.normal(size=(length, 2)).astype(np.float32), random.normal(size=length).astype(np.float32), terminated)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    disk.write(tmp_path, 1, [made(5, 1), made(3, 2, True)])
    disk.write(tmp_path, 2, [made(4, 3)])
    return tmp_path


def test_episodes_are_read_as_written(folder: Path):
    found = Episodes(sorted(folder.glob("shard-*")))
    assert found.lengths.tolist() == [5, 3, 4]
    for number, seed, terminated in ((0, 1, False), (1, 2, True), (2, 3, False)):
        mine, other = found[number], made(len(found[number]), seed, terminated)
        assert np.array_equal(mine.frames, other.frames)
        assert np.array_equal(mine.actions, other.actions)
        assert np.array_equal(mine.rewards, other.rewards)
        assert mine.terminated == terminated


def test_numpy_opens_a_shard_without_pickles(folder: Path):
    with np.load(next(folder.glob("shard-00002*")), allow_pickle=False) as file:
        assert file["frames-000"].shape == (4, 64, 64, 3)


def test_bytes_are_a_function_of_the_episodes():
    assert disk.pack([made(5, 1)]) == disk.pack([made(5, 1)])


def test_rewriting_replaces_the_shard(folder: Path):
    disk.write(folder, 2, [made(6, 9)])
    assert Episodes(sorted(folder.glob("shard-*"))).lengths.tolist() == [5, 3, 6]


def test_damaged_shards_are_reported_and_repaired_and_others_unchanged(folder: Path, capsys):
    good, bad = sorted(folder.glob("shard-*"))
    whole = good.stat().st_mtime_ns
    data = bytearray(bad.read_bytes())
    data[len(data) // 2] ^= 1
    bad.write_bytes(data)
    redone = []

    def again(number: int) -> Recorded:
        redone.append(number)
        return {"episodes": 1.0, "frames": 4.0}, disk.write(folder, number, [made(4, number + 1)]).name

    disk.repair(folder, 3, again)
    assert redone == [2, 3]  # one damaged, one missing
    message = capsys.readouterr().err
    assert "shard-00002" in message
    assert "checksum" in message
    assert "shard-00003: missing" in message
    assert good.stat().st_mtime_ns == whole
    assert disk.damaged(folder, 3) == []
    # the manifest names the repaired shards, and a shard with other contents is not the recorded one
    assert [row["step"] for row in manifest(folder).values()] == [2, 3]
    disk.write(folder, 3, [made(9, 1)])
    assert [number for number, _ in disk.damaged(folder, 3)] == [3]


def test_reading_a_damaged_shard_is_a_failure(folder: Path):
    bad = next(folder.glob("shard-00001*"))
    data = bytearray(bad.read_bytes())
    data[200:260] = bytes(60)
    bad.write_bytes(data)
    with pytest.raises(Failure, match="shard-00001"):
        Episodes(sorted(folder.glob("shard-*")))[0]


def names(frames) -> list[tuple[int, int]]:
    return [(int(frame[0, 0, 0]), int(frame[0, 0, 1])) for frame in frames]


def test_an_epoch_contains_every_episode_once(folder: Path):
    reader = Shuffled(Episodes(sorted(folder.glob("shard-*"))), 1, 2)
    seen = {names(reader.take(number, 7))[0][0] for number in range(3)}
    again = {names(reader.take(number, 7))[0][0] for number in range(3, 6)}
    assert seen == again == {1, 2, 3}
    reader.close()


def test_a_group_repeats_no_frame_and_is_a_function_of_the_seed(folder: Path):
    reader, other = (Shuffled(Episodes(sorted(folder.glob("shard-*"))), 3, 12) for _ in range(2))
    frames = reader.take(0, 7)
    assert sorted(names(frames)) == [(1, t) for t in range(5)] + [(2, t) for t in range(3)] + [(3, t) for t in range(4)]
    reader.take(1, 7)
    other_first = other.take(5, 7)  # whatever was read before
    assert names(other.take(0, 7)) == names(frames)
    assert names(reader.take(5, 7)) == names(other_first)
    assert names(other.take(0, 8)) != names(frames)
    for one in (reader, other):
        one.close()


def test_more_frames_than_available_are_repeated(folder: Path):
    reader = Shuffled(Episodes(sorted(folder.glob("shard-*"))), 3, 30)
    counts = {name: names(reader.take(0, 1)).count(name) for name in set(names(reader.take(0, 1)))}
    assert set(counts.values()) <= {2, 3}
    assert len(counts) == 12
    reader.close()


def test_reading_a_damaged_collection_collects_it_again(tmp_path: Path, capsys):
    stages = registry.recipe("car-racing").stages("tiny")
    run(stages["collect"], tmp_path / "1-collect", 3, last=False)
    before = {path.name: path.read_bytes() for path in (tmp_path / "1-collect").glob("shard-*")}
    damaged = sorted(before)[0]
    (tmp_path / "1-collect" / damaged).write_bytes(b"nothing")
    run(stages["vision"], tmp_path / "2-vision", 3, last=False)
    assert damaged in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "1-collect").glob("shard-*")} == before


def test_minari_reads_the_exported_episodes(tmp_path: Path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    run(registry.recipe("car-racing").stages("tiny")["collect"], tmp_path / "run" / "1-collect", 3, last=False)
    name = export(tmp_path / "run", tmp_path / "sets")
    found, ours = minari.load_dataset(name), Episodes(sorted((tmp_path / "run" / "1-collect").glob("shard-*")))
    assert len(found) == len(ours)
    for theirs, episode in zip(found, (ours[i] for i in range(len(ours))), strict=True):
        assert np.array_equal(theirs.observations[:-1], episode.frames)
        assert np.array_equal(theirs.actions, episode.actions)
        assert np.array_equal(theirs.rewards, episode.rewards)
        assert (theirs.terminations[-1], theirs.truncations[-1]) == (episode.terminated, not episode.terminated)
        assert not (theirs.terminations | theirs.truncations)[:-1].any()
    with pytest.raises(Usage, match="exists; use another --out"):
        export(tmp_path / "run", tmp_path / "sets")


def test_folders_without_episodes_are_usage_errors(tmp_path: Path):
    pytest.importorskip("minari")
    with pytest.raises(Usage, match="no folder"):
        export(tmp_path / "nowhere", tmp_path / "sets")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Usage, match="no recorded episodes"):
        export(tmp_path / "empty", tmp_path / "sets")
