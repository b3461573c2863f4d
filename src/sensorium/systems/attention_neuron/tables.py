"""The paper's tables, as data, and how each cell is measured (Tang & Ha 2021; 1,000 test episodes of cart-pole, 100 of CarRacing)."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium.core import checkpoint
from sensorium.core.env import closing
from sensorium.core.errors import Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.policy import Policy
from sensorium.core.stats import bootstrap_interval
from sensorium.core.table import Row, Table
from sensorium.envs.car_racing import CarPatches
from sensorium.envs.eyes import SCENERY
from sensorium.systems.attention_neuron.model import FeedForwardPolicy, SensoryPolicy, VisionPolicy
from sensorium.systems.attention_neuron.probes import codes, r_squared, under

EPISODES = 1000
HALF = 0.5
"""factor on the summed message when the agent hears ten channels instead of five (table 1, footnote)"""

OURS = ("cart-pole-clone", "cart-pole")
"""zoo agents that stand for the paper's, the first that is there"""


@dataclass(frozen=True)
class Cell:
    """One cell of table 1: which agent, under which senses, and what the paper says."""

    cell: str
    agent: Literal["sensory", "mlp-5", "mlp-10"]
    senses: str
    aim: Literal["at-least", "same"]
    paper_mean: float
    paper_sd: float
    gain: float = 1.0


CART_POLE = (
    Cell("FNN trained with 5, 5 observations", "mlp-5", "", "at-least", 593, 433),
    Cell("FNN trained with 5, shuffled", "mlp-5", "shuffle", "same", 38, 120),
    Cell("FNN trained with 10, 10 observations", "mlp-10", "duplicate", "at-least", 593, 433),
    Cell("FNN trained with 10, 5 and 5 of noise", "mlp-10", "noise:5", "same", 137, 242),
    Cell("AttentionNeuron, 5 observations", "sensory", "", "at-least", 472, 426),
    Cell("AttentionNeuron, shuffled", "sensory", "shuffle", "at-least", 471, 426),
    Cell("AttentionNeuron, 10 observations", "sensory", "duplicate", "at-least", 471, 425, HALF),
    Cell("AttentionNeuron, 5 and 5 of noise", "sensory", "noise:5", "at-least", 461, 410, HALF),
)
RESHUFFLE = ((25, 107, 146), (50, 163, 198), (100, 242, 254), (200, 318, 310), (500, 407, 380), (0, 472, 426))
"""steps between two orders (0: only one), paper's mean and sd (table 6)"""
TRACKS = 100
"""test episodes of CarRacing"""
DRIVERS = (
    ("AttentionAgent", (901, 54), (-81, 4), (-57, 38), (-107, 50), (-56, 23)), ("NetRand", (480, 144), (20, 84), (356, 159), (533, 111), (-27, 34)),
    ("NetRand + AttentionAgent", (885, 64), (-51, 14), (709, 94), (656, 131), (122, 134)),
)  # fmt: skip
"""other agents of the CarRacing table: on the usual grass, and on four backgrounds"""
BACKGROUNDS = (("kof", 646, 189), ("mt_fuji", 503, 152), ("ukiyoe", 661, 140), ("kimetsu", 171, 146))
"""the paper's backgrounds, by the names of its files, which are others' art and not shipped; AttentionNeuron's mean and sd"""
DRIVER_RESHUFFLED = ((25, 732, 161), (50, 772, 163), (100, 768, 167), (200, 774, 182), (500, 805, 158), (0, 801, 147))
"""steps between two orders of the patches (0: only one), mean and sd of CarRacing (table of reshuffling)"""
PROBE = (("position", 0.354), ("speed", 0.620), ("cos angle", 0.626), ("sin angle", 0.233), ("spin", 0.550))
"""R^2 of a linear regression from the code to each observation (table 2)"""


def _zoo(*names: str) -> Path | None:
    """The first of these agents that ships with the checkout."""
    return next((checkpoint.ZOO / name for name in names if (checkpoint.ZOO / name).is_dir()), None)


def _kind(policy: Policy) -> str:
    """Which of table 1's agents a policy is."""
    if isinstance(policy, SensoryPolicy):
        return "sensory"
    if isinstance(policy, FeedForwardPolicy):
        return f"mlp-{policy.agent.observations}"
    return "other"


def _agents(folder: str | None) -> dict[str, Policy]:
    """The agents of table 1 by kind: the zoo's, or only the one that is to be judged."""
    if folder:
        policy = checkpoint.policy(folder)
        if _kind(policy) not in ("sensory", "mlp-5", "mlp-10"):
            raise Usage(f"{folder} is none of this table's agents (AttentionNeuron, or a feed-forward network of 5 or 10 observations)")
        return {_kind(policy): policy}
    found = {"sensory": _zoo(*OURS), "mlp-5": _zoo("cart-pole-mlp"), "mlp-10": _zoo("cart-pole-mlp-10")}
    return {kind: checkpoint.policy(path) for kind, path in found.items() if path}


def _sensory(folder: str | None, table: str) -> SensoryPolicy | None:
    """The permutation-invariant agent that a table is about."""
    policy = _agents(folder).get("sensory")
    if folder and policy is None:
        raise Usage(f"{table} is about AttentionNeuron; {folder} is a feed-forward network")
    assert policy is None or isinstance(policy, SensoryPolicy)
    return policy


def cart_pole(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 1: three agents under four conditions."""
    agents, rows = _agents(folder), []
    for cell in CART_POLE:
        row, policy = Row(cell.cell, cell.aim, cell.paper_mean, cell.paper_sd, EPISODES), agents.get(cell.agent)
        if policy is not None:
            if cell.gain != 1 and isinstance(policy, SensoryPolicy):
                policy = replace(policy, agent=replace(policy.agent, gain=cell.gain))
            row = row.measured(under(policy, cell.senses, episodes or EPISODES))
        rows.append(row)
    meaning = "Hard starts: about four episodes in ten cannot be saved, hence the large sd. With ten channels what the sensors say together is halved, as in the paper."
    return Table("Tang & Ha 2021, table 1 (mean ± sd of the return)", rows, meaning)


def cart_pole_reshuffle(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 6, cart-pole's column: a new order of the senses every t steps, the neurons' memory left with its slot."""
    policy, rows = _sensory(folder, "cart-pole-reshuffle"), []
    for every, mean, sd in RESHUFFLE:
        row = Row(f"every {every} steps" if every else "never again", "at-least", mean, sd, EPISODES)
        if policy is not None:
            row = row.measured(under(policy, f"shuffle:every={every}" if every else "shuffle", episodes or EPISODES))
        rows.append(row)
    meaning = (
        "Each neuron has to find out anew which sensor it is connected to, with a memory that still believes in the old one. "
        "`--senses shuffle:every=100:forget` clears the memory instead, which the paper does not do; it recovers faster."
    )
    return Table("Tang & Ha 2021, table 6 (mean ± sd of the return)", rows, meaning)


def cart_pole_probe(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 2: how much of the state can be read off the code by a linear function."""
    policy = _sensory(folder, "cart-pole-probe")
    rows = [Row(name, "same", mean, None, EPISODES) for name, mean in PROBE]
    if policy is not None:
        # ten blocks of episodes, a regression each: their spread gives the interval
        per_block = max((episodes or EPISODES) // 10, 1)
        scores = np.stack([r_squared(*codes(policy, per_block, seed)).numpy() for seed in range(10)])
        for i, row in enumerate(rows):
            column = scores[:, i]
            summary = {
                "mean": float(column.mean()),
                "sd": float(column.std(ddof=1)),
                "ci95": bootstrap_interval(column),
                "episodes": 10 * per_block,
            }
            rows[i] = row.measured(summary)
    meaning = (
        "The code is what the policy knows of the world. A linear regression asks how much of each quantity could be read straight off it: 1 would mean "
        "all of it, 0 none. The code was never trained to describe the state, only to balance a pole, and yet quantities that matter for balancing show "
        "through. A low number does not mean that the code lacks the quantity, only that it is not written there in a straight line; two agents that "
        "score alike may write differently, so a difference from the paper here is a difference of handwriting and not a failure."
    )
    return Table("Tang & Ha 2021, table 2 (R² of a linear regression from the code to the state)", rows, meaning)


def _driver(folder: str | None) -> tuple[VisionPolicy, CarPatches] | None:
    """The driver that a table is about, and its world."""
    place = folder or _zoo("car-patches")
    if place is None:
        return None
    stage, policy = checkpoint.stage(checkpoint.agent(place)), checkpoint.policy(place)
    world = getattr(stage, "world", None)
    if not isinstance(policy, VisionPolicy) or not isinstance(world, CarPatches):
        raise Usage(f"{place} is no driver of CarRacing that sees patches")
    return policy, world


def _drives(driver: tuple[VisionPolicy, CarPatches], senses: str, episodes: int) -> dict[str, Any]:
    """Scores of a driver under some senses."""
    with closing(replace(driver[1], senses=senses)) as env:
        return evaluate(env, driver[0], episodes)


def car_racing(folder: str | None = None, episodes: int | None = None) -> Table:
    """The CarRacing table: in order, shuffled, before the paper's backgrounds where their files are at hand, and before ours."""
    driver, count, rows = _driver(folder), episodes or TRACKS, []

    def cell(name: str, aim: Literal["at-least", "same"], mean: float | None, sd: float | None, senses: str | None) -> None:
        row = Row(name, aim, mean, sd, TRACKS if mean is not None else None)
        rows.append(row.measured(_drives(driver, senses, count)) if driver is not None and senses is not None else row)

    cell("AttentionNeuron, usual grass, patches in order", "at-least", 801, 147, "")
    cell("AttentionNeuron, usual grass, patches shuffled", "at-least", 801, 147, "patches")
    pictures = Path(os.environ.get("SENSORIUM_BACKGROUNDS", "backgrounds"))
    for name, mean, sd in BACKGROUNDS:
        file = pictures / f"{name}.jpg"
        cell(f"AttentionNeuron, {name}", "at-least", mean, sd, f"background:{file}" if file.is_file() else None)
    for name in SCENERY:
        cell(f"AttentionNeuron, our background {name}", "same", None, None, f"background:{name}")
    for name, *scores in DRIVERS:
        for where, (mean, sd) in zip(("usual grass", *(b for b, *_ in BACKGROUNDS)), scores, strict=True):
            cell(f"{name}, {where}", "same", mean, sd, None)
    meaning = (
        "The paper drove CarRacing-v0; this is version 3. Its backgrounds are others' art: SENSORIUM_BACKGROUNDS names a folder with kof.jpg, mt_fuji.jpg, "
        "ukiyoe.jpg and kimetsu.jpg. Rows of other agents are printed as published."
    )
    return Table("Tang & Ha 2021, CarRacing (mean ± sd of the return over 100 tracks)", rows, meaning)


def reshuffle(folder: str | None = None, episodes: int | None = None) -> Table:
    """The table of reshuffling, CarRacing's column."""
    driver, rows = _driver(folder), []
    for every, mean, sd in DRIVER_RESHUFFLED:
        row = Row(f"CarRacing, every {every} steps" if every else "CarRacing, never again", "at-least", mean, sd, TRACKS)
        if driver is not None:
            row = row.measured(_drives(driver, f"patches:every={every}" if every else "patches", episodes or TRACKS))
        rows.append(row)
    meaning = "What an agent has seen lies in the last four frames, so it is itself again three steps after a reshuffle, but for its averaged code."
    return Table("Tang & Ha 2021, patches in a new order every t steps (mean ± sd of the return)", rows, meaning)
