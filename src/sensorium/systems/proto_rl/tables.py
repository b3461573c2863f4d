"""Published scores of Proto-RL as data, each with how its number was obtained, and ours beside them."""

from dataclasses import replace
from typing import Any

from sensorium.core import card, checkpoint
from sensorium.core.env import closing
from sensorium.core.errors import Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.table import Row, Table
from sensorium.systems.proto_rl.stages import Finetune

EPISODES = 10
"""of an evaluation, as in the paper's code"""

PIXELS = (
    ("acrobot_swingup", 115), ("cartpole_swingup_sparse", 730), ("reach_duplo", 114), ("pendulum_swingup", 847), ("cheetah_run", 662), ("hopper_hop", 218),
    ("quadruped_run", 347), ("walker_run", 578),
)  # fmt: skip
"""the paper's figure 4 at 1,000,000 frames, half of them without reward, read off its pixels (within 1 % of the axis); spread and seeds are not known"""
STATES = (
    ("walker_flip", 378, 4), ("walker_run", 225, 16), ("walker_stand", 828, 24), ("walker_walk", 610, 40), ("quadruped_jump", 426, 32),
    ("quadruped_run", 310, 22), ("quadruped_stand", 702, 59), ("quadruped_walk", 348, 55), ("jaco_reach_bottom_left", 130, 12),
    ("jaco_reach_bottom_right", 131, 11), ("jaco_reach_top_left", 134, 12),
)  # fmt: skip
"""Proto in URLB from states, 2,000,000 frames without reward and 100,000 with: the re-run printed in the README of MOSS (mean, error as given)"""
EXPERT = {
    "walker_stand": 984, "walker_walk": 971, "walker_run": 796, "walker_flip": 799, "quadruped_walk": 866, "quadruped_run": 888, "quadruped_stand": 920,
    "quadruped_jump": 888, "jaco_reach_top_left": 191, "jaco_reach_top_right": 223, "jaco_reach_bottom_left": 193, "jaco_reach_bottom_right": 203,
}  # fmt: skip
"""scores by which URLB divides (its authors, issue 1 of rll-research/url_benchmark)"""


def judged(folder: str, episodes: int | None, tasks: tuple[str, ...], pixels: bool) -> dict[str, dict[str, Any]]:
    """The score of one agent, under its task's name, and how it was trained; refused where the table has no such task."""
    path = checkpoint.agent(folder)
    stage = checkpoint.stage(path)
    if not isinstance(stage, Finetune) or stage.world.task not in tasks or stage.pixels != pixels:
        raise Usage(
            f"{path} was not fine-tuned for a task of this table; it has {', '.join(tasks)} from {'pixels' if pixels else 'states'}"
        )
    with closing(stage.world) as env:
        frames = (checkpoint.step_of(path) or 0) * stage.world.frames * stage.rows
        how = f"{stage.world.spec.name}, {frames:,} frames with reward"
        return {stage.world.task: {**evaluate(env, checkpoint.policy(path), episodes or EPISODES), "how": how}}


def shipped(recipe: str) -> dict[str, dict[str, Any]]:
    """Measured results of the zoo's agents of a recipe, by task."""
    found = {}
    for name, folder in checkpoint.shipped().items():
        results = card.read(checkpoint.agent(folder)).get("results", {})
        if name.startswith(f"{recipe}.") and "evaluation" in results:
            found[name.partition(".")[2]] = results["evaluation"]
    return found


def filled(rows: list[Row], names: tuple[str, ...], ours: dict[str, dict[str, Any]]) -> list[Row]:
    """The rows with our numbers; a cell says by what our agent was trained and looked at."""
    found = []
    for row, name in zip(rows, names, strict=True):
        mine = ours.get(name)
        cell = f"{row.cell}; ours: {mine['how']}" if mine and "how" in mine else row.cell
        found.append(replace(row, cell=cell).measured(mine) if mine else row)
    return found


def pixels(agent: str | None, episodes: int | None) -> Table:
    """The paper's eight tasks."""
    tasks = tuple(task for task, _ in PIXELS)
    rows = [Row(f"{task} (figure 4, digitised)", "at-least", mean, None, None) for task, mean in PIXELS]
    ours = judged(agent, episodes, tasks, True) if agent else shipped("proto-pixels")
    meaning = (
        "Paper: 500,000 frames without reward, then 500,000 with it. Our laptop preset has 80,000 and 80,000, and draws without shadows; "
        "its cards say so. Zoo agents are not evaluated anew: their cards hold what was measured."
    )
    return Table("Proto-RL from pixels, return after fine-tuning", filled(rows, tasks, ours), meaning)


def urlb_states(agent: str | None, episodes: int | None) -> Table:
    """Eleven tasks of URLB; the twelfth, jaco_reach_top_right, is missing where the numbers come from."""
    tasks = tuple(task for task, *_ in STATES)
    rows = [Row(f"{task} (re-run by MOSS; {mean / EXPERT[task]:.2f} of expert)", "at-least", mean, None, None) for task, mean, _ in STATES]
    ours = judged(agent, episodes, tasks, False) if agent else shipped("proto-states")
    errors = ", ".join(f"{task} {error}" for task, _, error in STATES)
    meaning = f"Published: 2,000,000 frames without reward, then 100,000 with it. Errors as published: {errors}. Our laptop preset explores for 200,000."
    return Table("Proto-RL from states in URLB, return after fine-tuning", filled(rows, tasks, ours), meaning)
