"""Moving thumbnails of agents: WebP animations of the first steps of an episode."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from sensorium.core.errors import Failure, Usage
from sensorium.web.agents import Agent
from sensorium.web.scenes.any import AnyAgent

SIDE, FRAMES, SECONDS = 160, 24, 0.08
"""pixels of the width, number of frames, seconds of each"""
LARGEST = 150_000
"""bytes of a thumbnail"""


def make(agent: Agent, path: Path) -> bool:
    """Write the thumbnail of an agent; False where its world has no picture, or cannot be opened here."""
    try:
        images = filmed(agent)
    except (Usage, Failure, RuntimeError, OSError, ValueError):
        return False
    if not images:
        return False
    for quality in (70, 40, 15):
        data = io.BytesIO()
        images[0].save(
            data, "WEBP", save_all=True, append_images=images[1:], duration=round(1000 * SECONDS), loop=0, quality=quality, method=4
        )
        if data.tell() <= LARGEST:
            break
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.write_bytes(data.getvalue())
    os.replace(draft, path)
    return True


def filmed(agent: Agent) -> list[Image.Image]:
    """Images of the first seconds of an episode; none where the world has no picture."""
    scene = AnyAgent(agent, [], 3)
    try:
        if scene.run.view is None:
            return []
        every = round(SECONDS * scene.rate)
        found = []
        for _ in range(FRAMES):
            for _ in range(every):
                scene.advance()
            found.append(small(scene.run.view.image()))
        return found
    finally:
        scene.close()


def small(image: np.ndarray) -> Image.Image:
    """An image with the width of a thumbnail."""
    height = round(SIDE * image.shape[0] / image.shape[1])
    return Image.fromarray(np.ascontiguousarray(image)).resize((SIDE, height), Image.Resampling.BILINEAR)
