"""Evaluation of a generation as jobs (`core.jobs`): in this process, in local processes, or on Ray.

A generation is split into jobs of `block` members x episodes. With block 0 one job holds the whole population and uses all threads of
this process. Other jobs use one torch thread and give the same bits everywhere.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core import jobs
from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.nets.agent import Agent


def block_scores(
    world: World, agent: Agent, vectors: Float[Tensor, "population n"], seeds: Int[Tensor, "population episodes"], compile: bool,
    first: int, last: int,
) -> Float[Tensor, "members 2"]:  # fmt: skip
    """The job of the members from `first` to before `last`: mean return and mean length of each."""
    # copies, so that memory alignment does not depend on where the job runs
    some, rows = vectors[first:last].clone(), seeds[first:last].clone()
    rollout = play(jobs.opened(world), agent.policy(some), rows.flatten(), compile=compile)
    parts = (rollout.returns, rollout.lengths.to(rollout.returns.dtype))
    return torch.stack([part.view(rows.shape).mean(1) for part in parts], 1)


def where(name: str, simulated: bool, block: int) -> str:
    """Where the generations of a stage are evaluated, and why; `name` is that of the world, and `simulated` as `core.jobs.simulated`."""
    if not block:
        return f"here: one job with the whole population (block 0) in {name}"
    place, kind = jobs.place_of(simulated), "a simulator" if simulated else "a world in torch"
    return f"{place}: jobs of {block} members in {name}, {kind}"


class Workers:
    """Evaluates candidates at the place chosen by `core.jobs.on`. Errors: core.errors.Usage for other places than `here` without a `block`."""

    def __init__(self, world: World, agent: Agent, block: int, compile: bool):
        self.world, self.agent, self.block, self.compile = world, agent, block, compile
        simulated = jobs.simulated(world)
        if not block and (place := jobs.place_of(simulated)) != "here":
            raise Usage(f"--on {place} distributes jobs, and this stage has only one; give --stage.block, e.g. 32 members per job")
        self.pool = jobs.open_pool(simulated)

    def scores(self, vectors: Float[Tensor, "population n"], seeds: Int[Tensor, "population episodes"]) -> Float[Tensor, "population 2"]:
        """Mean return and mean length of each candidate. Errors: core.errors.Failure where a job is lost too often."""
        shared, count = (self.world, self.agent, vectors, seeds, self.compile), len(vectors)
        if not self.block:
            return block_scores(*shared, 0, count)
        blocks = ((first, min(first + self.block, count)) for first in range(0, count, self.block))
        return torch.cat(list(self.pool.map(block_scores, blocks, shared))).to(vectors.device)

    def utilisation(self) -> float | None:
        """As `core.jobs.Utilised.utilisation`."""
        return self.pool.utilisation() if isinstance(self.pool, jobs.Utilised) else None

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()
