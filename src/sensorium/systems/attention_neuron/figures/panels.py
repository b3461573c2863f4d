"""Sections shared by the report pages of all tasks: agents, learning curves, scores with altered senses, recovery."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.core import card, checkpoint
from sensorium.core.env import closing
from sensorium.core.log import tracked
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.core.stage import folders
from sensorium.envs.wrappers import altered, wrapped
from sensorium.systems.attention_neuron.model import SensoryPolicy, VisionPolicy
from sensorium.systems.attention_neuron.tables.agents import TrainedAgent, find_agent
from sensorium.viz.curves import BLUE, INK, ORANGE, bars, canvas, picture, smooth
from sensorium.viz.report import Section, table

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
