"""Observations as patches: grey images cut into squares of 6 x 6 pixels, four frames stacked; and their treatments.

parse("patches:every=100,background:checks")     the comma list of `--senses` for patches
PatchEnv(world)                                  an Env with observations [rows, patches, frames, 36]

A background is applied to the colour image, every other treatment to the patches of a single frame, before frames are stacked. So for
three steps after a reshuffle the stack still has frames in the old order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from sensorium.core.env import EnvSpec, Step
from sensorium.core.errors import Usage, nearest
from sensorium.core.seeding import fold, uniform
from sensorium.envs.host import HostEnv
from sensorium.envs.sensors import Shuffle, Swap, shuffle_of

SIDE = 6
"""height and width of a patch"""
STACK = 4
"""frames per observation"""

GRAMMAR = "patches, patches:every=100, patches:every=100:forget, patches:every=100:late, swap:3, occlude:0.7, blackout:0.3, noise:5, background:NAME or FILE"


@dataclass(frozen=True)
class Occlude:
    """A share of the patches is removed for the episode (the paper's occlusion)."""

    share: float


@dataclass(frozen=True)
class Blackout:
    """A share of the patches is black for the episode."""

    share: float


@dataclass(frozen=True)
class Noise:
    """Additional patches of random pixels, new in every frame, after the real ones."""

    count: int


@dataclass(frozen=True)
class Background:
    """A replacement of the background, by name (SCENERY) or from an image file."""

    name: str


Treatment = Shuffle | Swap | Occlude | Blackout | Noise | Background


def parse(spec: str) -> tuple[Treatment, ...]:
    """The treatments of a comma list, in order. Errors: core.errors.Usage."""
    return tuple(_parse_one(part.strip()) for part in spec.split(",") if part.strip())


def _parse_one(text: str) -> Treatment:
    name, _, option = text.partition(":")
    try:
        if name == "patches" and (found := shuffle_of(option.split(":") if option else [])) and bool(option) == bool(found.every):
            return found
        if name == "swap" and int(option) >= 1:
            return Swap(int(option))
        elif name in ("occlude", "blackout") and 0 <= float(option) < 1:
            return (Occlude if name == "occlude" else Blackout)(float(option))
        elif name == "noise" and int(option) >= 1:
            return Noise(int(option))
        elif name == "background" and option:
            scenery(option, 6, 6)
            return Background(option)
        elif name not in ("patches", "swap", "occlude", "blackout", "noise", "background"):
            known = ["patches", "swap", "occlude", "blackout", "noise", "background"]
            raise Usage(nearest(name, known, "treatment of images") + f" (allowed: {GRAMMAR})")
    except ValueError:
        pass
    raise Usage(f"--senses cannot read '{text}'; allowed: {GRAMMAR}")


def scenery(name: str, height: int, width: int) -> UInt8[Tensor, "height width 3"]:
    """A background by name or from an image file, at the size of a frame. Errors: core.errors.Usage."""
    if name in SCENERY:
        y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
        return torch.from_numpy((255 * np.clip(np.stack(SCENERY[name](x, y), -1), 0, 1)).astype(np.uint8))
    if not Path(name).is_file():
        raise Usage(nearest(name, list(SCENERY), "background") + "; or give an image file")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(name) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)))
    except UnidentifiedImageError:
        raise Usage(f"{name} cannot be read as an image (allowed e.g. PNG, JPEG)") from None


def _dunes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    ridge = 0.5 + 0.18 * np.sin(7 * x) + 0.08 * np.sin(19 * x + 1)
    sand = (y > ridge) * (0.55 + 0.35 * np.sin(40 * (y - ridge)))
    return 0.35 * (1 - y) + sand, 0.25 + 0.25 * (1 - y) + 0.8 * sand, 0.7 * (1 - y) * (sand == 0) + 0.4 * sand


SCENERY = {
    "checks": lambda x, y: (((x * 8).astype(int) + (y * 8).astype(int)) % 2 * 0.8 + 0.1,) * 3,
    "dunes": _dunes,
    "stripes": lambda x, y: (0.5 + 0.5 * np.sin(30 * (x + y)), 0.5 + 0.4 * np.sin(30 * (x + y) + 2), 0.4 + 0.4 * np.sin(30 * (x + y) + 4)),
    "sunset": lambda x, y: (1 - 0.3 * y, 0.75 * (1 - y) + 0.1, 0.3 + 0.4 * y),
    "waves": lambda x, y: (
        0.1 + 0.1 * np.sin(9 * y),
        0.3 + 0.2 * np.sin(25 * y + 6 * np.sin(6 * x)),
        0.6 + 0.3 * np.sin(25 * y + 6 * np.sin(6 * x)),
    ),
}
"""generated backgrounds: name -> red, green, blue as functions of x and y in [0, 1]"""


@runtime_checkable
class Scene(Protocol):
    """A world that PatchEnv can observe as patches."""

    @property
    def treatments(self) -> "tuple[Treatment, ...]": ...

    @property
    def spec(self) -> EnvSpec: ...

    def frames(self) -> HostEnv:
        """The world with its simulator's frames as observations."""
        ...

    def grey(self, frames: Tensor) -> UInt8[Tensor, "rows height width"]:
        """Grey frames, with hidden parts black."""
        ...

    def offers(self, world: Any) -> bool:
        """Whether `shown` gives the observations of another world of the same simulator, for teachers trained in it."""
        ...

    def shown(self, env: HostEnv, frames: Tensor, world: Any) -> Tensor:
        """The current observation as that world defines it."""
        ...

    def ground(self, frames: Tensor) -> Bool[Tensor, "rows height width"]:
        """Mask of the pixels that a background replaces."""
        ...


def cut(grey: UInt8[Tensor, "rows height width"]) -> UInt8[Tensor, "rows n 36"]:
    """Images cut into patches, both patches and pixels in row-major order."""
    rows, height, width = grey.shape
    tiles = grey.view(rows, height // SIDE, SIDE, width // SIDE, SIDE).transpose(2, 3)
    return tiles.reshape(rows, -1, SIDE * SIDE)


def mosaic(patches: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `cut`."""
    tiles = patches.view(-1, height // SIDE, width // SIDE, SIDE, SIDE).transpose(2, 3)
    return tiles.reshape(-1, height, width)


def patches_of(n: int, treatments: tuple[Treatment, ...]) -> int:
    """The number of patches after the treatments of n patches."""
    for treatment in treatments:
        if isinstance(treatment, Occlude):
            n -= int(n * treatment.share)
        elif isinstance(treatment, Noise):
            n += treatment.count
    return n


class PatchEnv:
    """An Env of patches, [rows, patches, 4, 36], oldest frame first; the first frame of an episode is repeated four times."""

    def __init__(self, world: Scene):
        self.world, self.spec, self.env = world, world.spec, world.frames()
        self.treatments = world.treatments

    def reset(self, seeds: Int[Tensor, "rows"]) -> UInt8[Tensor, "rows n 4 36"]:
        self.seeds, self.t, self.chosen = seeds, 0, dict[int, Tensor]()
        self.ended = torch.zeros_like(seeds, dtype=torch.bool)
        self.raw = self.env.reset(seeds)
        names = [treatment.name for treatment in self.treatments if isinstance(treatment, Background)]
        self.scenery = [scenery(name, *self.raw.shape[1:3]).to(seeds.device) for name in names]
        self.obs = self.patches(self.raw)[:, :, None].repeat(1, 1, STACK, 1)
        return self.obs

    def step(self, action: Tensor) -> Step:
        step = self.env.step(action)
        self.t, self.raw = self.t + 1, step.obs
        obs = torch.cat([self.obs[:, :, 1:], self.patches(self.raw)[:, :, None]], 2)
        self.obs = torch.where(self.ended[:, None, None, None], self.obs, obs)
        self.ended = self.ended | step.terminated | step.truncated
        return step._replace(obs=self.obs)

    def patches(self, frames: Tensor) -> UInt8[Tensor, "rows n 36"]:
        """The treated patches of one frame."""
        for background in self.scenery:
            frames = torch.where(self.world.ground(frames)[..., None], background, frames)
        found = cut(self.world.grey(frames))
        for i, treatment in enumerate(self.treatments):
            found = self.treat(treatment, found, i)
        return found

    def treat(self, treatment: Treatment, patches: Tensor, i: int) -> Tensor:
        """One treatment of a frame's patches. Random choices are made at the start of an episode and, with `every`, again when due."""
        seeds, n = fold(self.seeds, "eyes", i), patches.shape[1]
        if isinstance(treatment, (Shuffle, Swap)):
            if i not in self.chosen or (treatment.every and self.t % treatment.every == 0):
                self.chosen[i] = treatment.layout(seeds, self.t, n)
            return take(patches, self.chosen[i])
        if isinstance(treatment, (Occlude, Blackout)):
            removed = int(n * treatment.share)
            if i not in self.chosen:
                ranks = uniform(fold(seeds, "chosen"), 0, n).argsort(1)
                self.chosen[i] = ranks[:, removed:].sort(1).values if isinstance(treatment, Occlude) else ranks[:, :removed, None]
            if isinstance(treatment, Occlude):
                return take(patches, self.chosen[i])
            return patches.scatter(1, self.chosen[i].expand(-1, -1, patches.shape[2]), 0)
        if isinstance(treatment, Noise):
            drawn = uniform(fold(seeds, "noise"), self.t, treatment.count * patches.shape[2])
            return torch.cat([patches, (256 * drawn).to(torch.uint8).view(len(patches), treatment.count, -1)], 1)
        return patches

    def treat_by(self, senses: str, number: int = 0) -> None:
        """Treat the following frames by another specification, with random choices for `number`. Frames in the stack stay where they fit."""
        self.treatments = parse(senses)
        self.seeds, self.chosen = fold(self.seeds, "again", number), {}
        names = [treatment.name for treatment in self.treatments if isinstance(treatment, Background)]
        self.scenery = [scenery(name, *self.raw.shape[1:3]).to(self.seeds.device) for name in names]
        newest = self.patches(self.raw)[:, :, None]
        kept = self.obs[:, :, 1:] if newest.shape[1] == self.obs.shape[1] else newest.repeat(1, 1, STACK - 1, 1)
        self.obs = torch.cat([kept, newest], 2)

    def origins(self) -> Int[Tensor, "rows n"]:
        """The place in the frame of each patch of the observation; -1 for patches of noise."""
        n = (self.raw.shape[1] // SIDE) * (self.raw.shape[2] // SIDE)
        found = torch.arange(n, device=self.seeds.device).expand(len(self.seeds), n)
        for i, treatment in enumerate(self.treatments):
            if isinstance(treatment, (Shuffle, Swap, Occlude)):
                found = found.gather(1, self.chosen[i])
            elif isinstance(treatment, Noise):
                found = torch.cat([found, found.new_full((len(found), treatment.count), -1)], 1)
        return found

    def picture(self, row: int = 0) -> np.ndarray:
        """The simulator's frame of one row, uint8 [height, width, 3]."""
        frame = self.raw[row].cpu().numpy()
        return frame if frame.ndim == 3 else frame[..., None].repeat(3, 2)

    def views(self, world: Any) -> bool:
        """Whether `shown(world)` is available."""
        return self.world.offers(world)

    def shown(self, world: Any) -> Tensor:
        """The current observation as another world of the same simulator defines it."""
        return self.world.shown(self.env, self.raw, world)

    def close(self) -> None:
        self.env.close()


def take(patches: Tensor, order: Int[Tensor, "rows n"]) -> Tensor:
    """Each row's patches in its own order."""
    return patches.gather(1, order[..., None].expand(-1, -1, patches.shape[2]))


def luma(frames: UInt8[Tensor, "rows height width 3"]) -> UInt8[Tensor, "rows height width"]:
    """Grey values as in OpenCV, in integer arithmetic: 0.299 R + 0.587 G + 0.114 B."""
    red, green, blue = frames.to(torch.int32).unbind(-1)
    return ((4899 * red + 9617 * green + 1868 * blue + 8192) >> 14).to(torch.uint8)
