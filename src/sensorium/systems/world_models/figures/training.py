"""Figures of the training of V, M and C."""

from sensorium.core import checkpoint
from sensorium.core.log import rows as log_rows
from sensorium.systems.world_models.figures.run import EPISODES, Run
from sensorium.systems.world_models.model import ConvVAE
from sensorium.systems.world_models.stages import Controller, Memory, Vision
from sensorium.viz.curves import BLUE, GREEN, ORANGE, RED, canvas, picture, smooth
from sensorium.viz.report import Section


def losses(run: Run) -> Section | None:
    """Learning curves of V and M, with reference values."""
    shown = []
    if isinstance(run.vision, ConvVAE) and (rows := log_rows(run.folders["vision"] / "metrics.jsonl")):
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
