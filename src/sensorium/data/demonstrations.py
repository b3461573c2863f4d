"""Demonstrations: recorded episodes with a teacher's actions, in memory, from which windows are drawn."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.core.checkpoint import writing
from sensorium.core.errors import Usage
from sensorium.data.episodes import Episodes, read

MEMORY = 6e9
"""bytes of frames above which they lie in a memory-mapped file instead, which goes with the process"""


class Window(NamedTuple):
    """Some steps of some episodes, time first."""

    obs: Tensor
    """[steps, rows, ...]: what was seen, of pictures the last few"""
    before: Float[Tensor, "steps rows a"]
    """what had been done just before; zeros in a first step"""
    first: Bool[Tensor, "steps rows"]
    """whether nothing had been done before"""
    teacher_actions: Float[Tensor, "steps rows a"]
    """what the teacher would have done"""
    live: Bool[Tensor, "steps rows"]
    """whether the episode still went on"""


def room(shape: tuple[int, ...], dtype: np.dtype, folder: Path) -> np.ndarray:
    """An empty array, on the disk where it is large."""
    size = int(np.prod(shape)) * dtype.itemsize
    if size <= MEMORY:
        return np.empty(shape, dtype=dtype)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Usage(f"these demonstrations need {size / 1e9:.0f} GB in {folder}, where {free / 1e9:.0f} GB are free; record fewer")
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        # the file has no name, and is gone with the last who uses it
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


class Demonstrations:
    """Episodes one after another in one array each: frames [N, ...], actions [N, a] and the teacher's actions [N, a]."""

    def __init__(self, paths: list[Path], stack: int):
        """`stack`: frames that an observation is made of; 0: an observation is what was recorded."""
        episodes, self.stack = Episodes(paths), stack
        self.lengths = episodes.lengths
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        total, one = int(self.lengths.sum()), episodes[0]
        self.frames = torch.from_numpy(room((total, *one.frames.shape[1:]), one.frames.dtype, paths[0].parent))
        self.actions, self.teacher_actions = (torch.empty(total, one.actions.shape[1]) for _ in range(2))
        for number, (start, length) in enumerate(zip(self.starts, self.lengths, strict=True)):
            path, i = episodes.places[number]
            for name, kept in (("frames", self.frames), ("actions", self.actions), ("advice", self.teacher_actions)):
                kept[start : start + length] = torch.from_numpy(read(path, f"{name}-{i:03d}"))

    def __len__(self) -> int:
        return len(self.frames)

    def draw(self, rows: int, steps: int, seed: int, device: torch.device | str = "cpu") -> Window:
        """`rows` windows of `steps` steps, from each episode as often as it is long; a function of the seed."""
        random = np.random.Generator(np.random.Philox(seed))
        which = np.searchsorted(self.starts, random.integers(len(self), size=rows), side="right") - 1
        return self.window(which, random.integers(np.maximum(self.lengths[which] - steps, 0) + 1), steps, device)

    def window(self, which: np.ndarray, begin: np.ndarray, steps: int, device: torch.device | str = "cpu") -> Window:
        """Steps `begin` to `begin + steps` of the episodes `which`, a row each; behind an episode's end its last step stands, and is not alive."""
        start, length = self.starts[which], self.lengths[which]
        t = begin + np.arange(steps)[:, None]
        live, place = t < length, start + np.minimum(t, length - 1)
        place, before = torch.from_numpy(place), torch.from_numpy(np.maximum(place - 1, start))
        first = torch.from_numpy(t == 0)
        if self.stack:
            # before the first frame of an episode stands that frame
            past = np.maximum(place.numpy()[..., None] + np.arange(1 - self.stack, 1), start[:, None])
            # patches of one frame after another -> frames of one patch after another
            obs = self.frames[torch.from_numpy(past)].transpose(2, 3)
        else:
            obs = self.frames[place]
        parts = (obs, self.actions[before] * ~first[..., None], first, self.teacher_actions[place], torch.from_numpy(live))
        return Window(*(part.to(device) for part in parts))
