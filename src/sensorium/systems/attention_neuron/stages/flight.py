"""Worlds in flight: episodes in torch that go on from one window of steps to the next, and begin anew when they end. They lie in a stage's state."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sensorium.core.env import TorchWorld, select
from sensorium.core.stage import State

Parts = tuple[Tensor, ...]
"""what a world's state or an agent's memory consists of, rows first"""


def begin(world: TorchWorld, seeds: Int[Tensor, "rows"], **memories: Parts) -> State:
    """The state of episodes that begin from their seeds, with blank memories shaped as the ones that are given."""
    # ages are spread over the horizon, so that every batch holds all phases of an episode
    state: State = {"ages": torch.arange(len(seeds), device=seeds.device) * world.spec.horizon // len(seeds)}
    keep(state, "world", tuple(part.clone() for part in world.initial(seeds)))
    for name, memory in memories.items():
        keep(state, name, tuple(torch.zeros(part.shape, device=part.device) for part in memory))
    return state


def keep(state: State, name: str, parts: Parts) -> None:
    """Put the parts into a state, as name/0, name/1, ..."""
    state.update({f"{name}/{i}": part.contiguous() for i, part in enumerate(parts)})


def group(state: State, name: str) -> Parts:
    """The tensors name/0, name/1, ... of a state."""
    return tuple(state[f"{name}/{i}"] for i in range(sum(key.startswith(f"{name}/") for key in state)))


@torch.no_grad()
def land(
    state: State,
    world: TorchWorld,
    seeds: Int[Tensor, "rows"],
    steps: int,
    ended: Bool[Tensor, "rows"],
    worlds: Parts,
    lives: Int[Tensor, "rows"] | None = None,
    **memories: Parts,
) -> None:
    """Keep what a window of so many steps has led to; rows that have ended or are as old as their lives (the horizon) begin anew from their seeds, without memory."""
    ages = state["ages"] + steps
    ended = ended | (ages >= (world.spec.horizon if lives is None else lives))
    state["ages"] = torch.where(ended, 0, ages)
    keep(state, "world", select(ended, world.initial(seeds), worlds))
    for name, memory in memories.items():
        keep(state, name, select(ended, tuple(torch.zeros_like(part) for part in memory), memory))
