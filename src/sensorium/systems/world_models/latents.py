"""Episodes encoded by V, cached in M's folder, and the training batches of M."""

import functools
import sys
import time
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.machine import product_type
from sensorium.core.seeding import name_hash
from sensorium.data.episodes import Episodes
from sensorium.systems.world_models.model import Seeing


@functools.lru_cache(8)
def _load_model(folder: str, checksum: str, device: str, bfloat16: bool) -> Any:
    place = Path(folder)
    loaded = checkpoint.load(place, device)
    assert loaded is not None
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in loaded[1].items()}
    model: nn.Module = checkpoint.stage(place).model(state)  # type: ignore[attr-defined]
    dtype = product_type(device) if bfloat16 else torch.float32
    return model.requires_grad_(False).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_model(folder: str, device: str = "cpu", bfloat16: bool = True) -> Any:
    """The model in a stage's folder, without gradients, cached per process. Errors: core.errors.Usage if there is none."""
    checksum = checkpoint.checksum(Path(folder)) if folder else None
    if checksum is None:
        raise Usage(f"{folder} holds no trained model; train the earlier stages first")
    return _load_model(folder, checksum, device, bfloat16)


class Sample(NamedTuple):
    """A batch of encoded sequences, time first."""

    mu: Float[Tensor, "steps rows z"]
    log_variance: Float[Tensor, "steps rows z"]
    action: Float[Tensor, "steps rows a"]
    reward: Float[Tensor, "steps rows"]
    restart: Float[Tensor, "steps rows"]


class Batch(NamedTuple):
    """Frame indices of an update, and masks of its losses."""

    index: Int[Tensor, "more rows"]
    """indices of frames, steps + 1 per row"""
    next_mask: Float[Tensor, "steps rows"]
    """1 where the loss of the next frame counts"""
    reward_mask: Float[Tensor, "steps rows"]
    """1 where the loss of the reward counts"""
    fresh: bool
    """whether the LSTM state starts at zero"""


@dataclass(frozen=True)
class Latents:
    """All frames of all episodes, concatenated, as V's posterior in half precision."""

    mu: Float[Tensor, "frames z"]
    log_variance: Float[Tensor, "frames z"]
    actions: Float[Tensor, "frames a"]
    rewards: Float[Tensor, "frames"]
    lengths: Int[Tensor, "episodes"]
    terminated: Bool[Tensor, "episodes"]

    @property
    def starts(self) -> Int[Tensor, "episodes"]:
        """Index of each episode's first frame."""
        return self.lengths.cumsum(0) - self.lengths

    @functools.cached_property
    def cut(self) -> Bool[Tensor, "frames"]:
        """Whether a frame is the last of a truncated episode, so that its successor is not known."""
        marks = torch.zeros(len(self.mu), dtype=torch.bool)
        marks[(self.starts + self.lengths - 1)[~self.terminated]] = True
        return marks

    @functools.cached_property
    def first(self) -> Bool[Tensor, "frames"]:
        """Whether a frame is the first of its episode."""
        marks = torch.zeros(len(self.mu), dtype=torch.bool)
        marks[self.starts] = True
        return marks

    def gather(self, index: Int[Tensor, "steps rows"], device: torch.device) -> Sample:
        """The encoded frames at these indices, as float32 on a device."""
        parts = (self.mu, self.log_variance, self.actions, self.rewards, self.first)
        return Sample(*(part[index].float().to(device) for part in parts))

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """A random order of the episodes for an epoch."""
        return np.random.Generator(np.random.Philox(name_hash(seed, epoch))).permutation(len(self.lengths))

    def batch(self, sequences: Literal["episodes", "streams"], number: int, rows: int, length: int, seed: int, across: bool) -> Batch:
        """The batch of update `number`. With `across` the loss includes predictions of the first frame after a terminated episode.

        Errors: core.errors.Usage if there are too few frames for the streams.
        """
        if sequences == "episodes":
            return self.episodes(number, rows, length, seed)
        order_of, span = functools.partial(self.order, seed), len(self.mu) // rows
        windows = (span - 1) // length
        if windows < 1:
            raise Usage(f"{len(self.mu)} frames are too few for {rows} streams of {length} steps; give a smaller batch or length")
        epoch, window = divmod(number, windows)
        flat = self.concatenated(tuple(order_of(epoch).tolist()))
        columns = torch.arange(rows) * span + window * length
        index = flat[columns[None] + torch.arange(length + 1)[:, None]]
        unknown = self.cut[index[:-1]] if across else self.first[index[1:]]
        return Batch(index, 1 - unknown.float(), torch.ones(length, rows), window == 0)

    @functools.lru_cache(1)  # noqa: B019  caches one epoch of one data set per process
    def concatenated(self, order: tuple[int, ...]) -> Int[Tensor, "frames"]:
        """Indices of all frames, with episodes in this order."""
        starts, lengths = self.starts.numpy(), self.lengths.numpy()
        return torch.from_numpy(np.concatenate([np.arange(starts[i], starts[i] + lengths[i]) for i in order]))

    def episodes(self, number: int, rows: int, length: int, seed: int) -> Batch:
        """Episodes from their beginning, cut at `length` steps. Padding repeats the last frame and has weight 0 in the losses."""
        total = len(self.lengths)
        places = [number * rows + i for i in range(rows)]
        orders = {epoch: self.order(seed, epoch) for epoch in {place // total for place in places}}
        chosen = torch.tensor([int(orders[place // total][place % total]) for place in places])
        time, last = torch.arange(length + 1)[:, None], self.lengths[chosen][None] - 1
        index = self.starts[chosen][None] + torch.minimum(time, last)
        # the last action of an episode has a reward, but no next frame
        return Batch(index, (time[1:] <= last).float(), (time[:-1] <= last).float(), True)

    __hash__ = object.__hash__


def encoded(paths: list[Path], vision: Seeing, checksum: str, folder: Path, block: int = 250) -> Latents:
    """The latents of all shards; encodes those not yet encoded by this V and prints progress to stderr."""
    parts, began, last, fresh = [], time.perf_counter(), time.perf_counter(), 0
    for done, path in enumerate(paths):
        # the name contains the checksums of V and of the shard, so that a stale file is never used
        place = folder / f"latents-{checksum[:8]}-{path.name.split('.')[1]}.npz"
        if not intact(place):
            fresh += 1
            encode(Episodes([path]), vision, place, block)
            if time.perf_counter() - last > 10:
                last = time.perf_counter()
                left = (last - began) / fresh * (len(paths) - done - 1)
                print(f"encoding episodes {done + 1}/{len(paths)}  {left:.0f} s left", file=sys.stderr, flush=True)
        with open(place, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            parts.append({field.name: file[field.name] for field in fields(Latents)})
    return Latents(**{field.name: torch.from_numpy(np.concatenate([part[field.name] for part in parts])) for field in fields(Latents)})


def intact(place: Path) -> bool:
    """Whether a file of latents exists and is undamaged."""
    try:
        with zipfile.ZipFile(place) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def encode(episodes: Episodes, vision: Seeing, place: Path, block: int) -> None:
    """Encode episodes with V and write the file of latents."""
    device = vision.device
    found: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(Latents)}
    for number in range(len(episodes)):
        episode = episodes[number]
        for frames in torch.from_numpy(episode.frames).split(block):
            # one fixed shape, so that the code of a frame does not depend on the length of its episode
            padded = torch.cat([frames, frames.new_zeros(block - len(frames), *frames.shape[1:])]) if len(frames) < block else frames
            for name, tensor in zip(("mu", "log_variance"), vision.posterior(padded.to(device)), strict=True):
                found[name].append(tensor[: len(frames)].cpu().half().numpy())
        found["actions"].append(episode.actions.astype(np.float16))
        found["rewards"].append(episode.rewards)
        found["lengths"].append(np.array([len(episode)]))
        found["terminated"].append(np.array([episode.terminated]))
    import io

    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.concatenate(arrays) for name, arrays in found.items()})  # type: ignore[arg-type]
    with checkpoint.writing(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write(place, buffer.getvalue())
