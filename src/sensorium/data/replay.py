"""Replay buffer: single frames in a memory-mapped ring buffer on disk; frame stacks and n-step rewards are assembled when sampling.

Entry e of the ring holds one episode of each of `rows` worlds, [steps + 1, rows, ...], including the last observation. Where episodes end
early, an entry can be packed: it holds several episodes of each world one after another, up to `steps` transitions. The ring has room
for `capacity` transitions and for the entries written between two checkpoints, so a run that is killed and resumed from its last
checkpoint finds all its transitions unchanged. Lengths and counters are in the stage's state.
"""

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.core.checkpoint import writing
from sensorium.core.env import Env
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Policy
from sensorium.core.rollout import Transition, episodes
from sensorium.core.stage import State

SPARE = 8
"""a packed entry has one additional slot per SPARE transitions: each episode takes a slot for its last observation"""


class Drawn(NamedTuple):
    """Sampled transitions, one per row."""

    obs: Tensor
    """[rows, ...]: observations, frames stacked along the channel axis, oldest first"""
    action: Float[Tensor, "rows a"]
    rewards: Float[Tensor, "rows n"]
    """rewards of this step and the n - 1 following ones"""
    terminated: Bool[Tensor, "rows n"]
    following: Tensor
    """observations one step later"""
    next_obs: Tensor
    """observations n steps later, or at the end of the episode"""


@dataclass(frozen=True)
class Layout:
    """Sizes of a ring buffer on disk."""

    folder: Path
    capacity: int
    """number of newest transitions that can be sampled"""
    steps: int
    """transitions of each world in an entry; steps per episode of full length"""
    rows: int
    """parallel worlds"""
    between: int
    """entries written between two checkpoints"""
    shape: tuple[int, ...]
    """shape of one stored observation: a frame [3, height, width] or a state [n]"""
    actions: int
    stack: int = 1
    """frames per observation"""
    packed: bool = False
    """whether an entry can hold several episodes of each world"""

    @property
    def slots(self) -> int:
        """Observations of each world in an entry."""
        return self.steps + 2 + self.steps // SPARE if self.packed else self.steps + 1

    @property
    def episodes(self) -> int:
        """Largest number of episodes of each world in an entry; an episode has at least two observations."""
        return self.slots // 2 if self.packed else 1

    @property
    def images(self) -> bool:
        return len(self.shape) == 3

    @property
    def entries(self) -> int:
        return -(-self.capacity // (self.steps * self.rows)) + self.between + 1

    @property
    def safe(self) -> int:
        """Number of newest entries, including the current one, that a run killed after its last checkpoint cannot have overwritten."""
        return self.entries - self.between

    @property
    def files(self) -> dict[str, tuple[type, tuple[int, ...]]]:
        """Type and shape of each file's array."""
        place = (self.entries, self.slots, self.rows)
        dtype = np.uint8 if self.images else np.float32
        return {
            "observations": (dtype, (*place, *self.shape)),
            "actions": (np.float32, (*place, self.actions)),
            "rewards": (np.float32, place),
        }

    @property
    def bytes(self) -> int:
        return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in self.files.values())

    def init(self) -> State:
        """The state of an empty replay."""
        return {
            "replay/written": torch.zeros((), dtype=torch.int64),
            "replay/lengths": torch.zeros(self.entries, self.episodes * self.rows, dtype=torch.int64),
            "replay/terminated": torch.zeros(self.entries, self.episodes * self.rows, dtype=torch.bool),
            "replay/checksums": torch.zeros(self.entries, dtype=torch.int64),
        }

    def open(self, state: State) -> "Replay":
        return Replay(self, state)


def opened(path: Path, kind: type, shape: tuple[int, ...]) -> np.ndarray:
    """A file as a memory-mapped array, fully allocated so that later writes cannot fail on a full disk.

    Errors: core.errors.Usage where the disk is too small.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    there = path.stat().st_size if path.exists() else 0
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if size - there > free:
            raise Usage(
                f"replay needs {size / 1e9:.1f} GB in {path.parent}, where {free / 1e9:.1f} GB are free; another --out, or a smaller capacity"
            )
        with open(path, "ab") as file:
            if there < size:
                os.posix_fallocate(file.fileno(), 0, size) if hasattr(os, "posix_fallocate") else os.truncate(file.fileno(), size)
        return np.memmap(path, dtype=kind, mode="r+", shape=shape)


class Segments(NamedTuple):
    """Stored episodes, ordered by entry, number within the entry, and row."""

    number: np.ndarray
    """number of the entry, counted from the beginning of the run"""
    row: np.ndarray
    start: np.ndarray
    """slot of the first observation"""
    before: np.ndarray
    """transitions of the same row and entry before the episode"""
    length: np.ndarray
    terminated: np.ndarray


class Replay:
    """An open ring buffer: `begin` each episode, `add` each step, `end` an entry; `draw` at any time."""

    def __init__(self, layout: Layout, state: State):
        self.layout, self.state = layout, state
        self.arrays: dict[str, Any] = {name: opened(layout.folder / f"replay-{name}.bin", *how) for name, how in layout.files.items()}
        self.tensors = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        self.flat = {name: tensor.flatten(0, 2) for name, tensor in self.tensors.items()}
        # counters are on the CPU and copied to the state at the end of each entry; lengths are [entries, episodes, rows]
        self.written = int(state["replay/written"])
        shape = (layout.entries, layout.episodes, layout.rows)
        self.lengths, self.terminated = (state[f"replay/{name}"].cpu().numpy().copy().reshape(shape) for name in ("lengths", "terminated"))
        self.checksums = state["replay/checksums"].cpu().numpy().copy()
        self.check()
        self.entry = -1
        self.finished = self.segments(max(0, self.written - layout.safe), self.written)
        self.recount()

    def check(self) -> None:
        """Verify the checksums of the stored entries. Errors: core.errors.Failure where one is damaged."""
        for number in range(max(0, self.written - self.layout.safe + 1), self.written):
            entry = number % self.layout.entries
            if self.checksum(entry) != self.checksums[entry]:
                raise Failure(
                    f"{self.layout.folder}/replay-*.bin is damaged (episode {number + 1}); delete the folder to restart this stage"
                )

    def checksum(self, entry: int) -> int:
        value = 0
        for array in self.arrays.values():
            value = zlib.crc32(np.ascontiguousarray(array[entry]).data, value)
        return value

    def begin(self, obs: Tensor) -> None:
        """Start an episode: in a new entry, which overwrites the oldest, or after the last one in a packed entry that has not ended."""
        rows, layout = self.layout.rows, self.layout
        if self.entry < 0 or not layout.packed:
            self.entry, self.episode = self.written % layout.entries, 0
            self.lengths[self.entry], self.terminated[self.entry] = 0, False
            self.start, self.total = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
            self.finished = self.segments(max(0, self.written + 1 - layout.safe), self.written)
        else:
            length = self.lengths[self.entry, self.episode]
            self.start, self.total, self.episode = self.start + length + (length > 0), self.total + length, self.episode + 1
        self.t = 0
        self.write("observations", self.latest(obs))
        self.recount()

    def room(self) -> Bool[Tensor, "rows"]:
        """Which worlds can add a further step to the current entry."""
        layout, length = self.layout, self.lengths[self.entry, self.episode]
        # a packed entry keeps one slot more free, so that also a new episode has two
        slots = self.start + length + 2 + layout.packed <= layout.slots
        return torch.from_numpy((self.total + length < layout.steps) & slots)

    def latest(self, obs: Tensor) -> Tensor:
        """The newest frame of a stack."""
        return obs[:, -self.layout.shape[0] :] if self.layout.images else obs

    def write(self, name: str, value: Tensor) -> None:
        """Store a value of each world at step t of its episode, where the entry has a slot for it."""
        slot = self.start + self.t
        rows = np.flatnonzero(slot < self.layout.slots)
        self.arrays[name][self.entry, slot[rows], rows] = value.cpu().numpy()[rows]

    def add(self, action: Tensor, reward: Tensor, obs: Tensor, terminated: Tensor, live: Tensor) -> None:
        """Store one step of all worlds: actions, rewards and the next observations; rows that have ended (not `live`) are not counted."""
        self.write("actions", action)
        self.write("rewards", reward)
        self.t += 1
        self.write("observations", self.latest(obs))
        self.lengths[self.entry, self.episode] += live.cpu().numpy()
        self.terminated[self.entry, self.episode] |= (terminated & live).cpu().numpy()
        self.recount()

    def end(self) -> None:
        """Finish the entry and flush it to disk."""
        with writing(self.layout.folder):
            for array in self.arrays.values():
                array.flush()
        self.checksums[self.entry] = self.checksum(self.entry)
        self.written, self.entry = self.written + 1, -1
        for name, value in (("lengths", self.lengths), ("terminated", self.terminated), ("checksums", self.checksums)):
            self.state[f"replay/{name}"].copy_(torch.from_numpy(value).view(self.state[f"replay/{name}"].shape))
        self.state["replay/written"].fill_(self.written)
        self.finished = self.segments(max(0, self.written - self.layout.safe), self.written)

    def segments(self, first: int, last: int) -> Segments:
        """The episodes of the entries with numbers from `first` to `last` - 1."""
        order = np.arange(first, last) % self.layout.entries
        lengths = self.lengths[order]
        before = lengths.cumsum(1) - lengths
        start = before + (lengths > 0).cumsum(1) - (lengths > 0)
        which, _, row = found = np.nonzero(lengths)
        return Segments(first + which, row, start[found], before[found], lengths[found], self.terminated[order][found])

    def recount(self) -> None:
        """Update which transitions can be sampled: the stored episodes and their steps that are not among the newest `capacity`."""
        layout, found = self.layout, self.finished
        if self.entry >= 0:
            current = self.segments(self.written, self.written + 1)
            found = Segments(*(np.concatenate(parts) for parts in zip(found, current, strict=True)))
        # the number of steps of each entry, and those of newer entries
        first = int(found.number[0]) if len(found.number) else 0
        played = np.zeros(int(found.number[-1]) - first + 1 if len(found.number) else 0, dtype=np.int64)
        np.maximum.at(played, found.number - first, found.before + found.length)
        newer = np.cumsum(played[::-1])[::-1] - played
        old = np.maximum(played - np.maximum(layout.capacity // layout.rows - newer, 0), 0)
        self.found, self.skipped = found, np.clip(old[found.number - first] - found.before, 0, found.length)
        self.size = int((found.length - self.skipped).sum())

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        return self.size

    def draw(self, rows: int, n: int, seed: int, device: torch.device | str = "cpu") -> Drawn:
        """Sample `rows` transitions uniformly, with n-step rewards; a function of the seed and the buffer's contents.

        Errors: core.errors.Failure where the replay is empty.
        """
        found = self.found
        # the last n - 1 steps of a truncated episode lack n rewards; after termination all rewards are 0
        counts = np.maximum(np.where(found.terminated, found.length, found.length - n + 1) - self.skipped, 0)
        edges = np.cumsum(counts)
        if not len(edges) or not edges[-1]:
            raise Failure("cannot sample from an empty replay")
        drawn = np.random.Generator(np.random.Philox(seed)).integers(edges[-1], size=rows)
        which = np.searchsorted(edges, drawn, side="right")
        t = drawn - np.concatenate([[0], edges])[which] + self.skipped[which]
        return self.gather(Segments(*(part[which] for part in found)), t, n, device)

    def gather(self, episode: Segments, t: np.ndarray, n: int, device: torch.device | str) -> Drawn:
        """The transitions at steps t of the given episodes."""
        layout, length, ended = self.layout, episode.length, episode.terminated
        first = (episode.number % layout.entries) * layout.slots + episode.start

        def at(name: str, when: np.ndarray) -> Tensor:
            index = (first[:, None] + when) * layout.rows + episode.row[:, None]
            return self.flat[name].index_select(0, torch.from_numpy(index.ravel())).view(len(t), -1, *self.flat[name].shape[1:])

        past = np.arange(1 - layout.stack, 1)
        ahead = np.minimum(t[:, None] + np.arange(n), length[:, None] - 1)
        after = np.minimum(t + n, length)
        beyond = t[:, None] + np.arange(n) >= length[:, None]
        if n == 1:
            # the stacks of consecutive steps share all frames but one
            frames = at("observations", np.maximum(t[:, None] + np.arange(1 - layout.stack, 2), 0))
            obs, following = frames[:, :-1], frames[:, 1:]
            then = following
        else:
            obs = at("observations", np.maximum(t[:, None] + past, 0))
            following = at("observations", np.maximum(t[:, None] + 1 + past, 0))
            then = at("observations", np.maximum(after[:, None] + past, 0))
        rewards = at("rewards", ahead).masked_fill(torch.from_numpy(beyond), 0.0)
        last = (ahead == length[:, None] - 1) & ended[:, None]
        flat = (lambda part: part.flatten(1, 2)) if layout.images else (lambda part: part[:, -1])
        later = flat(following).to(device)
        action = at("actions", t[:, None])[:, 0]
        return Drawn(
            flat(obs).to(device),
            action.to(device),
            rewards.to(device),
            torch.from_numpy(last).to(device),
            later,
            later if n == 1 else flat(then).to(device),
        )

    def close(self) -> None:
        with writing(self.layout.folder):
            for array in self.arrays.values():
                array.flush()


def collect(
    env: Env, policy: Callable[[], Policy], seeds: Int[Tensor, "rows"], replay: Replay, count: Tensor
) -> Iterator[Transition]:  # fmt: skip
    """Play the episodes of one entry, store each step in the replay and yield it. `count`, the total number of agent steps, grows in place.

    `policy` is called before each episode. Without packing there is one episode per row.
    """
    for transition in episodes(env, policy, seeds, lambda: replay.room().to(seeds.device), replay.layout.episodes):
        step = transition.step
        if transition.t == 0:
            replay.begin(transition.obs)
        transition = transition._replace(live=transition.live & replay.room().to(seeds.device))
        replay.add(transition.action, step.reward, step.obs, step.terminated, transition.live)
        count += int(transition.live.sum())
        yield transition
    replay.end()
