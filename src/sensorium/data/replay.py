"""Replay buffer: single frames in a memory-mapped ring buffer on disk; frame stacks and n-step rewards are assembled when sampling.

Entry e of the ring holds one episode of each of `rows` worlds, [steps + 1, rows, ...], including the last observation. The ring has room
for `capacity` transitions and for the episodes written between two checkpoints, so a run that is killed and resumed from its last
checkpoint finds all its transitions unchanged. Lengths and counters are in the stage's state.
"""

import os
import shutil
import zlib
from collections.abc import Iterator
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
from sensorium.core.rollout import Transition, stream
from sensorium.core.stage import State


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
    """steps per episode"""
    rows: int
    """parallel worlds"""
    between: int
    """episodes written between two checkpoints"""
    shape: tuple[int, ...]
    """shape of one stored observation: a frame [3, height, width] or a state [n]"""
    actions: int
    stack: int = 1
    """frames per observation"""

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
        place = (self.entries, self.steps + 1, self.rows)
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
            "replay/lengths": torch.zeros(self.entries, self.rows, dtype=torch.int64),
            "replay/terminated": torch.zeros(self.entries, self.rows, dtype=torch.bool),
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


class Replay:
    """An open ring buffer: `begin`, `add` each step, `end`; `draw` at any time."""

    def __init__(self, layout: Layout, state: State):
        self.layout, self.state = layout, state
        self.arrays: dict[str, Any] = {name: opened(layout.folder / f"replay-{name}.bin", *how) for name, how in layout.files.items()}
        self.tensors = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        self.flat = {name: tensor.flatten(0, 2) for name, tensor in self.tensors.items()}
        # counters are on the CPU and copied to the state at the end of each episode
        self.written = int(state["replay/written"])
        self.lengths, self.terminated, self.checksums = (
            state[f"replay/{name}"].cpu().numpy().copy() for name in ("lengths", "terminated", "checksums")
        )
        self.check()
        self.entry = -1
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
        """Start an episode, overwriting the oldest entry."""
        self.entry, self.t = self.written % self.layout.entries, 0
        self.lengths[self.entry], self.terminated[self.entry] = 0, False
        self.write("observations", 0, self.latest(obs))
        self.recount()

    def latest(self, obs: Tensor) -> Tensor:
        """The newest frame of a stack."""
        return obs[:, -self.layout.shape[0] :] if self.layout.images else obs

    def write(self, name: str, t: int, value: Tensor) -> None:
        self.tensors[name][self.entry, t] = value.cpu()

    def add(self, action: Tensor, reward: Tensor, obs: Tensor, terminated: Tensor, live: Tensor) -> None:
        """Store one step of all worlds: actions, rewards and the next observations; rows that have ended (not `live`) are not counted."""
        self.write("actions", self.t, action)
        self.write("rewards", self.t, reward)
        self.t += 1
        self.write("observations", self.t, self.latest(obs))
        self.lengths[self.entry] += live.cpu().numpy()
        self.terminated[self.entry] |= terminated.cpu().numpy()
        self.recount()

    def end(self) -> None:
        """Finish the episode of all worlds and flush it to disk."""
        with writing(self.layout.folder):
            for array in self.arrays.values():
                array.flush()
        self.checksums[self.entry] = self.checksum(self.entry)
        self.written, self.entry = self.written + 1, -1
        for name, value in (("lengths", self.lengths), ("terminated", self.terminated), ("checksums", self.checksums)):
            self.state[f"replay/{name}"].copy_(torch.from_numpy(value))
        self.state["replay/written"].fill_(self.written)

    def recount(self) -> None:
        """Update which transitions can be sampled: the first step of each entry, and the number of transitions, the newest `capacity`."""
        layout, lengths = self.layout, self.lengths
        written = self.written + (self.entry >= 0)
        order = [number % layout.entries for number in range(max(0, written - layout.safe), written)]
        played = lengths[order].max(1, initial=0) if order else np.zeros(0, dtype=np.int64)
        # the number of steps of each entry within the newest `capacity`
        newer = np.concatenate([np.cumsum(played[::-1])[::-1][1:], [0]]) if len(order) else played
        room = np.maximum(layout.capacity // layout.rows - newer, 0)
        self.order = np.array(order, dtype=np.int64)
        self.starts = np.maximum(played - room, 0)
        self.size = int(np.maximum(lengths[self.order] - self.starts[:, None], 0).sum())

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        return self.size

    def draw(self, rows: int, n: int, seed: int, device: torch.device | str = "cpu") -> Drawn:
        """Sample `rows` transitions uniformly, with n-step rewards; a function of the seed and the buffer's contents.

        Errors: core.errors.Failure where the replay is empty.
        """
        layout = self.layout
        lengths, terminated = self.lengths[self.order], self.terminated[self.order]
        # the last n - 1 steps of a truncated episode lack n rewards; after termination all rewards are 0
        counts = np.maximum(np.where(terminated, lengths, lengths - n + 1) - self.starts[:, None], 0)
        edges = np.cumsum(counts.ravel())
        if not len(edges) or not edges[-1]:
            raise Failure("cannot sample from an empty replay")
        drawn = np.random.Generator(np.random.Philox(seed)).integers(edges[-1], size=rows)
        place = np.searchsorted(edges, drawn, side="right")
        which, row = np.divmod(place, layout.rows)
        t = drawn - np.concatenate([[0], edges])[place] + self.starts[which]
        return self.gather(self.order[which], t, row, lengths[which, row], terminated[which, row], n, device)

    def gather(
        self, entry: np.ndarray, t: np.ndarray, row: np.ndarray, length: np.ndarray, ended: np.ndarray, n: int, device: torch.device | str
    ) -> Drawn:
        """The transitions at the given entries, steps and rows."""
        layout = self.layout

        def at(name: str, when: np.ndarray) -> Tensor:
            index = (entry[:, None] * (layout.steps + 1) + when) * layout.rows + row[:, None]
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


def collect(env: Env, policy: Policy, seeds: Int[Tensor, "rows"], replay: Replay, count: Tensor) -> Iterator[Transition]:
    """Play one episode per row, store each step in the replay and yield it. `count`, the total number of agent steps, grows in place."""
    for transition in stream(env, policy, seeds):
        if transition.t == 0:
            replay.begin(transition.obs)
        step = transition.step
        replay.add(transition.action, step.reward, step.obs, step.terminated, transition.live)
        count += int(transition.live.sum())
        yield transition
    replay.end()
