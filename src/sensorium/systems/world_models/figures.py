"""What a world model has to show: the page that `sensorium report` writes, told for one who has not read the paper."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.log import rows as log_rows
from sensorium.core.rollout import play
from sensorium.core.seeding import normal, row_seeds, uniform
from sensorium.core.stats import summary
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.dream import drawn
from sensorium.systems.world_models.latents import opened
from sensorium.systems.world_models.model import MDNRNN, ConvVAE, pixels
from sensorium.systems.world_models.stages import Collect, Controller, Memory, Vision
from sensorium.systems.world_models.stages.collect import World
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, RED, canvas, picture, smooth
from sensorium.viz.report import Page, Section, table, video
from sensorium.viz.video import beside, write_mp4

EPISODES = 16
"""episodes that the agent plays for this page"""
KNOWN, DREAMT = 60, 90
"""steps that M is shown before it dreams on alone, and steps that it dreams"""
SHOWN = 8
"""pictures in a strip"""


@dataclass
class Run:
    """The stages of a run that have something to show, and one episode of it."""

    folders: dict[str, Path]
    world: World
    frames: UInt8[np.ndarray, "steps 64 64 3"]
    actions: Float[Tensor, "steps a"]
    scores: dict[str, Any] | None
    vision: ConvVAE | None
    memory: MDNRNN | None


def gathered(folder: Path) -> Run:
    """The run, with an episode of its agent, or of a random player where there is no agent yet."""
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
        raise Usage(f"{folder} has nothing to show yet: no collected episodes and no controller")
    if "controller" in folders:
        scores = summary(play(world.open(), player, row_seeds(7, EPISODES)).returns.numpy())
    rollout = play(world.open(), player, row_seeds(11, 1), keep=("observations", "actions"))
    length = int(rollout.lengths[0])
    vision = opened(str(folders["vision"]), bfloat16=False) if "vision" in folders else None
    memory = opened(str(folders["memory"]), bfloat16=False) if "memory" in folders else None
    return Run(folders, world, rollout.observations[:length, 0].numpy(), rollout.actions[:length, 0], scores, vision, memory)


def strip(rows: list[tuple[str, list[np.ndarray]]], width: float = 8.6) -> Any:
    """Rows of pictures with a name before each."""
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
    """What V makes of the episode: mu and log variance."""
    assert run.vision is not None
    parts = [run.vision.encode(pixels(block)) for block in torch.from_numpy(run.frames).split(500)]
    return torch.cat([mu for mu, _ in parts]), torch.cat([log_variance for _, log_variance in parts])


def told(run: Run, z: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """M's hidden and cell state after having been told `steps` steps, and the z that it expected before each."""
    memory = run.memory
    assert memory is not None
    hidden = cell = torch.zeros(1, memory.hidden)
    expected = [z[:1]]
    for t in range(steps):
        hidden, cell = memory.step(z[t : t + 1], run.actions[t : t + 1], torch.full((1,), float(t == 0)), hidden, cell)
        seen = memory.predict(hidden)
        expected.append((seen.log_weight.exp() * seen.mean).sum(-1))
    return hidden, cell, torch.cat(expected)


def dreamt(run: Run, z: Tensor, start: int, steps: int, temperature: float) -> Tensor:
    """z as M dreams it from a moment of the episode on, under the actions that were really taken."""
    memory = run.memory
    assert memory is not None
    hidden, cell, _ = told(run, z, start)
    now, seeds, found = z[start : start + 1], row_seeds(5, 1), [z[start : start + 1]]
    for t in range(start, start + steps - 1):
        hidden, cell = memory.step(now, run.actions[t : t + 1], torch.full((1,), float(t == 0)), hidden, cell)
        seen = memory.predict(hidden)
        choice, noise = uniform(seeds, 2 * t, memory.latents), normal(seeds, 2 * t + 1, memory.latents)
        now = eq.mixture_sample(seen.log_weight, seen.mean, seen.log_sd, temperature, choice, noise)
        found.append(now)
    return torch.cat(found)


def sight(run: Run) -> Section:
    """Frames, what V draws of them, what M expected instead of them."""
    assert run.vision is not None
    mu, _ = encoded(run)
    chosen = np.linspace(1, len(run.frames) - 1, SHOWN).astype(int)
    rows = [("what there is", list(run.frames[chosen])), ("what V keeps", list(drawn(run.vision, mu[chosen])))]
    text = "V, a variational autoencoder, squeezes each picture into a few numbers, z, and can draw the picture again from them. What it draws is what the rest of the agent can know."
    if run.memory is not None:
        _, _, expected = told(run, mu, int(chosen[-1]))
        rows.append(("what M expected", list(drawn(run.vision, expected[chosen]))))
        text += (
            " M, a recurrent network, says at every step which z comes next; the third row draws what it expected before it saw the first."
        )
    return Section("What it sees, and what it expects to see", (text,), ((picture(strip(rows), "frames, reconstructions, predictions"), f"One episode of {len(run.frames)} steps, from its beginning to its end."),))  # fmt: skip


def traversal(run: Run) -> Section:
    """What single numbers of z mean."""
    assert run.vision is not None
    mu, log_variance = encoded(run)
    spread = torch.exp(log_variance / 2).mean(0)
    used = spread.argsort()[:6].tolist()
    base, rows = mu[len(mu) // 2], []
    for i in used:
        varied = base.repeat(SHOWN, 1)
        varied[:, i] = torch.linspace(-2.5, 2.5, SHOWN)
        rows.append((f"z {i}", list(drawn(run.vision, varied))))
    active = int((spread < 0.9).sum())
    text = (
        f"A frame from the middle of the episode, with one number of z moved from -2.5 to 2.5. {active} of the {len(spread)} numbers say something "
        "(their uncertainty is below 0.9); the others V leaves to noise, since the loss rewards saying no more than needed."
    )
    return Section(
        "What the numbers mean", (text,), ((picture(strip(rows), "latent traversals"), "The six numbers about which V is surest."),)
    )


def asleep(run: Run) -> Section | None:
    """The dream beside the world, under the same actions."""
    assert run.vision is not None
    assert run.memory is not None
    start = min(KNOWN, len(run.frames) // 2)
    steps = min(DREAMT, len(run.frames) - start)
    if steps < 2:
        return None
    mu, _ = encoded(run)
    dream = drawn(run.vision, dreamt(run, mu, start, steps, 1.0))
    real, kept = run.frames[start : start + steps], drawn(run.vision, mu[start : start + steps])
    chosen = np.linspace(0, steps - 1, SHOWN).astype(int)
    figure = strip([("the world", list(real[chosen])), ("through V", list(kept[chosen])), ("the dream", list(dream[chosen]))])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "dream.mp4"
        large = [
            beside(*(np.kron(image, np.ones((4, 4, 1), dtype=np.uint8)) for image in (a, b, c)))
            for a, b, c in zip(real, kept, dream, strict=True)
        ]
        write_mp4(path, large, fps=30 if run.world.spec.name == "take-cover" else 50)
        film = video(path)
    text = (
        f"For {start} steps M is told what V sees; then its eyes are closed, and for {steps} steps it dreams on by itself, hearing only the actions that the "
        "agent really took. Where the dream is good it stays plausible long after it has parted from what really happened: it cannot know what lies beyond the next bend."
    )
    return Section("The dream beside the world", (text,), ((picture(figure, "world, reconstruction and dream"), "From the moment at which M's eyes are closed."), (film, "The world, the world through V, the dream.")))  # fmt: skip


def losses(run: Run) -> Section | None:
    """Learning curves of V and M, with what to expect of them."""
    shown = []
    if "vision" in run.folders and (rows := log_rows(run.folders["vision"] / "metrics.jsonl")):
        stage = checkpoint.stage(run.folders["vision"])
        assert isinstance(stage, Vision)
        figure, (left, right) = canvas(8.6, 3.0, 2)
        steps = [row["step"] * stage.updates for row in rows]
        left.plot(steps, [row["reconstruction"] for row in rows], color=BLUE)
        left.set(xlabel="updates of V", ylabel="squared error of a picture", yscale="log")
        right.plot(steps, [row["kl"] for row in rows], color=BLUE)
        floor = stage.tolerance * stage.latents
        right.axhline(floor, color=RED, ls="--", lw=1)
        right.text(steps[-1], 0.97 * floor, f"floor {floor:g}", color=RED, ha="right", va="top", fontsize=9)
        right.set(xlabel="updates of V", ylabel="divergence of z, nats", ylim=(0, 1.5 * floor))
        shown.append(
            (
                picture(figure, "learning curves of V"),
                "V: the divergence settles at its floor, below which it costs nothing; that is right, not stuck.",
            )
        )
    if "memory" in run.folders and (rows := log_rows(run.folders["memory"] / "metrics.jsonl")):
        stage = checkpoint.stage(run.folders["memory"])
        assert isinstance(stage, Memory)
        names = [name for name in ("z", "restart", "reward", "action") if name in rows[0]]
        figure, axes = canvas(8.6, 3.0, len(names), squeeze=False)
        for axis, name in zip(axes[0], names, strict=True):
            axis.plot([row["step"] * stage.updates for row in rows], [row[name] for row in rows], color=BLUE)
            axis.set(xlabel="updates of M", ylabel={"z": "surprise, nats a dimension"}.get(name, f"cost of the {name}"))
            if name == "z":
                axis.axhline(1.419, color=RED, ls="--", lw=1)
                axis.text(0, 1.419, " pure noise 1.419", color=RED, va="bottom", fontsize=9)
        shown.append((picture(figure, "learning curves of M"), "M: numbers of z that are pure noise cost 1.419 nats each whatever M does, so a mean near 1 is normal. The authors' ended at 0.98 for TakeCover."))  # fmt: skip
    return Section("How V and M learned", (), tuple(shown)) if shown else None


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
    judged = [(row["step"], row["score/agent"]) for row in rows if "score/agent" in row]
    if judged:
        axis.plot(*zip(*judged, strict=True), color=GREEN, marker="o", ms=4, label="mean of the search, on fresh episodes")
    if run.scores:
        low, high = run.scores["ci95"]
        axis.axhspan(low, high, color=RED, alpha=0.15, lw=0)
        axis.axhline(run.scores["mean"], color=RED, lw=1, ls="--", label=f"the agent in the real world, {EPISODES} episodes")
    axis.set(xlabel="generation", ylabel=f"score {where}")
    axis.legend(fontsize=9)
    text = f"C has {stage.controller.layout.size:,} numbers, found by CMA-ES {where}. The agent is the mean of the search at the generation where it did best on episodes of its own."
    return Section("How C learned", (text,), ((picture(figure, "scores by generation"), "Scores by generation."),))


def sections(folder: Path) -> Page:
    """The page of a run."""
    with torch.no_grad():
        run = gathered(folder)
        made: list[Section | None] = [sight(run), traversal(run)] if run.vision is not None else []
        if run.vision is not None and run.memory is not None:
            made.append(asleep(run))
        made += [losses(run), evolution(run)]
    lead = "An agent that learns to see (V), to remember and foresee (M), and only then to act (C). M can stand in for the world: the agent can then learn in its own dream."
    facts = f"World: {run.world.spec.name}. After Ha & Schmidhuber 2018, World Models."
    if run.scores:
        low, high = run.scores["ci95"]
        shown = (
            table(
                ("the agent in the real world", "mean", "95 % interval", "sd", "median"),
                [(f"{EPISODES} episodes", f"{run.scores['mean']:.0f}", f"{low:.0f} to {high:.0f}", f"{run.scores['sd']:.0f}", f"{run.scores['median']:.0f}")],
            ),
            "Few episodes, for a first look; `sensorium evaluate` plays as many as you like.",
        )  # fmt: skip
        made.insert(0, Section("How well it does", (), (shown,)))
    return Page("World Models: see, remember, dream", lead, facts, [section for section in made if section is not None])
