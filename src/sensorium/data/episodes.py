"""Episodes on disk: lossless, compressed, with checksums, in shards.

A shard is an `.npz` file that `numpy.load` opens. For episode i it holds `frames-i` uint8 [steps, 64, 64, 3] (the observation before each
action), `actions-i` float32 [steps, n], `rewards-i` float32 [steps], `terminated-i` (whether the last step terminated the episode) and,
with a teacher, its actions `advice-i` float32 [steps, n]; also `lengths`. Frames may have another shape and type. The file name has the
shard's number and the first 16 digits of its SHA-256.
"""

import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.errors import Failure, Usage
from sensorium.core.seeding import Seeds, name_hash
from sensorium.core.stage import NOWHERE, Extending
from sensorium.data.recording import Recorded, enter, manifest


@dataclass(frozen=True)
class Episode:
    """One episode: the frame before each action, actions, rewards, and whether its last step terminated it."""

    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    teacher_actions: np.ndarray | None = None
    """the teacher's actions for the same frames"""

    def __len__(self) -> int:
        return len(self.rewards)


def pack(episodes: list[Episode]) -> bytes:
    """The bytes of a shard, a function of the episodes."""
    arrays = {"lengths": np.array([len(episode) for episode in episodes])}
    for i, episode in enumerate(episodes):
        arrays |= {
            f"frames-{i:03d}": episode.frames, f"actions-{i:03d}": episode.actions.astype(np.float32),
            f"rewards-{i:03d}": episode.rewards.astype(np.float32), f"terminated-{i:03d}": np.array(episode.terminated),
        }  # fmt: skip
        if episode.teacher_actions is not None:
            arrays[f"advice-{i:03d}"] = episode.teacher_actions.astype(np.float32)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            # a fixed date, so that the bytes depend only on the episodes
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, buffer.getvalue(), compresslevel=1)
    return out.getvalue()


def write(folder: Path, number: int, episodes: list[Episode]) -> Path:
    """Write a shard atomically and delete any older shard with its number; returns its path."""
    data = pack(episodes)
    path = folder / f"shard-{number:05d}.{hashlib.sha256(data).hexdigest()[:16]}.npz"
    with checkpoint.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write(path, data)
        for old in folder.glob(f"shard-{number:05d}.*.npz"):
            if old != path:
                old.unlink(missing_ok=True)
    return path


def damaged(folder: Path, shards: int) -> list[tuple[int, str]]:
    """The missing or damaged shards among 1 to `shards`, and those that are not in the manifest, as (number, message)."""
    paths = {int(path.name[6:11]): path for path in folder.glob("shard-*.npz")}
    found, entered = [], manifest(folder)
    for number in range(1, shards + 1):
        path = paths.get(number)
        if path is None:
            found.append((number, f"{folder}/shard-{number:05d}: missing"))
            continue
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(path.name[12:28]) or entered.get(number, {"file": path.name})["file"] != path.name:
            found.append((number, f"{path}: wrong checksum"))
    return found


class Episodes:
    """The episodes of some shards, indexed in order of collection and decompressed on access."""

    def __init__(self, paths: list[Path]):
        self.places: list[tuple[Path, int]] = []
        lengths: list[int] = []
        for path in paths:
            inside = read(path, "lengths")
            self.places += [(path, i) for i in range(len(inside))]
            lengths += inside.tolist()
        self.lengths = np.array(lengths)

    def __len__(self) -> int:
        return len(self.places)

    def frames(self, number: int) -> Shaped[np.ndarray, "steps ..."]:
        path, i = self.places[number]
        return read(path, f"frames-{i:03d}")

    def __getitem__(self, number: int) -> Episode:
        path, i = self.places[number]
        parts = [read(path, f"{name}-{i:03d}") for name in ("frames", "actions", "rewards", "terminated")]
        return Episode(parts[0], parts[1], parts[2], bool(parts[3]))


def read(path: Path, name: str) -> np.ndarray:
    """One array of a shard; checks the archive's CRC-32. Errors: core.errors.Failure where the shard is damaged."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return file[name]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise Failure(f"{path} is damaged ({error}); run the same command again to collect its episodes again") from None


class Shuffled:
    """Frames in random order. Groups of episodes are drawn without replacement; one group is in memory at a time.

    Group n is a function of a seed and n. A thread decompresses the next group in the background.
    """

    def __init__(self, episodes: Episodes, group: int, frames: int):
        self.episodes, self.group, self.count = episodes, min(group, len(episodes)), frames
        self.thread = ThreadPoolExecutor(1)
        self.ahead: dict[int, Future[Tensor]] = {}

    def members(self, number: int, seed: int) -> list[int]:
        """The episodes of group `number`: consecutive slices of one permutation per epoch."""
        total = len(self.episodes)
        places = [number * self.group + i for i in range(self.group)]
        orders = {
            epoch: np.random.Generator(np.random.Philox(name_hash(seed, "order", epoch))).permutation(total)
            for epoch in {p // total for p in places}
        }
        return [int(orders[p // total][p % total]) for p in places]

    def load(self, number: int, seed: int) -> UInt8[Tensor, "frames 64 64 3"]:
        held = torch.from_numpy(np.concatenate([self.episodes.frames(i) for i in self.members(number, seed)]))
        random = np.random.Generator(np.random.Philox(name_hash(seed, "frames", number)))
        rounds = -(-self.count // len(held))
        picked = np.concatenate([random.permutation(len(held)) for _ in range(rounds)])[: self.count]
        return held[torch.from_numpy(picked)]

    def take(self, number: int, seed: int) -> UInt8[Tensor, "frames 64 64 3"]:
        """`frames` frames of group `number`, without repetition as long as the group has enough."""
        found = self.ahead.pop(number, None) or self.thread.submit(self.load, number, seed)
        result = found.result()
        self.ahead = {number + 1: self.thread.submit(self.load, number + 1, seed)}
        return result

    def close(self) -> None:
        self.thread.shutdown(cancel_futures=True)


def repair(folder: Path, shards: int, redo: Callable[[int], Recorded]) -> None:
    """Report each missing or damaged shard and collect it again by `redo`."""
    for number, what in damaged(folder, shards):
        print(f"sensorium: {what}; collecting its episodes again", file=sys.stderr)
        for old in folder.glob(f"shard-{number:05d}.*"):
            os.unlink(old)
        metrics, name = redo(number)
        enter(folder, number, name, metrics)


def verified_shards(folder: str, kind: type, shard: Callable[[Any, Seeds], Recorded]) -> list[Path]:
    """The shards of a finished stage of type `kind` and of its `earlier` stages, verified; damaged ones are collected again by `shard`.

    Errors: core.errors.Usage for a stage of another type, core.errors.Failure where there are no episodes.
    """
    place = Path(folder)
    card, stage = checkpoint.cards.read(place), checkpoint.placed(checkpoint.stage(place), place)
    name = place.name.partition("-")[2] or place.name
    if not isinstance(stage, kind):
        raise Usage(f"{place} holds no recorded episodes of this type")
    repair(place, checkpoint.step_of(place) or 0, lambda number: shard(stage, Seeds(card["seed"], name, number)))
    earlier = stage.earlier if isinstance(stage, Extending) else NOWHERE
    found = [*(verified_shards(earlier, kind, shard) if earlier else []), *sorted(place.glob("shard-*.npz"))]
    if not found:
        raise Failure(f"{place} holds no episodes")
    return found
