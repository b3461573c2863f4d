"""Random changes of pictures that do not change what they show."""

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

PAD = 4
"""pixels by which a picture may move to any side"""


def random_shift(frames: UInt8[Tensor, "rows c h w"], shifts: Int[Tensor, "rows 2"], pad: int = PAD) -> UInt8[Tensor, "rows c h w"]:
    """Each picture moved by its own whole number of lines and columns, its edges repeated: shifts from 0 to 2 pad, where `pad` stays put.

    DrQ-v2 (Yarats et al. 2021, section 3.1) interpolates between pixels at places that fall on pixels: this is the same picture. All channels
    of a row move together. What is returned has its channels innermost in memory, as convolutions want them.
    """
    rows, channels, height, width = frames.shape
    lines = (torch.arange(height, device=frames.device) + shifts[:, :1] - pad).clamp(0, height - 1)
    columns = (torch.arange(width, device=frames.device) + shifts[:, 1:] - pad).clamp(0, width - 1)
    places = (lines[:, :, None] * width + columns[:, None, :]).view(rows, 1, -1).expand(-1, channels, -1)
    moved = torch.empty(rows, height, width, channels, dtype=frames.dtype, device=frames.device).permute(0, 3, 1, 2)
    torch.gather(frames.reshape(rows, channels, -1), 2, places, out=moved.flatten(2))
    return moved


def shifts(seed: int, rows: int, device: torch.device | str = "cpu", pad: int = PAD) -> Int[Tensor, "rows 2"]:
    """Where to move each row, a function of the seed."""
    generator = torch.Generator(device).manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    return torch.randint(2 * pad + 1, (rows, 2), generator=generator, device=device)
