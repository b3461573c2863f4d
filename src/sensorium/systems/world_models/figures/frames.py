"""Figures of frames: reconstructions, latent traversals, and a dream beside the real episode."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.systems.world_models.dream import decoded
from sensorium.systems.world_models.figures.run import CONTEXT, DREAM, Run, encoded, open_loop, teacher_forced
from sensorium.viz.curves import INK, canvas, picture
from sensorium.viz.report import Section, video
from sensorium.viz.video import beside, write_mp4

SHOWN = 8
"""images per row"""


def strip(rows: list[tuple[str, list[np.ndarray]]], width: float = 8.6) -> Any:
    """A figure of rows of images with a label before each row."""
    columns = max(len(pictures) for _, pictures in rows)
    figure, axes = canvas(width, width * 64 * len(rows) / (64 * columns + 110), 1)
    axes.axis("off")
    size = 64
    for r, (name, pictures) in enumerate(rows):
        for c, image in enumerate(pictures):
            axes.imshow(image, extent=(c * size, c * size + size - 2, -(r + 1) * size + 2, -r * size), interpolation="bilinear")
        axes.text(-6, -(r + 0.5) * size, name, ha="right", va="center", fontsize=9, color=INK)
    axes.set_xlim(-110, columns * size)
    axes.set_ylim(-len(rows) * size, 0)
    axes.set_aspect("equal")
    return figure


def reconstructions(run: Run) -> Section:
    """Frames, V's reconstructions, and M's one-step predictions."""
    assert run.vision is not None
    mu, _ = encoded(run)
    chosen = np.linspace(1, len(run.frames) - 1, SHOWN).astype(int)
    rows = [("frame", list(run.frames[chosen])), ("reconstruction", list(decoded(run.vision, mu[chosen])))]
    text = "V, a variational autoencoder, encodes each frame as a short vector z and decodes z to a frame. M and C have access to z only, not to the frame."
    if run.memory is not None:
        _, _, expected = teacher_forced(run, mu, int(chosen[-1]))
        rows.append(("prediction of M", list(decoded(run.vision, expected[chosen]))))
        text += " M, a recurrent network, predicts the next z at every step. The third row shows its prediction from the step before."
    return Section("Reconstructions and predictions", (text,), ((picture(strip(rows), "frames, reconstructions, predictions"), f"One episode of {len(run.frames)} steps, from its beginning to its end."),))  # fmt: skip


def traversal(run: Run) -> Section:
    """Decoded frames while single dimensions of z vary."""
    assert run.vision is not None
    mu, log_variance = encoded(run)
    sd = torch.exp(log_variance / 2).mean(0)
    used = sd.argsort()[:6].tolist()
    base, rows = mu[len(mu) // 2], []
    for i in used:
        varied = base.repeat(SHOWN, 1)
        varied[:, i] = torch.linspace(-2.5, 2.5, SHOWN)
        rows.append((f"z {i}", list(decoded(run.vision, varied))))
    active = int((sd < 0.9).sum())
    text = (
        f"A frame from the middle of the episode, with one dimension of z varied from -2.5 to 2.5. {active} of the {len(sd)} dimensions carry information "
        "(mean posterior standard deviation below 0.9). The others stay close to the prior, because the KL term penalises unused information."
    )
    return Section(
        "Latent traversals",
        (text,),
        ((picture(strip(rows), "latent traversals"), "The six dimensions with the smallest posterior standard deviation."),),
    )


def dream_rollout(run: Run) -> Section | None:
    """Frames of the real episode and of the dream, with the same actions."""
    assert run.vision is not None
    assert run.memory is not None
    start = min(CONTEXT, len(run.frames) // 2)
    steps = min(DREAM, len(run.frames) - start)
    if steps < 2:
        return None
    mu, _ = encoded(run)
    dream = decoded(run.vision, open_loop(run, mu, start, steps, 1.0))
    real, kept = run.frames[start : start + steps], decoded(run.vision, mu[start : start + steps])
    chosen = np.linspace(0, steps - 1, SHOWN).astype(int)
    figure = strip([("world", list(real[chosen])), ("reconstruction", list(kept[chosen])), ("dream", list(dream[chosen]))])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "dream.mp4"
        large = [
            beside(*(np.kron(image, np.ones((4, 4, 1), dtype=np.uint8)) for image in (a, b, c)))
            for a, b, c in zip(real, kept, dream, strict=True)
        ]
        write_mp4(path, large, fps=30 if run.world.spec.name == "take-cover" else 50)
        html = video(path)
    text = (
        f"For {start} steps the input of M is the encoded frame. For the next {steps} steps its input is its own sample of z and the recorded action. "
        "A good dream stays plausible, but it differs from the real episode after a while, because M has no information about frames it has not received."
    )
    return Section("Dream and real episode", (text,), ((picture(figure, "world, reconstruction and dream"), "From the first step of the dream on."), (html, "World, reconstruction, dream.")))  # fmt: skip
