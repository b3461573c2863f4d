"""The paper's table of Ant (Tang & Ha 2021; 100 test episodes)."""

from typing import Literal

from sensorium.core.table import Row, Table
from sensorium.envs.ant import Ant
from sensorium.imitation.clone import Clone
from sensorium.systems.attention_neuron.model import SensoryPolicy
from sensorium.systems.attention_neuron.tables.agents import TrainedAgent, find_agent

EPISODES = 100
CELLS: tuple[tuple[str, str, str, Literal["at-least", "same"], float, float], ...] = (
    ("FNN teacher, in order", "teacher", "", "at-least", 2700, 28),
    ("FNN teacher, shuffled", "teacher", "shuffle", "same", 232, 112),
    ("AttentionNeuron by evolution, shuffled", "evolved", "shuffle", "at-least", 2576, 75),
    ("AttentionNeuron cloned, shuffled", "cloned", "shuffle", "at-least", 2034, 948),
    ("AttentionNeuron cloned, larger, shuffled", "larger", "shuffle", "at-least", 2579, 457),
)  # fmt: skip
"""cell, agent, senses, aim, mean and sd of the paper"""


def kind(agent: TrainedAgent) -> str:
    """Which of the table's agents this is: teacher, evolved, cloned or larger."""
    if not isinstance(agent.policy, SensoryPolicy):
        return "teacher"
    if not isinstance(agent.stage, Clone):
        return "evolved"
    return "larger" if agent.policy.agent.code > 32 else "cloned"


def ant(folder: str | None = None, episodes: int | None = None) -> Table:
    """The Ant table: a feed-forward teacher and permutation-invariant agents."""
    names = [None] if folder else ["ant-teacher", "ant", "ant-clone"]
    found = [find_agent(folder, (Ant,), *([name] if name else [])) for name in names]
    agents, rows = {kind(agent): agent for agent in found if agent}, []
    for cell, who, senses, aim, mean, sd in CELLS:
        row = Row(cell, aim, mean, sd, EPISODES)
        rows.append(row.measured(agents[who].scores(senses, episodes or EPISODES)) if who in agents else row)
    meaning = "The paper's teacher is evolved, ours is trained by soft actor-critic. The larger student has 128 units per layer instead of 32, and one layer more."
    return Table("Tang & Ha 2021, Ant (AntBulletEnv-v0, mean ± sd of the return over 100 episodes)", rows, meaning)
