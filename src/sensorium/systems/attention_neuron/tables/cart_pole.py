"""The paper's tables of cart-pole as data, and the measurement of each cell (Tang & Ha 2021; 1,000 test episodes)."""

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
"""factor on the sum over sensors with ten channels instead of five (table 1, footnote)"""

OURS = ("cart-pole-clone", "cart-pole")
"""zoo agents compared with the paper's; the first that exists is used"""


@dataclass(frozen=True)
class Cell:
    """One cell of table 1: agent, senses, and the paper's result."""

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
"""steps between two shuffles (0: only one shuffle), mean and sd of the paper (table 6)"""
PROBE = (("position", 0.354), ("speed", 0.620), ("cos angle", 0.626), ("sin angle", 0.233), ("spin", 0.550))
"""R^2 of a linear regression from the code to each observation (table 2)"""


def _kind(policy: Policy) -> str:
    """Which of the agents of table 1 a policy is."""
    if isinstance(policy, SensoryPolicy):
        return "sensory"
    if isinstance(policy, FeedForwardPolicy):
        return f"mlp-{policy.agent.observations}"
    return "other"


def _agents(folder: str | None) -> dict[str, Policy]:
    """The agents of table 1 by kind: those of the zoo, or only the given one."""
    if folder:
        policy = checkpoint.policy(folder)
        if _kind(policy) not in ("sensory", "mlp-5", "mlp-10"):
            raise Usage(f"{folder} is not an agent of this table (AttentionNeuron, or a feed-forward network of 5 or 10 observations)")
        return {_kind(policy): policy}
    found = {"sensory": zoo.at_hand(*OURS), "mlp-5": zoo.at_hand("cart-pole-mlp"), "mlp-10": zoo.at_hand("cart-pole-mlp-10")}
    return {kind: checkpoint.policy(path) for kind, path in found.items() if path}


def _sensory(folder: str | None, table: str) -> SensoryPolicy | None:
    """The permutation-invariant agent of a table. Errors: core.errors.Usage if the folder holds another agent."""
    policy = _agents(folder).get("sensory")
    if folder and policy is None:
        raise Usage(f"{table} needs an AttentionNeuron agent; {folder} is a feed-forward network")
    assert policy is None or isinstance(policy, SensoryPolicy)
    return policy


def cart_pole(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 1: three agents with unaltered and altered senses."""
    agents, rows = _agents(folder), []
    for cell in CART_POLE:
        row, policy = Row(cell.cell, cell.aim, cell.paper_mean, cell.paper_sd, EPISODES), agents.get(cell.agent)
        if policy is not None:
            if cell.gain != 1 and isinstance(policy, SensoryPolicy):
                policy = replace(policy, agent=replace(policy.agent, gain=cell.gain))
            row = row.measured(under(policy, cell.senses, episodes or EPISODES))
        rows.append(row)
    meaning = "Hard starts: about four episodes in ten cannot be balanced by any policy, hence the large sd. With ten channels the sum over sensors is halved, as in the paper."
    return Table("Tang & Ha 2021, table 1 (mean ± sd of the return)", rows, meaning)


def cart_pole_reshuffle(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 6, column of cart-pole: sensors are reshuffled every t steps; the LSTM states are not moved with them."""
    policy, rows = _sensory(folder, "cart-pole-reshuffle"), []
    for every, mean, sd in RESHUFFLE:
        row = Row(f"every {every} steps" if every else "never again", "at-least", mean, sd, EPISODES)
        if policy is not None:
            row = row.measured(under(policy, f"shuffle:every={every}" if every else "shuffle", episodes or EPISODES))
        rows.append(row)
    meaning = (
        "After a reshuffle each neuron has another sensor, and its LSTM state still belongs to the old one. "
        "`--senses shuffle:every=100:forget` resets the state at each shuffle, which the paper does not do; recovery is then faster."
    )
    return Table("Tang & Ha 2021, table 6 (mean ± sd of the return)", rows, meaning)


def cart_pole_probe(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 2: R^2 of a linear regression from the code to the state."""
    policy = _sensory(folder, "cart-pole-probe")
    rows = [Row(name, "same", mean, None, EPISODES) for name, mean in PROBE]
    if policy is not None:
        # ten blocks of episodes with one regression each, for the interval
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
        "The code is the only input of the policy head. R² is the share of a quantity's variance that a linear function of the code explains: 1 is all, 0 is none. "
        "The code is trained for balancing only, not to represent the state. A low value does not mean that the code lacks the quantity; its relation to the code "
        "may be nonlinear. Agents with equal scores can have different codes, so a difference from the paper is not a failure."
    )
    return Table("Tang & Ha 2021, table 2 (R² of a linear regression from the code to the state)", rows, meaning)
