"""Image augmentation."""

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

PAD = 4
"""largest shift in pixels in each direction"""


def random_shift(frames: UInt8[Tensor, "rows c h w"], shifts: Int[Tensor, "rows 2"], pad: int = PAD) -> UInt8[Tensor, "rows c h w"]:
    """Each image shifted by its own whole number of rows and columns, edges repeated: shifts from 0 to 2 pad, where `pad` is no shift.

    DrQ-v2 (Yarats et al. 2021, section 3.1) interpolates at positions that fall on pixels, with the same result. All channels of a row
    move together. The result is in channels-last memory format.
    """
    rows, channels, height, width = frames.shape
    lines = (torch.arange(height, device=frames.device) + shifts[:, :1] - pad).clamp(0, height - 1)
    columns = (torch.arange(width, device=frames.device) + shifts[:, 1:] - pad).clamp(0, width - 1)
    places = (lines[:, :, None] * width + columns[:, None, :]).view(rows, 1, -1).expand(-1, channels, -1)
    moved = torch.empty(rows, height, width, channels, dtype=frames.dtype, device=frames.device).permute(0, 3, 1, 2)
    torch.gather(frames.reshape(rows, channels, -1), 2, places, out=moved.flatten(2))
    return moved


def shifts(seed: int, rows: int, device: torch.device | str = "cpu", pad: int = PAD) -> Int[Tensor, "rows 2"]:
    """Random shifts in [0, 2 pad], a function of the seed."""
    generator = torch.Generator(device).manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    return torch.randint(2 * pad + 1, (rows, 2), generator=generator, device=device)
