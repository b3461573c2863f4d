"""The paper's tables of agents on image patches as data, and the measurement of each cell (Tang & Ha 2021; 100 test episodes)."""

import os
from pathlib import Path
from typing import Literal

from sensorium.core.errors import Usage
from sensorium.core.table import Row, Table
from sensorium.envs.ant import Ant
from sensorium.envs.car_racing import CarFrames, CarPatches
from sensorium.envs.patches import SCENERY
from sensorium.envs.pong import Pong
from sensorium.imitation.clone import Clone
from sensorium.systems.attention_neuron.model import SensoryPolicy, VisionPolicy
from sensorium.systems.attention_neuron.tables.agents import TrainedAgent, find_agent

TRACKS = 100
"""test episodes of CarRacing"""
DRIVERS = (
    ("AttentionAgent", (901, 54), (-81, 4), (-57, 38), (-107, 50), (-56, 23)), ("NetRand", (480, 144), (20, 84), (356, 159), (533, 111), (-27, 34)),
    ("NetRand + AttentionAgent", (885, 64), (-51, 14), (709, 94), (656, 131), (122, 134)),
)  # fmt: skip
"""other agents of the CarRacing table: mean and sd without and with four backgrounds"""
BACKGROUNDS = (("kof", 646, 189), ("mt_fuji", 503, 152), ("ukiyoe", 661, 140), ("kimetsu", 171, 146))
"""the paper's backgrounds by file name (third-party artwork, not shipped); mean and sd of AttentionNeuron"""
EVERY = (25, 50, 100, 200, 500, 0)
"""steps between two shuffles; 0: only one shuffle"""
RESHUFFLED = {
    "Ant": ((2053, 225), (2319, 188), (2406, 178), (2493, 105), (2548, 87), (2576, 75)),
    "Pong": ((-20, 1), (-20, 2), (-10, 12), (-2, 17), (18, 9), (21, 0)),
    "CarRacing": ((732, 161), (772, 163), (768, 167), (774, 182), (805, 158), (801, 147)),
}
"""mean and sd by task (table 6; `cart-pole-reshuffle` has the column of cart-pole)"""
SHARES = tuple(tenth / 10 for tenth in range(10))
"""shares of occluded patches"""
OCCLUDED = (
    (21, -20, -20, -21, -21, -21, -21, -21, -21, -21), (21, 7, -5, -10, -16, -19, -21, -21, -21, -21), (21, 11, 5, -3, -8, -17, -20, -21, -20, -21),
    (21, 12, 4, -3, -9, -13, -20, -20, -21, -21), (21, 17, 8, 0, 0, -10, -16, -18, -21, -21), (21, 15, 17, 15, 15, 10, -4, -14, -20, -21),
    (21, 16, 11, 13, 10, 7, 2, -10, -17, -21), (21, 11, 6, 6, 5, -1, -4, -8, -16, -21), (1, -13, -15, -15, -16, -17, -18, -13, -17, -20),
    (-12, -17, -20, -20, -19, -20, -19, -21, -21, -20),
)  # fmt: skip
"""Pong: mean score by share of occluded patches in training (rows) and in the test (columns) (figure 5)"""


def car_racing(folder: str | None = None, episodes: int | None = None) -> Table:
    """The CarRacing table: in order, shuffled, with the paper's backgrounds if their files exist, and with ours."""
    driver, rows = find_agent(folder, (CarPatches, CarFrames), "car-patches", "car-patches-clone"), []
    baseline = driver is not None and isinstance(driver.world, CarFrames)

    def cell(name: str, aim: Literal["at-least", "same"], mean: float | None, sd: float | None, senses: str | None) -> None:
        row = Row(name, aim, mean, sd, TRACKS if mean is not None else None)
        if driver and senses is not None and name.startswith("AttentionAgent" if baseline else "AttentionNeuron"):
            row = row.measured(driver.scores(senses, episodes or TRACKS))
        rows.append(row)

    cell("AttentionNeuron, usual grass, patches in order", "at-least", 801, 147, "")
    cell("AttentionNeuron, usual grass, patches shuffled", "at-least", 801, 147, "patches")
    pictures = Path(os.environ.get("SENSORIUM_BACKGROUNDS", "backgrounds"))
    files = {name: pictures / f"{name}.jpg" for name, *_ in BACKGROUNDS}
    behind = {name: f"background:{file}" if file.is_file() else None for name, file in files.items()}
    for name, mean, sd in BACKGROUNDS:
        cell(f"AttentionNeuron, {name}", "at-least", mean, sd, behind[name])
    for who in ("AttentionNeuron", "AttentionAgent"):
        for name in SCENERY:
            cell(f"{who}, our background {name}", "same", None, None, f"background:{name}")
    for name, *scores in DRIVERS:
        for where, (mean, sd) in zip(("usual grass", *files), scores, strict=True):
            cell(f"{name}, {where}", "at-least" if where == "usual grass" else "same", mean, sd, {"usual grass": "", **behind}[where])
    meaning = (
        "The paper uses CarRacing-v0; this is version 3. The paper's backgrounds are not part of Sensorium: SENSORIUM_BACKGROUNDS names a folder with kof.jpg, "
        "mt_fuji.jpg, ukiyoe.jpg and kimetsu.jpg. AttentionAgent is evaluated if --agent names one. The rows with NetRand show the published numbers only."
    )
    return Table("Tang & Ha 2021, CarRacing (mean ± sd of the return over 100 tracks)", rows, meaning)


def occluded(agent: TrainedAgent) -> float:
    """The share of occluded patches in an agent's training; 70 % for the authors' released agent."""
    return agent.stage.sensor_dropout if isinstance(agent.stage, Clone) else 0.7


def pong(folder: str | None = None, episodes: int | None = None) -> Table:
    """Figure 5: occluded patches in training and in the test. An agent fills the row of its own training."""
    agent, rows = find_agent(folder, (Pong,), "pong-clone"), []
    trained = SHARES.index(share) if agent and (share := occluded(agent)) in SHARES else -1
    for row, means in enumerate(OCCLUDED):
        for share, mean in zip(SHARES, means, strict=True):
            cell = Row(f"{SHARES[row]:.0%} taken away in training, {share:.0%} in the test", "at-least", mean, None, TRACKS)
            senses = f"patches,occlude:{share:g}" if share else "patches"
            rows.append(cell.measured(agent.scores(senses, episodes or TRACKS)) if agent and row == trained else cell)
    meaning = (
        "Patches are shuffled in all cells. The occluded patches are drawn anew for each game. The paper gives no standard deviations."
    )
    return Table("Tang & Ha 2021, figure 5 (Pong, mean score of 100 games)", rows, meaning)


def reshuffle(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 6: sensors reshuffled every t steps in Ant, Pong and CarRacing."""
    worlds = {"Ant": (Ant,), "Pong": (Pong,), "CarRacing": (CarPatches,)}
    names = {"Ant": ("ant", "ant-clone"), "Pong": ("pong-clone",), "CarRacing": ("car-patches", "car-patches-clone")}
    given = find_agent(folder, (Ant, Pong, CarPatches)) if folder else None
    if given and not isinstance(given.policy, (SensoryPolicy, VisionPolicy)):
        raise Usage(f"reshuffle needs an AttentionNeuron agent; {folder} is not permutation-invariant")
    rows = []
    for task, column in RESHUFFLED.items():
        agent = find_agent(None, worlds[task], *names[task]) if given is None else given if isinstance(given.world, worlds[task]) else None
        treatment = "shuffle" if task == "Ant" else "patches"
        for every, (mean, sd) in zip(EVERY, column, strict=True):
            row = Row(f"{task}, every {every} steps" if every else f"{task}, never again", "at-least", mean, sd, TRACKS)
            senses = f"{treatment}:every={every}" if every else treatment
            rows.append(row.measured(agent.scores(senses, episodes or TRACKS)) if agent else row)
    meaning = (
        "The memory of agents on patches is the last four frames, so three steps after a reshuffle all inputs are valid again, except for a code averaged over time. "
        "The LSTM states of an Ant agent last longer and belong to the old sensors."
    )
    return Table("Tang & Ha 2021, sensors reshuffled every t steps (mean ± sd of the return)", rows, meaning)
