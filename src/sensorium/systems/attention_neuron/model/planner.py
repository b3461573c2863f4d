"""Planner: a player of Pong that nobody has taught. It reads the console's memory, knows where the ball will come down, and aims."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.envs.pong import BUTTONS, HIGHEST, LOWEST, STRIDE, crossing

UP, DOWN = 2, 3
"""buttons"""
MOMENTS = (0.0, 0.25, 0.5, 0.75)
"""steps after the crossing at which paddle and ball may meet: where exactly in a step is not known"""
SOON = 6.0
"""steps after which to be where it waits"""
REACH = (-4.0, 15.0)
"""lines between ball and paddle at which it still plays the ball back"""


def glide(
    place: Float[Tensor, "rows"], rest: Float[Tensor, "rows"], odd: Float[Tensor, "rows"], moves: Float[Tensor, "plans k"], steps: int
) -> Float[Tensor, "steps rows plans"]:
    """Where the paddle is after 0, 1, ... steps of each plan of moves. Each step leaves a share of its way to where it will rest; how large a
    share, and how much of a new move, depends on whether the console counts odd frames (measured)."""
    rest, odd = rest[:, None].expand(-1, len(moves)), odd[:, None] > 0
    left = rest - place[:, None]
    places = [rest - left]
    for k in range(steps):
        after = (rest + STRIDE * moves[:, k]).clamp(HIGHEST, LOWEST) if k < moves.shape[1] else rest
        share = (after - rest) / STRIDE
        rest, left = after, torch.where(odd, 0.25 * left + 12.3 * share, 0.217 * left + 17.0 * share)
        places.append(rest - left)
    return torch.stack(places)


@dataclass(frozen=True)
class Planner:
    """Tries all plans of a few moves and begins the best: the ball is to meet the paddle's upper edge, which sends it back at its steepest.

    It forgets everything and waits for every ball in the same place, so that a point is played like the one before it: a student that sees patches in
    any order hardly knows where on the screen a ball is, but can tell which moment of a rally it sees that it has learned.
    """

    edge: float = -1.0
    """lines between ball and paddle at which to meet"""
    wait: float = 150.0
    """the line on which the paddle rests while no ball comes"""
    moves: int = 4
    """of a plan"""
    ahead: int = 13
    """steps after which a plan is over"""
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "Planner":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> tuple[()]:
        return ()

    def act(self, obs: Float[Tensor, "rows 8"], memory: Any, t: int | Tensor) -> tuple[Float[Tensor, "rows 6"], Any]:
        x, y, dx, dy, place, rest, _, odd = obs.unbind(1)
        plans = torch.tensor(list(product((0.0, -1.0, 1.0), repeat=self.moves)), device=obs.device)
        places = glide(place, rest, odd, plans, self.ahead)
        there, steps = crossing(x, y, dx, dy)

        def apart(line: Tensor, when: Tensor) -> Float[Tensor, "rows plans"]:
            """Lines between the paddle at a moment and a place."""
            when = when.clamp(0, self.ahead - 1.01)
            first, share, rows = when.long(), (when - when.floor())[:, None], torch.arange(len(obs), device=obs.device)
            return line[:, None] - torch.lerp(places[first, rows], places[first + 1, rows], share)

        meetings = torch.stack([apart(there + dy * moment, steps + moment) for moment in MOMENTS])
        missed = torch.maximum(REACH[0] - meetings, meetings - REACH[1]).amax(0).clamp(min=0)
        idle = apart(torch.full_like(y, self.wait), torch.full_like(y, SOON)).abs()
        cost = torch.where((dx > 0)[:, None], (meetings - self.edge).abs().amax(0) + 20 * missed, idle) + 0.2 * plans.abs().sum(1)
        move = plans[cost.argmin(1), 0]
        button = torch.where(move > 0, DOWN, torch.where(move < 0, UP, 0))
        return torch.nn.functional.one_hot(button, BUTTONS).to(obs.dtype), memory
