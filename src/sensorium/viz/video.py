"""MP4 videos from frames, small enough to embed in a page."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: int = 50) -> None:
    """Write uint8 frames [height, width, 3] of even size as H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer: Any
    with imageio.get_writer(
        path,
        fps=fps,
        codec="libx264",
        quality=None,
        macro_block_size=2,
        output_params=["-crf", "28", "-preset", "veryfast", "-movflags", "+faststart"],
    ) as writer:
        for frame in frames:
            writer.append_data(frame)


def beside(*frames: np.ndarray) -> np.ndarray:
    """Frames of equal height, concatenated horizontally."""
    return np.concatenate(frames, axis=1)
