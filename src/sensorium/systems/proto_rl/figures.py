"""The report page of a Proto-RL run (`sensorium report`), for readers who do not know the paper."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.core import checkpoint
from sensorium.core.env import Coordinates, closing, coordinates, frames_per_step
from sensorium.core.errors import Failure, Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.log import rows as log_rows
from sensorium.core.policy import Uniform
from sensorium.core.rollout import stream
from sensorium.core.seeding import row_seeds
from sensorium.core.stage import State
from sensorium.envs.control import ControlEnv
from sensorium.systems.proto_rl import probes
from sensorium.systems.proto_rl.stages import Finetune, Pretrain, ProtoStage
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, canvas, counted, picture, smooth
from sensorium.viz.report import Page, Section, compose, table, video
from sensorium.viz.video import beside, write_mp4

ROWS = 4
"""episodes of each policy for the linear probe and the plot of visited states"""
EPISODES = 10
"""evaluation episodes of this page"""
VIDEO_STEPS = 250
"""steps of a video"""


@dataclass
class Part:
    """A stage of the run with its state and metrics."""

    stage: ProtoStage
    state: State
    rows: list[dict[str, float]]
    first: float
    """frames before the stage"""

    @property
    def frames(self) -> np.ndarray:
        return self.first + np.array([row["frames"] for row in self.rows])


def load_parts(folder: Path) -> dict[str, Part]:
    """Name -> stage, for the stages that have taken a step. Errors: core.errors.Usage if there are none."""
    paths = [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)
    parts: dict[str, Part] = {}
    for path in paths:
        stage, loaded = checkpoint.placed(checkpoint.stage(path), path), checkpoint.load(path)
        if isinstance(stage, ProtoStage) and loaded is not None and loaded[0]:
            before = max((part.frames[-1] for part in parts.values()), default=0.0) or pretraining_frames(stage)
            state = {name: t.float() if t.is_floating_point() else t for name, t in loaded[1].items()}
            parts[type(stage).__name__.lower()] = Part(stage, state, log_rows(path / "metrics.jsonl"), before)
    if not parts:
        raise Usage(f"{folder} has nothing to show yet: no stage has taken a step")
    return parts


def pretraining_frames(stage: ProtoStage) -> float:
    """Frames without reward before fine-tuning, read from the pre-training checkpoint; 0 if that is not available."""
    if isinstance(stage, Finetune):
        with suppress(Usage, Failure):
            return float(stage.snapshot().get("agent-steps", 0)) * frames_per_step(stage.world)
    return 0.0


def scores(parts: dict[str, Part]) -> Section:
    """The task's return against all frames, and against frames with reward."""
    rewarded = any(name != "pretrain" for name in parts)
    figure, axes = canvas(8.6, 3.4, 1 + rewarded, sharey=True, squeeze=False)
    (axis, with_reward), counts = (axes[0, 0], axes[0, -1]), axes[0]
    colours = {"pretrain": ORANGE, "finetune": BLUE, "scratch": GREEN}
    names = {
        "pretrain": "pre-training (without this reward)",
        "finetune": "fine-tuning",
        "scratch": "without pre-training",
    }
    for name, part in parts.items():
        axis.plot(part.frames, smooth([row["score/mean"] for row in part.rows], 5), color=colours[name], alpha=0.5, lw=1)
        points = [(frames, row["evaluation/mean"]) for frames, row in zip(part.frames, part.rows, strict=True) if "evaluation/mean" in row]
        if points:
            axis.plot(*zip(*points, strict=True), color=colours[name], marker="o", ms=4, label=names[name])
        if points and name != "pretrain":
            with_reward.plot(
                [frames - part.first for frames, _ in points], [score for _, score in points], color=colours[name], marker="o", ms=4
            )
    if rewarded:
        with_reward.set(xlabel="frames with reward")
    if "finetune" in parts and "pretrain" in parts:
        axis.axvline(parts["finetune"].first, color=INK, lw=1, ls="--")
        # below the legend
        axis.text(
            parts["finetune"].first,
            0.72,
            "fine-tuning \nbegins ",
            transform=axis.get_xaxis_transform(),
            ha="right",
            va="top",
            fontsize=9,
        )
    axis.set(xlabel="frames, with and without reward", ylabel="return")
    axis.legend(fontsize=9, loc="upper left")
    counted(*counts)
    text = "Dots: evaluation episodes without action noise. Thin lines: training episodes."
    return Section(
        "Return", (text,), ((picture(figure, "return by frames"), "Return of the task, also where the agent does not receive it."),)
    )


def exploration(part: Part) -> Section | None:
    """Coverage and entropy of visited states, compared with random actions."""
    if not part.rows or "coverage/explorer" not in part.rows[-1]:
        return None
    figure, (left, right) = canvas(8.6, 3.2, 2)
    for name, colour, label in (("explorer", ORANGE, "explorer"), ("random", INK, "random actions")):
        left.plot(part.frames, [row[f"coverage/{name}"] for row in part.rows], color=colour, label=label)
        right.plot(part.frames, smooth([row[f"entropy/{name}"] for row in part.rows], 5), color=colour, label=label)
    left.set(xlabel="frames", ylabel="cells visited so far")
    right.set(xlabel="frames", ylabel="entropy of visited states, nats")
    left.legend(fontsize=9)
    counted(left, right)
    last, where = part.rows[-1], ", ".join(c.name for c in coordinates(part.stage.world))
    late = part.rows[-10:]
    share, lately = (sum(row[f"{what}/explorer"] for row in some) / max(sum(row[f"{what}/random"] for row in some), 1)
                     for what, some in (("coverage", [last]), ("cells", late)))  # fmt: skip
    text = (
        f"Coverage is the number of visited cells of a grid over {where}, with 20 bins per coordinate. After {int(part.frames[-1]):,} frames the explorer has visited "
        f"{last['coverage/explorer']:,.0f} cells, and random actions {last['coverage/random']:,.0f}: a ratio of {share:.2f}. "
        f"Within the {part.stage.rows} episodes of one step the ratio is {lately:.2f} (mean of the last {len(late)} steps). Neither policy receives a reward."
    )
    return Section("Exploration without reward", (text,), ((picture(figure, "coverage and entropy"), "Left: cells visited so far. Right: entropy of the states visited in one step."),))  # fmt: skip


def prototypes(part: Part) -> Section | None:
    """Loss, prototypes in use, and intrinsic reward."""
    rows = [(frames, row) for frames, row in zip(part.frames, part.rows, strict=True) if "loss/representation" in row]
    if not rows:
        return None
    figure, axes = canvas(8.6, 3.0, 3)
    frames, count = [x for x, _ in rows], part.stage.proto.prototypes
    for axis, name, label in zip(
        axes, ("loss/representation", "prototypes/used", "intrinsic_reward/mean"), ("loss, nats", f"prototypes in use, of {count}", "mean intrinsic reward"),
        strict=True,
    ):  # fmt: skip
        axis.plot(frames, [row[name] for _, row in rows], color=BLUE)
        axis.set(xlabel="frames", ylabel=label)
    counted(*axes)
    axes[1].set_ylim(0, count * 1.05)
    dead = int(rows[-1][1].get("prototypes/dead", 0))
    text = (
        f"The loss trains the model to predict the prototype of the next observation. In the last step {dead} of {count} prototypes were not the nearest one of any sample. "
        "The intrinsic reward is the distance of a code to its k-th nearest candidate in the queue."
    )
    return Section("Prototypes", (text,), ((picture(figure, "loss, usage, intrinsic reward"), "Against frames of pre-training."),))


def probe_section(part: Part) -> Section | None:
    """Linear probes of the simulator state, and a plot of visited states."""
    stage, world = part.stage, part.stage.world
    if not isinstance(world, Coordinates) or len(world.where) < 2:
        return None
    policy = stage.policy(part.state)
    trained, test = probes.record(stage, policy, ROWS, 21), probes.record(stage, policy, ROWS, 22)
    random, random_test = (probes.record(stage, Uniform(stage.world.spec.action), ROWS, seed) for seed in (23, 24))
    both = probes.Trajectories(torch.cat([trained.observations, random.observations]), torch.cat([trained.states, random.states]))
    both_test = probes.Trajectories(torch.cat([test.observations, random_test.observations]), torch.cat([test.states, random_test.states]))
    shown = []
    if stage.pixels:
        ours = probes.linear_probe(stage.encoder(part.state), both, both_test, world.places)
        theirs = probes.linear_probe(probes.untrained(stage, both), both, both_test, world.places)
        rows = [(c.name, f"{a:.3f}", f"{b:.3f}") for c, a, b in zip(world.where, ours, theirs, strict=True)]
        shown.append((table(("R² of a linear probe", "trained", "untrained"), rows), "Ridge regression from codes to the simulator state, which is not an input of the agent; evaluated on separate episodes."))  # fmt: skip
    figure, axes = canvas(8.6, 4.2, 2, sharex=True, sharey=True)
    names = world.where[:2]
    for axis, data, title, colour in (
        (axes[0], trained, "explorer" if isinstance(stage, Pretrain) else "agent", ORANGE),
        (axes[1], random, "random actions", INK),
    ):
        places = world.places(data.states)
        axis.plot(places[:, 0], places[:, 1], ".", ms=2, color=colour, alpha=0.4)
        axis.set(title=title, xlabel=names[0].name, ylabel=names[1].name, xlim=(0, 1), ylim=(0, 1))
    # published fine-tuned agents contain only encoder and actor
    if "representation/model/prototypes" in part.state:
        nearest = world.places(probes.nearest_states(stage, part.state, both))
        axes[0].plot(nearest[:, 0], nearest[:, 1], "+", ms=6, color=BLUE, label="nearest state of each prototype")
        axes[0].legend(fontsize=9, loc="upper right")
    shown.append(
        (picture(figure, "visited states"), f"{ROWS} episodes of each policy; each axis is scaled to the range of its coordinate.")
    )
    text = "States visited by the agent and by random actions, and how well a linear map predicts the state from the agent's codes."
    return Section("Visited states and linear probes", (text,), tuple(shown))


def record_video(part: Part, seed: int, place: Path) -> str | None:
    """HTML of a video of two episodes side by side; None if the engine cannot render them."""
    frames = []
    with closing(part.stage.world) as env:
        if not isinstance(env, ControlEnv) or env.control_pool is None:
            return None
        for moment in stream(env, part.stage.policy(part.state), row_seeds(seed, 2)):
            frames.append(beside(env.picture(0), env.picture(1)))
            if moment.t + 1 >= VIDEO_STEPS:
                break
    write_mp4(place, frames, fps=25)
    return video(place)


def videos(parts: dict[str, Part]) -> Section | None:
    """A video of each stage's agent."""
    titles = {
        "pretrain": "The explorer after pre-training.",
        "finetune": "The agent after fine-tuning.",
        "scratch": "The agent trained without pre-training.",
    }
    shown = []
    with tempfile.TemporaryDirectory() as place:
        for name, part in parts.items():
            made = record_video(part, 31, Path(place) / f"{name}.mp4")
            shown += [(made, titles[name] + f" The first {VIDEO_STEPS} steps of two episodes.")] if made else []
    return Section("Videos", (), tuple(shown)) if shown else None


def evaluation(part: Part) -> Section:
    """The score of the last stage's agent."""
    result = evaluate(part.stage.world, part.stage.policy(part.state), EPISODES, 7)
    low, high = result["ci95"]
    row = (part.stage.world.spec.name, f"{result['mean']:.0f}", f"{low:.0f} to {high:.0f}", f"{result['median']:.0f}")
    shown = table((f"{EPISODES} episodes", "mean", "95 % interval", "median"), [row])
    return Section("Evaluation", (), ((shown, f"Based on {EPISODES} episodes only; `sensorium evaluate --episodes N` plays more."),))


def sections(folder: Path) -> Page:
    """The report page of a run."""
    parts = load_parts(folder)
    last = next(parts[name] for name in ("finetune", "scratch", "pretrain") if name in parts)
    made: list[Any] = [("evaluation", lambda: evaluation(last)), ("scores", lambda: scores(parts))]
    if "pretrain" in parts:
        made += [("exploration", lambda: exploration(parts["pretrain"])), ("prototypes", lambda: prototypes(parts["pretrain"]))]
    made += [("linear probe", lambda: probe_section(parts.get("pretrain", last))), ("videos", lambda: videos(parts))]
    lead = (
        "The agent first explores without a task. Its intrinsic reward is the distance of a code to its nearest neighbours among recent codes, which are "
        "selected with learned prototypes. It is then fine-tuned on a task."
    )
    facts = f"World: {last.stage.world.spec.name}. After Yarats et al. 2021, Reinforcement Learning with Prototypical Representations."
    return Page("Proto-RL: exploration without reward, then fine-tuning", lead, facts, compose(made))
