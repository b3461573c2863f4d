"""Sections shared by the report pages of all tasks: agents, learning curves, scores with altered senses, recovery."""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from sensorium.core import card, checkpoint
from sensorium.core.env import closing
from sensorium.core.log import rows as log_rows
from sensorium.core.log import tracked
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.core.stage import folders
from sensorium.envs.wrappers import altered, wrapped
from sensorium.systems.attention_neuron.model import SensoryPolicy, VisionPolicy
from sensorium.systems.attention_neuron.tables.agents import TrainedAgent, find_agent
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, PINK, RED, SKY, canvas, close, picture, smooth
from sensorium.viz.report import Section, table

ROUND = re.compile(r"-\d+$")
"""suffix of the stage names of further rounds"""
OURS, TEACHER = "this run's agent", "its teacher"
COLOURS = {OURS: BLUE, TEACHER: ORANGE}


def facts_of(folder: Path) -> str:
    """One line with recipe, seed, machine and paper."""
    facts = card.read(checkpoint.agent(folder))
    machine = facts["machine"]
    return (
        f"recipe {facts.get('recipe') or '-'}, preset {facts.get('preset') or '-'}, seed {facts.get('seed')}; trained on {machine['processor']}, "
        f"{machine['cores']} cores, torch {machine['torch']}. After Tang & Ha 2021, 'The Sensory Neuron as a Transformer'."
    )


def agents_of(folder: Path) -> dict[str, TrainedAgent]:
    """The run's agent, and its teacher if there is one of the same world."""
    last = checkpoint.agent(folder)
    ours = find_agent(str(last), (object,))
    assert ours is not None
    found = {OURS: ours}
    for path in [last, *([] if last == folder else checkpoint.stages_of(folder))]:
        place = folders(checkpoint.placed(checkpoint.stage(path), path)).get("teacher", "")
        teacher = find_agent(place, (object,)) if place and Path(place).is_dir() else None
        if teacher and type(teacher.world) is type(ours.world):
            found[TEACHER] = teacher
    return found


def fits(agent: TrainedAgent, senses: str) -> bool:
    """Whether the agent accepts the number of channels after a treatment."""
    invariant = isinstance(agent.policy, (SensoryPolicy, VisionPolicy))
    return invariant or altered(agent.world, senses).spec.observation == agent.world.spec.observation


def bars(scores: dict[str, dict[str, Any]], labels: list[str], colours: dict[str, str], ylabel: str) -> str:
    """Bar chart of the scores by treatment with 95 % intervals, as HTML; 'n/a' where an agent has no score."""
    figure, axis = canvas(height=3.7)
    width = 0.8 / len(scores)
    for i, (name, results) in enumerate(scores.items()):
        for j, label in enumerate(labels):
            place = j + (i - (len(scores) - 1) / 2) * width
            if label not in results:
                axis.text(place, 0, " n/a", rotation=90, ha="center", va="bottom", fontsize=9, color=colours[name])
                continue
            mean, (low, high) = results[label]["mean"], results[label]["ci95"]
            axis.bar(place, mean, width * 0.92, color=colours[name], label=name if j == 0 else None)
            axis.errorbar(place, mean, [[mean - low], [high - mean]], color=INK, linewidth=1, capsize=2)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_xticks(range(len(labels)), ["\n".join(wrap(label, 12)) for label in labels], fontsize=9.5)
    axis.set(xlim=(-0.5, len(labels) - 0.5), ylabel=ylabel)
    axis.legend(fontsize=9.5, ncols=len(scores), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return picture(figure, "bar chart of scores by treatment")


def treatments(
    agents: dict[str, TrainedAgent], senses: tuple[tuple[str, str], ...], episodes: int, title: str, text: tuple[str, ...]
) -> Section:
    """Score with each specification of the senses, given as (label, specification)."""
    scores: dict[str, dict[str, Any]] = {name: {} for name in agents}
    cases = [(name, label, spec) for name, agent in agents.items() for label, spec in senses if fits(agent, spec)]
    for name, label, spec in tracked(cases, "altered senses"):
        scores[name][label] = agents[name].scores(spec, episodes)
    labels = [label for label, _ in senses]
    cells = [
        (name, *(f"{results[label]['mean']:.0f} ± {results[label]['sd']:.0f}" if label in results else "n/a" for label in labels))
        for name, results in scores.items()
    ]
    few = f"Mean of {episodes} episodes only, with 95 % intervals; `sensorium evaluate --episodes N` plays more."
    return Section(
        title, text, ((bars(scores, labels, COLOURS, "mean score"), few), (table(("mean ± sd", *labels), cells), "All cells have the same initial states.")),
    )  # fmt: skip


def learning(folder: Path) -> Section:
    """Learning curves of the run's stages against steps and minutes, and the loss of cloning stages."""
    stages = [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)
    stages = [path for path in stages if log_rows(path / "metrics.jsonl")]
    figure, axes = canvas(columns=2, height=3.3, sharey=True)
    losses, loss_axis = canvas(height=2.4)
    passed, minutes_passed, colours = 0, 0.0, (BLUE, ORANGE, PINK, GREEN, SKY, RED, INK)
    # rounds of one stage have the same colour: teach, teach-2, ...
    kinds = [ROUND.sub("", path.name.partition("-")[2] or path.name) for path in stages]
    ranks = {name: rank for rank, name in enumerate(reversed(list(dict.fromkeys(kinds))))}
    for number, path in enumerate(stages):
        colour = colours[ranks[kinds[number]] % len(colours)]
        name = kinds[number] if kinds[number] not in kinds[:number] else None
        times = {row["step"]: row["seconds"] / 60 for row in log_rows(path / "times.jsonl") if "seconds" in row}
        metrics = [row for row in log_rows(path / "metrics.jsonl") if row["step"] in times]
        if not metrics:
            continue
        minutes = np.array([times[row["step"]] for row in metrics]) + minutes_passed
        for axis, x in ((axes[0], np.array([row["step"] for row in metrics]) + passed), (axes[1], minutes)):
            window = max(len(metrics) // 40, 1)
            if "score/mean" in metrics[0]:
                mean = smooth([row["score/mean"] for row in metrics], window)
                axis.plot(x, mean, color=colour, linewidth=1, alpha=0.7)
                if "score/sd" in metrics[0]:
                    sd = smooth([row["score/sd"] for row in metrics], window)
                    axis.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.25, linewidth=0)
            points = [(place, row["score/agent"]) for place, row in zip(x, metrics, strict=True) if "score/agent" in row]
            axis.plot(*(zip(*points, strict=True) if points else ([], [])), color=colour, linewidth=2, marker=".", label=name)
        if "loss" in metrics[0]:
            loss_axis.plot(minutes, [row["loss"] for row in metrics], color=colour, label=name)
        passed += metrics[-1]["step"]
        minutes_passed += times[metrics[-1]["step"]]
    axes[0].set(xlabel="steps of all stages", ylabel="score")
    axes[1].set(xlabel="minutes")
    if axes[0].lines:
        axes[0].legend(fontsize=9.5)
    loss_axis.set(xlabel="minutes", ylabel="loss")
    shown = [(picture(figure, "learning curves"), "Dots: the agent on separate episodes. Thin lines and bands: training episodes, mean and standard deviation over candidates.")]  # fmt: skip
    if loss_axis.lines:
        loss_axis.legend(fontsize=9.5)
        shown.append(
            (
                picture(losses, "loss"),
                "Loss between the actions of student and teacher: mean squared error, or cross-entropy for discrete actions.",
            )
        )
    else:
        close(losses)
    return Section("Learning curves", ("The stages are drawn one after another.",), tuple(shown))


@dataclass(frozen=True)
class RewardRate:
    """Mean reward and its standard error around a reshuffle at step `at`, one value per step."""

    at: int
    mean: np.ndarray
    error: np.ndarray


def reward_rate(agent: TrainedAgent, treatment: str, at: int, episodes: int, window: int = 25) -> RewardRate:
    """Mean reward per step, smoothed over `window` steps, around a reshuffle at step `at`; 0 after the end of an episode."""
    world, policy = wrapped(agent.world, agent.policy, f"{treatment}:every={at}")
    with closing(world) as env:
        rewards = play(env, policy, row_seeds(5, episodes), keep=("rewards",)).rewards.numpy()
    padded = np.zeros((2 * at, episodes))
    padded[: len(rewards)] = rewards[: 2 * at]
    smoothed = np.stack([smooth(padded[:, i], window) for i in range(episodes)], 1)
    return RewardRate(at, smoothed.mean(1), smoothed.std(1) / max(episodes, 1) ** 0.5)


def recovery_section(agents: dict[str, TrainedAgent], treatment: str, episodes: int, text: str) -> Section | None:
    """Reward rate around a reshuffle in the middle of an episode."""
    at = min(500, agents[OURS].world.spec.horizon // 2)
    if at < 50:
        return None
    figure, axis = canvas(height=3.0)
    for name, agent in agents.items():
        found = reward_rate(agent, treatment, at, episodes)
        x = np.arange(len(found.mean)) - at
        axis.plot(x, found.mean, color=COLOURS[name], label=name)
        axis.fill_between(x, found.mean - found.error, found.mean + found.error, color=COLOURS[name], alpha=0.25, linewidth=0)
    axis.axvline(0, color=INK)
    axis.set(xlabel="steps since the reshuffle", ylabel="reward per step", xlim=(-min(at, 150), min(at, 350)))
    axis.legend(fontsize=9.5)
    caption = f"Mean of {episodes} episodes over windows of 25 steps, ± one standard error; shuffled at the start and at the vertical line."
    return Section("Recovery from a reshuffle", (text,), ((picture(figure, "reward rate around a reshuffle"), caption),))
