"""Demonstrations: recorded episodes with a teacher's actions, sampled as windows of steps."""

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
"""bytes of frames above which they are kept in a temporary memory-mapped file"""


class Window(NamedTuple):
    """Windows of consecutive steps, time first."""

    obs: Tensor
    """[steps, rows, ...]: observations, frames stacked for images"""
    before: Float[Tensor, "steps rows a"]
    """previous actions; zeros in the first step of an episode"""
    first: Bool[Tensor, "steps rows"]
    """whether this is the first step of an episode"""
    teacher_actions: Float[Tensor, "steps rows a"]
    """the teacher's actions for the same observations"""
    live: Bool[Tensor, "steps rows"]
    """False after the end of the episode"""


def allocate(shape: tuple[int, ...], dtype: np.dtype, folder: Path) -> np.ndarray:
    """An empty array, memory-mapped in `folder` where it is larger than MEMORY. Errors: core.errors.Usage where the disk is too small."""
    size = int(np.prod(shape)) * dtype.itemsize
    if size <= MEMORY:
        return np.empty(shape, dtype=dtype)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Usage(f"these demonstrations need {size / 1e9:.0f} GB in {folder}, where {free / 1e9:.0f} GB are free; record fewer")
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        # the file is unlinked, and freed with its last mapping
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


class Demonstrations:
    """Concatenated episodes: frames [N, ...], actions [N, a] and the teacher's actions [N, a]."""

    def __init__(self, paths: list[Path], stack: int):
        """`stack`: number of frames per observation; 0: recorded frames are observations."""
        episodes, self.stack = Episodes(paths), stack
        self.lengths = episodes.lengths
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        total, one = int(self.lengths.sum()), episodes[0]
        self.frames = torch.from_numpy(allocate((total, *one.frames.shape[1:]), one.frames.dtype, paths[0].parent))
        self.actions, self.teacher_actions = (torch.empty(total, one.actions.shape[1]) for _ in range(2))
        for number, (start, length) in enumerate(zip(self.starts, self.lengths, strict=True)):
            path, i = episodes.places[number]
            for name, kept in (("frames", self.frames), ("actions", self.actions), ("advice", self.teacher_actions)):
                kept[start : start + length] = torch.from_numpy(read(path, f"{name}-{i:03d}"))

    def __len__(self) -> int:
        return len(self.frames)

    def draw(self, rows: int, steps: int, seed: int, device: torch.device | str = "cpu") -> Window:
        """`rows` windows of `steps` steps, episodes sampled in proportion to their lengths; a function of the seed."""
        random = np.random.Generator(np.random.Philox(seed))
        which = np.searchsorted(self.starts, random.integers(len(self), size=rows), side="right") - 1
        return self.window(which, random.integers(np.maximum(self.lengths[which] - steps, 0) + 1), steps, device)

    def window(self, which: np.ndarray, begin: np.ndarray, steps: int, device: torch.device | str = "cpu") -> Window:
        """Steps `begin` to `begin + steps` of the episodes `which`, one per row; the last step is repeated after an episode's end."""
        start, length = self.starts[which], self.lengths[which]
        t = begin + np.arange(steps)[:, None]
        live, place = t < length, start + np.minimum(t, length - 1)
        place, before = torch.from_numpy(place), torch.from_numpy(np.maximum(place - 1, start))
        first = torch.from_numpy(t == 0)
        if self.stack:
            # the first frame of an episode is repeated before its start
            past = np.maximum(place.numpy()[..., None] + np.arange(1 - self.stack, 1), start[:, None])
            # [..., frames, patches, pixels] -> [..., patches, frames, pixels]
            obs = self.frames[torch.from_numpy(past)].transpose(2, 3)
        else:
            obs = self.frames[place]
        parts = (obs, self.actions[before] * ~first[..., None], first, self.teacher_actions[place], torch.from_numpy(live))
        return Window(*(part.to(device) for part in parts))
