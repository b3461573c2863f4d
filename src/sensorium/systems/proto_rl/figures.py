"""What Proto-RL has to show: the page that `sensorium report` writes, told for one who has not read the paper."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sensorium.core import checkpoint
from sensorium.core.env import closing
from sensorium.core.errors import Failure, Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.log import rows as log_rows
from sensorium.core.rollout import stream
from sensorium.core.seeding import row_seeds
from sensorium.core.stage import State
from sensorium.envs.control import ControlEnv
from sensorium.rl.off_policy import Uniform
from sensorium.systems.proto_rl import probes
from sensorium.systems.proto_rl.stages import Finetune, Learning, Pretrain
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, canvas, counted, picture, smooth
from sensorium.viz.report import Page, Section, table, video
from sensorium.viz.video import beside, write_mp4

ROWS = 4
"""episodes that are passed through for the probe and the map"""
EPISODES = 10
"""episodes that the agent plays for this page"""
FILM = 250
"""steps of a video"""


@dataclass
class Part:
    """A stage of the run, with what it has logged and learned."""

    stage: Learning
    state: State
    rows: list[dict[str, float]]
    first: float
    """frames that had passed before it"""

    @property
    def frames(self) -> np.ndarray:
        return self.first + np.array([row["frames"] for row in self.rows])


def gathered(folder: Path) -> dict[str, Part]:
    """The stages of a run by name, those that have begun."""
    paths = [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)
    parts: dict[str, Part] = {}
    for path in paths:
        stage, loaded = checkpoint.placed(checkpoint.stage(path), path), checkpoint.load(path)
        if isinstance(stage, Learning) and loaded is not None and loaded[0]:
            before = max((part.frames[-1] for part in parts.values()), default=0.0) or explored(stage)
            state = {name: t.float() if t.is_floating_point() else t for name, t in loaded[1].items()}
            parts[type(stage).__name__.lower()] = Part(stage, state, log_rows(path / "metrics.jsonl"), before)
    if not parts:
        raise Usage(f"{folder} has nothing to show yet: no stage has taken a step")
    return parts


def explored(stage: Learning) -> float:
    """Frames without reward that an agent had behind it when it was given its task, wherever it explored; 0 where that is gone."""
    if isinstance(stage, Finetune):
        with suppress(Usage, Failure):
            return float(stage.snapshot().get("agent-steps", 0)) * stage.world.repeat
    return 0.0


def scores(parts: dict[str, Part]) -> Section:
    """What the task pays, against frames of either kind."""
    rewarded = any(name != "pretrain" for name in parts)
    figure, axes = canvas(8.6, 3.4, 1 + rewarded, sharey=True, squeeze=False)
    (axis, paid), counts = (axes[0, 0], axes[0, -1]), axes[0]
    colours = {"pretrain": ORANGE, "finetune": BLUE, "scratch": GREEN}
    names = {
        "pretrain": "exploring (does not see this reward)",
        "finetune": "learning the task",
        "scratch": "learning the task from nothing",
    }
    for name, part in parts.items():
        axis.plot(part.frames, smooth([row["score/mean"] for row in part.rows], 5), color=colours[name], alpha=0.5, lw=1)
        judged = [(frames, row["evaluation/mean"]) for frames, row in zip(part.frames, part.rows, strict=True) if "evaluation/mean" in row]
        if judged:
            axis.plot(*zip(*judged, strict=True), color=colours[name], marker="o", ms=4, label=names[name])
        if judged and name != "pretrain":
            paid.plot([frames - part.first for frames, _ in judged], [score for _, score in judged], color=colours[name], marker="o", ms=4)
    if rewarded:
        paid.set(xlabel="frames with reward")
    if "finetune" in parts and "pretrain" in parts:
        axis.axvline(parts["finetune"].first, color=INK, lw=1, ls="--")
        # below the legend
        axis.text(
            parts["finetune"].first,
            0.72,
            "the task's \nreward begins ",
            transform=axis.get_xaxis_transform(),
            ha="right",
            va="top",
            fontsize=9,
        )
    axis.set(xlabel="frames, with and without reward", ylabel="the task's return")
    axis.legend(fontsize=9, loc="upper left")
    counted(*counts)
    text = "Dots: episodes without noise, on starts of their own. Thin lines: the episodes that were learned from."
    return Section(
        "What the task pays", (text,), ((picture(figure, "returns by frames"), "Returns of the task, whether or not it was learned from."),)
    )


def exploring(part: Part) -> Section | None:
    """Did exploring without reward get anywhere? Beside one who draws its actions."""
    if not part.rows or "coverage/explorer" not in part.rows[-1]:
        return None
    figure, (left, right) = canvas(8.6, 3.2, 2)
    for name, colour, label in (("explorer", ORANGE, "the explorer"), ("random", INK, "random actions")):
        left.plot(part.frames, [row[f"coverage/{name}"] for row in part.rows], color=colour, label=label)
        right.plot(part.frames, smooth([row[f"entropy/{name}"] for row in part.rows], 5), color=colour, label=label)
    left.set(xlabel="frames", ylabel="cells visited so far")
    right.set(xlabel="frames", ylabel="entropy of an episode's places, nats")
    left.legend(fontsize=9)
    counted(left, right)
    last, where = part.rows[-1], ", ".join(c.name for c in part.stage.world.where)
    late = part.rows[-10:]
    share, lately = (sum(row[f"{what}/explorer"] for row in some) / max(sum(row[f"{what}/random"] for row in some), 1)
                     for what, some in (("coverage", [last]), ("cells", late)))  # fmt: skip
    text = (
        f"The space of {where} is cut into cells, 20 along each; what counts is how many were ever visited. After {int(part.frames[-1]):,} frames the explorer has been in "
        f"{last['coverage/explorer']:,.0f}, one who draws its actions in {last['coverage/random']:,.0f}: {share:.2f} times as many. "
        f"In a single step's {part.stage.rows} episodes it visits {lately:.2f} times as many (mean of the last {len(late)} steps). Neither has seen a reward."
    )
    return Section("How far it came without reward", (text,), ((picture(figure, "coverage and entropy"), "Left: all that was visited. Right: how spread out a single episode is."),))  # fmt: skip


def prototypes(part: Part) -> Section | None:
    """Are all prototypes in use, and does the representation still learn?"""
    rows = [(frames, row) for frames, row in zip(part.frames, part.rows, strict=True) if "loss/representation" in row]
    if not rows:
        return None
    figure, axes = canvas(8.6, 3.0, 3)
    frames, count = [x for x, _ in rows], part.stage.proto.prototypes
    for axis, name, label in zip(
        axes, ("loss/representation", "prototypes/used", "intrinsic_reward/mean"), ("loss, nats", f"prototypes in use, of {count}", "mean distance to the candidates"),
        strict=True,
    ):  # fmt: skip
        axis.plot(frames, [row[name] for _, row in rows], color=BLUE)
        axis.set(xlabel="frames", ylabel=label)
    counted(*axes)
    axes[1].set_ylim(0, count * 1.05)
    dead = int(rows[-1][1].get("prototypes/dead", 0))
    text = (
        f"Prototypes are learned so that what follows an observation can be told from it. In the last episode {dead} of {count} were nobody's nearest. "
        "The explorer is paid for the distance in the right-hand picture: while it stays up, there is still something new to see."
    )
    return Section("The prototypes", (text,), ((picture(figure, "loss, usage, intrinsic_reward"), "By frames of exploring."),))


def known(part: Part) -> Section | None:
    """What a linear function of the codes tells of the true state; and the map."""
    stage = part.stage
    if not stage.world.where or stage.world.engine != "dm_control":
        return None
    policy = stage.policy(part.state)
    trained, test = probes.passage(stage, policy, ROWS, 21), probes.passage(stage, policy, ROWS, 22)
    blind, blind_test = (probes.passage(stage, Uniform(stage.world.spec.action), ROWS, seed) for seed in (23, 24))
    both = probes.Passage(torch.cat([trained.observations, blind.observations]), torch.cat([trained.states, blind.states]))
    both_test = probes.Passage(torch.cat([test.observations, blind_test.observations]), torch.cat([test.states, blind_test.states]))
    shown = []
    if stage.pixels:
        ours = probes.linear_probe(stage.encoder(part.state), both, both_test, stage.world.places)
        theirs = probes.linear_probe(probes.untrained(stage, both), both, both_test, stage.world.places)
        rows = [(c.name, f"{a:.3f}", f"{b:.3f}") for c, a, b in zip(stage.world.where, ours, theirs, strict=True)]
        shown.append((table(("R² of a linear probe", "trained", "as it begins"), rows), "Ridge regression from codes to the true state, which no agent sees; judged on episodes that it was not fitted to."))  # fmt: skip
    figure, axes = canvas(8.6, 4.2, 2, sharex=True, sharey=True)
    names = stage.world.where[:2]
    for axis, way, title, colour in (
        (axes[0], trained, "the explorer" if isinstance(stage, Pretrain) else "the agent", ORANGE),
        (axes[1], blind, "random actions", INK),
    ):
        places = stage.world.places(way.states)
        axis.plot(places[:, 0], places[:, 1], ".", ms=2, color=colour, alpha=0.4)
        axis.set(title=title, xlabel=names[0].name, ylabel=names[1].name, xlim=(0, 1), ylim=(0, 1))
    # of an agent that learned a task, only what acts is published
    if "representation/model/prototypes" in part.state:
        stand = stage.world.places(probes.standing(stage, part.state, both))
        axes[0].plot(stand[:, 0], stand[:, 1], "+", ms=6, color=BLUE, label="nearest state of each prototype")
        axes[0].legend(fontsize=9, loc="upper right")
    shown.append((picture(figure, "places visited"), f"{ROWS} episodes each; axes are shares of each coordinate's range."))
    text = "Where the agent and one who draws its actions go in a few episodes, and what the agent's codes know of it."
    return Section("What it has seen, and what its codes know", (text,), tuple(shown))


def film(part: Part, seed: int, place: Path) -> str | None:
    """One episode, as people see it."""
    if part.stage.world.engine != "dm_control":
        return None
    frames = []
    with closing(part.stage.world) as env:
        assert isinstance(env, ControlEnv)
        for moment in stream(env, part.stage.policy(part.state), row_seeds(seed, 2)):
            frames.append(beside(env.picture(0), env.picture(1)))
            if moment.t + 1 >= FILM:
                break
    write_mp4(place, frames, fps=25)
    return video(place)


def films(parts: dict[str, Part]) -> Section | None:
    titles = {
        "pretrain": "The explorer, which knows of no task.",
        "finetune": "After learning the task.",
        "scratch": "After learning the task from nothing.",
    }
    shown = []
    with tempfile.TemporaryDirectory() as place:
        for name, part in parts.items():
            made = film(part, 31, Path(place) / f"{name}.mp4")
            shown += [(made, titles[name] + f" Two episodes, their first {FILM} steps.")] if made else []
    return Section("To look at", (), tuple(shown)) if shown else None


def now(part: Part) -> Section:
    """How well the last agent does."""
    with closing(part.stage.world) as env:
        result = evaluate(env, part.stage.policy(part.state), EPISODES, 7)
    low, high = result["ci95"]
    row = (part.stage.world.spec.name, f"{result['mean']:.0f}", f"{low:.0f} to {high:.0f}", f"{result['median']:.0f}")
    shown = table((f"{EPISODES} episodes", "mean", "95 % interval", "median"), [row])
    return Section("How well it does", (), ((shown, "Few episodes, for a first look; `sensorium evaluate` plays as many as you like."),))


def sections(folder: Path) -> Page:
    """The page of a run."""
    parts = gathered(folder)
    last = next(parts[name] for name in ("finetune", "scratch", "pretrain") if name in parts)
    made = [now(last), scores(parts)]
    if "pretrain" in parts:
        made += [exploring(parts["pretrain"]), prototypes(parts["pretrain"])]
    made += [known(parts.get("pretrain", last)), films(parts)]
    lead = (
        "An agent that first explores without any reward: it is paid for seeing what is far from all that it has seen, measured against prototypes that it learns on the way. "
        "Only then is it given a task."
    )
    facts = f"World: {last.stage.world.spec.name}. After Yarats et al. 2021, Reinforcement Learning with Prototypical Representations."
    return Page("Proto-RL: explore, then learn", lead, facts, [section for section in made if section is not None])
