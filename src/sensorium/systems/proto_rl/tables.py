"""Published scores of Proto-RL with their sources, and our measured scores."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.core import card, checkpoint
from sensorium.core.env import frames_per_episode
from sensorium.core.errors import Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.table import Row, Table
from sensorium.envs.control import Control
from sensorium.systems.proto_rl.stages import Finetune, Pretrain

EPISODES = 10
"""episodes of an evaluation, as in the paper's code"""

PIXELS = (
    ("acrobot_swingup", 115), ("cartpole_swingup_sparse", 730), ("reach_duplo", 114), ("pendulum_swingup", 847), ("cheetah_run", 662), ("hopper_hop", 218),
    ("quadruped_run", 347), ("walker_run", 578),
)  # fmt: skip
"""paper, figure 4 at 1,000,000 frames, half of them without reward; digitised to within 1 % of the axis; spread and seeds are not known"""
STATES = (
    ("walker_flip", 378, 4), ("walker_run", 225, 16), ("walker_stand", 828, 24), ("walker_walk", 610, 40), ("quadruped_jump", 426, 32),
    ("quadruped_run", 310, 22), ("quadruped_stand", 702, 59), ("quadruped_walk", 348, 55), ("jaco_reach_bottom_left", 130, 12),
    ("jaco_reach_bottom_right", 131, 11), ("jaco_reach_top_left", 134, 12),
)  # fmt: skip
"""Proto-RL in URLB from states, 2,000,000 frames without reward and 100,000 with; from the README of MOSS (task, mean, error as given)"""
EXPERT = {
    "walker_stand": 984, "walker_walk": 971, "walker_run": 796, "walker_flip": 799, "quadruped_walk": 866, "quadruped_run": 888, "quadruped_stand": 920,
    "quadruped_jump": 888, "jaco_reach_top_left": 191, "jaco_reach_top_right": 223, "jaco_reach_bottom_left": 193, "jaco_reach_bottom_right": 203,
}  # fmt: skip
"""expert scores by which URLB normalises (its authors, issue 1 of rll-research/url_benchmark)"""


class Protocol(NamedTuple):
    """How an agent was trained, as far as scores depend on it."""

    unlabelled: int
    """frames without reward; 0 if unknown"""
    labelled: int
    """frames with reward"""
    visuals: str = ""
    """full or fast, of pixels"""


PAPER, URLB = Protocol(500_000, 500_000, "full"), Protocol(2_000_000, 100_000)
"""figure 4 of the paper; URLB"""


def protocol(path: Path) -> Protocol:
    """The protocol of a fine-tuned agent, from its card and the card of its pre-training next to it."""
    stage = checkpoint.placed(checkpoint.stage(path), path)
    assert isinstance(stage, Finetune)
    before = Path(stage.pretrained)
    explorer = checkpoint.stage(before) if (before / "card.json").exists() else None
    unlabelled = frames(explorer, before) if isinstance(explorer, Pretrain) else 0
    return Protocol(unlabelled, frames(stage, path), stage.world.visuals if isinstance(stage.world, Control) and stage.world.pixels else "")


def frames(stage: Pretrain | Finetune, path: Path) -> int:
    """Frames of the steps that a stage has taken."""
    return (checkpoint.step_of(path) or 0) * frames_per_episode(stage.world) * stage.rows


def evaluated(folder: str, episodes: int | None, tasks: tuple[str, ...], pixels: bool) -> dict[str, dict[str, Any]]:
    """Task name -> score of one agent and how it was trained. Errors: core.errors.Usage if the table has no such task."""
    path = checkpoint.agent(folder)
    stage = checkpoint.stage(path)
    if (
        not isinstance(stage, Finetune)
        or not isinstance(stage.world, Control)
        or stage.world.task not in tasks
        or stage.world.pixels != pixels
    ):
        raise Usage(
            f"{path} was not fine-tuned for a task of this table; it has {', '.join(tasks)} from {'pixels' if pixels else 'states'}"
        )
    how = f"{stage.world.spec.name}, {frames(stage, path):,} frames with reward"
    result = evaluate(stage.world, checkpoint.policy(path), episodes or EPISODES)
    return {stage.world.task: {**result, "how": how, "protocol": protocol(path)}}


def zoo_results(recipe: str) -> dict[str, dict[str, Any]]:
    """Task name -> measured result, from the cards of the zoo's agents of a recipe."""
    found = {}
    for name, folder in checkpoint.shipped().items():
        path = checkpoint.agent(folder)
        results = card.read(path).get("results", {})
        if name.startswith(f"{recipe}.") and "evaluation" in results:
            found[name.partition(".")[2]] = {**results["evaluation"], "protocol": protocol(path)}
    return found


def with_results(rows: list[Row], names: tuple[str, ...], ours: dict[str, dict[str, Any]], published: Protocol) -> list[Row]:
    """The rows with our results; each cell says how our agent was trained, and is comparable if that is the published protocol."""
    found = []
    for row, name in zip(rows, names, strict=True):
        mine = ours.get(name)
        cell = f"{row.cell}; ours: {mine['how']}" if mine and "how" in mine else row.cell
        found.append(replace(row, cell=cell, comparable=mine["protocol"] == published).measured(mine) if mine else row)
    return found


def pixels(agent: str | None, episodes: int | None) -> Table:
    """The eight tasks of figure 4 of the paper, from pixels."""
    tasks = tuple(task for task, _ in PIXELS)
    rows = [Row(f"{task} (figure 4, digitised)", "at-least", mean, None, None) for task, mean in PIXELS]
    ours = evaluated(agent, episodes, tasks, True) if agent else zoo_results("proto-pixels")
    meaning = (
        "Paper: 500,000 frames without reward, then 500,000 with reward. Our laptop preset: 80,000 and 80,000, rendered without shadows. "
        "Results of zoo agents are read from their cards; the agents are not evaluated again."
    )
    return Table("Proto-RL from pixels, return after fine-tuning", with_results(rows, tasks, ours, PAPER), meaning)


def urlb_states(agent: str | None, episodes: int | None) -> Table:
    """Eleven tasks of URLB from states. The source has no number for the twelfth task, jaco_reach_top_right."""
    tasks = tuple(task for task, *_ in STATES)
    rows = [Row(f"{task} (re-run by MOSS; {mean / EXPERT[task]:.2f} of expert)", "at-least", mean, None, None) for task, mean, _ in STATES]
    ours = evaluated(agent, episodes, tasks, False) if agent else zoo_results("proto-states")
    errors = ", ".join(f"{task} {error}" for task, _, error in STATES)
    meaning = (
        f"Published: 2,000,000 frames without reward, then 100,000 with reward. Errors as published: {errors}. "
        "Our laptop preset: 200,000 frames without reward."
    )
    return Table("Proto-RL from states in URLB, return after fine-tuning", with_results(rows, tasks, ours, URLB), meaning)
