"""The report page of a World Models run (`sensorium report`), for readers who do not know the paper."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.log import rows as log_rows
from sensorium.core.rollout import play
from sensorium.core.seeding import normal, row_seeds, uniform
from sensorium.core.stats import summary
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.dream import decoded
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN, ConvVAE, pixels
from sensorium.systems.world_models.stages import Collect, Controller, Memory, Vision
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, RED, canvas, picture, smooth
from sensorium.viz.report import Page, Section, compose, table, video
from sensorium.viz.video import beside, write_mp4

EPISODES = 16
"""evaluation episodes of this page"""
CONTEXT, DREAM = 60, 90
"""steps in which M gets the real z, and steps of the dream after them"""
SHOWN = 8
"""images per row"""


@dataclass
class Run:
    """The stages of a run that are trained, their models, and one recorded episode."""

    folders: dict[str, Path]
    world: World
    frames: UInt8[np.ndarray, "steps 64 64 3"]
    actions: Float[Tensor, "steps a"]
    scores: dict[str, Any] | None
    vision: ConvVAE | None
    memory: MDNRNN | None


def load_run(folder: Path) -> Run:
    """The run with an episode of its agent, or of the random policy if there is no agent. Errors: core.errors.Usage if there is neither."""
    stages = [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)
    folders, world, player, scores = {}, None, None, None
    for path in stages:
        stage = checkpoint.placed(checkpoint.stage(path), path)
        kind = next((kind for kind in (Collect, Vision, Memory, Controller) if isinstance(stage, kind)), None)
        if kind is None or not (checkpoint.step_of(path) or stage.steps == 0):
            continue
        folders[kind.__name__.lower()] = path
        if isinstance(stage, (Collect, Controller)):
            world, player = stage.world, checkpoint.policy(path)
        if isinstance(stage, Controller):
            folders["vision"] = Path(stage.vision)
            folders |= {"memory": Path(stage.memory)} if stage.memory else {}
    if world is None or player is None:
        raise Usage(f"{folder} has nothing to show yet: no recorded episodes and no controller")
    if "controller" in folders:
        scores = summary(play(world.open(), player, row_seeds(7, EPISODES)).returns.numpy())
    rollout = play(world.open(), player, row_seeds(11, 1), keep=("observations", "actions"))
    length = int(rollout.lengths[0])
    vision = load_model(str(folders["vision"]), bfloat16=False) if "vision" in folders else None
    memory = load_model(str(folders["memory"]), bfloat16=False) if "memory" in folders else None
    return Run(folders, world, rollout.observations[:length, 0].numpy(), rollout.actions[:length, 0], scores, vision, memory)


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


def encoded(run: Run) -> tuple[Tensor, Tensor]:
    """V's posterior of the episode's frames: mu and log variance, [steps, z]."""
    assert run.vision is not None
    parts = [run.vision.encode(pixels(block)) for block in torch.from_numpy(run.frames).split(500)]
    return torch.cat([mu for mu, _ in parts]), torch.cat([log_variance for _, log_variance in parts])


def teacher_forced(run: Run, z: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """M's hidden and cell state after `steps` steps with the real z as input, and the one-step predictions of z [steps + 1, z]."""
    memory = run.memory
    assert memory is not None
    hidden = cell = torch.zeros(1, memory.hidden)
    expected = [z[:1]]
    for t in range(steps):
        hidden, cell = memory.step(z[t : t + 1], run.actions[t : t + 1], torch.full((1,), float(t == 0)), hidden, cell)
        out = memory.predict(hidden)
        expected.append((out.log_weight.exp() * out.mean).sum(-1))
    return hidden, cell, torch.cat(expected)


def open_loop(run: Run, z: Tensor, start: int, steps: int, temperature: float) -> Tensor:
    """z sampled from M without further frames, from step `start` of the episode on, with the recorded actions; [steps, z]."""
    memory = run.memory
    assert memory is not None
    hidden, cell, _ = teacher_forced(run, z, start)
    now, seeds, found = z[start : start + 1], row_seeds(5, 1), [z[start : start + 1]]
    for t in range(start, start + steps - 1):
        hidden, cell = memory.step(now, run.actions[t : t + 1], torch.full((1,), float(t == 0)), hidden, cell)
        out = memory.predict(hidden)
        choice, noise = uniform(seeds, 2 * t, memory.latents), normal(seeds, 2 * t + 1, memory.latents)
        now = eq.mixture_sample(out.log_weight, out.mean, out.log_sd, temperature, choice, noise)
        found.append(now)
    return torch.cat(found)


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


def losses(run: Run) -> Section | None:
    """Learning curves of V and M, with reference values."""
    shown = []
    if "vision" in run.folders and (rows := log_rows(run.folders["vision"] / "metrics.jsonl")):
        stage = checkpoint.stage(run.folders["vision"])
        assert isinstance(stage, Vision)
        figure, (left, right) = canvas(8.6, 3.0, 2)
        steps = [row["step"] * stage.updates for row in rows]
        left.plot(steps, [row["reconstruction"] for row in rows], color=BLUE)
        left.set(xlabel="updates of V", ylabel="squared error per frame", yscale="log")
        right.plot(steps, [row["kl"] for row in rows], color=BLUE)
        floor = stage.tolerance * stage.latents
        right.axhline(floor, color=RED, ls="--", lw=1)
        right.text(steps[-1], 0.97 * floor, f"free nats {floor:g}", color=RED, ha="right", va="top", fontsize=9)
        right.set(xlabel="updates of V", ylabel="KL divergence of z, nats", ylim=(0, 1.5 * floor))
        shown.append(
            (
                picture(figure, "learning curves of V"),
                "V: the KL divergence converges to the free nats, below which it costs nothing. This is expected.",
            )
        )
    if "memory" in run.folders and (rows := log_rows(run.folders["memory"] / "metrics.jsonl")):
        stage = checkpoint.stage(run.folders["memory"])
        assert isinstance(stage, Memory)
        names = [name for name in ("z", "restart", "reward", "action") if name in rows[0]]
        figure, axes = canvas(8.6, 3.0, len(names), squeeze=False)
        for axis, name in zip(axes[0], names, strict=True):
            axis.plot([row["step"] * stage.updates for row in rows], [row[name] for row in rows], color=BLUE)
            axis.set(xlabel="updates of M", ylabel={"z": "nats per dimension of z"}.get(name, f"loss of the {name}"))
            if name == "z":
                axis.axhline(1.419, color=RED, ls="--", lw=1)
                axis.text(0.02, 1.419, "standard normal 1.419", color=RED, va="bottom", fontsize=9, transform=axis.get_yaxis_transform())
        shown.append((picture(figure, "learning curves of M"), "M: unused dimensions of z are standard normal noise, which costs at least 1.419 nats each. A mean near 1 is normal; the authors report 0.98 for TakeCover."))  # fmt: skip
    return Section("Training of V and M", (), tuple(shown)) if shown else None


def evolution(run: Run) -> Section | None:
    """Scores of the controller by generation."""
    if "controller" not in run.folders or not (rows := log_rows(run.folders["controller"] / "metrics.jsonl")):
        return None
    stage = checkpoint.stage(run.folders["controller"])
    assert isinstance(stage, Controller)
    figure, axis = canvas(8.6, 3.2)
    steps = [row["step"] for row in rows]
    where = "in the dream" if stage.dream else "in the world"
    axis.plot(steps, [row["score/best"] for row in rows], color=ORANGE, lw=1, label="best candidate")
    axis.plot(steps, smooth([row["score/mean"] for row in rows], 5), color=BLUE, label="mean of the candidates")
    points = [(row["step"], row["score/agent"]) for row in rows if "score/agent" in row]
    if points:
        axis.plot(*zip(*points, strict=True), color=GREEN, marker="o", ms=4, label="mean of the search, separate episodes")
    if run.scores:
        low, high = run.scores["ci95"]
        axis.axhspan(low, high, color=RED, alpha=0.15, lw=0)
        axis.axhline(run.scores["mean"], color=RED, lw=1, ls="--", label=f"agent in the real world, {EPISODES} episodes")
    axis.set(xlabel="generation", ylabel=f"score {where}")
    axis.legend(fontsize=9)
    text = f"C has {stage.controller.layout.size:,} parameters, optimised by CMA-ES {where}. The agent is the mean of the search with the best score on separate episodes."
    return Section("Evolution of C", (text,), ((picture(figure, "scores by generation"), "Scores by generation."),))


def sections(folder: Path) -> Page:
    """The report page of a run."""
    with torch.no_grad():
        run = load_run(folder)
        parts: list[Any] = []
        if run.vision is not None:
            parts += [("reconstructions", lambda: reconstructions(run)), ("latent space", lambda: traversal(run))]
        if run.vision is not None and run.memory is not None:
            parts.append(("dream", lambda: dream_rollout(run)))
        made = compose([*parts, ("losses", lambda: losses(run)), ("evolution", lambda: evolution(run))])
    lead = "V encodes frames, M predicts the next code, and C maps both to actions. They are trained one after another. M can replace the world: C can then be trained in the dream."
    facts = f"World: {run.world.spec.name}. After Ha & Schmidhuber 2018, World Models."
    if run.scores:
        low, high = run.scores["ci95"]
        shown = (
            table(
                ("agent in the real world", "mean", "95 % interval", "sd", "median"),
                [(f"{EPISODES} episodes", f"{run.scores['mean']:.0f}", f"{low:.0f} to {high:.0f}", f"{run.scores['sd']:.0f}", f"{run.scores['median']:.0f}")],
            ),
            f"Based on {EPISODES} episodes only; `sensorium evaluate --episodes N` plays more.",
        )  # fmt: skip
        made.insert(0, Section("Evaluation", (), (shown,)))
    return Page("World Models", lead, facts, made)
