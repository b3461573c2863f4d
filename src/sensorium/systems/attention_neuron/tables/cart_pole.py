"""The paper's tables of cart-pole, as data, and how each cell is measured (Tang & Ha 2021; 1,000 test episodes)."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sensorium.core import checkpoint, zoo
from sensorium.core.errors import Usage
from sensorium.core.policy import Policy
from sensorium.core.stats import bootstrap_interval
from sensorium.core.table import Row, Table
from sensorium.systems.attention_neuron.model import FeedForwardPolicy, SensoryPolicy
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
PROBE = (("position", 0.354), ("speed", 0.620), ("cos angle", 0.626), ("sin angle", 0.233), ("spin", 0.550))
"""R^2 of a linear regression from the code to each observation (table 2)"""


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
    found = {"sensory": zoo.at_hand(*OURS), "mlp-5": zoo.at_hand("cart-pole-mlp"), "mlp-10": zoo.at_hand("cart-pole-mlp-10")}
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
