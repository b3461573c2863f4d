"""Planner: a scripted policy for Pong. It reads the console's memory, predicts where the ball arrives, and searches over paddle moves."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.envs.pong import BUTTONS, HIGHEST, LOWEST, STRIDE, crossing

UP, DOWN = 2, 3
"""buttons"""
CONTACT_TIMES = (0.0, 0.25, 0.5, 0.75)
"""possible contact times, in steps after the ball crosses the paddle's column; the exact time within a step is not known"""
IDLE_STEPS = 6.0
"""steps after which the paddle should be at its waiting position"""
REACH = (-4.0, 15.0)
"""range of lines between ball and paddle in which the paddle returns the ball"""


def paddle_positions(
    place: Float[Tensor, "rows"], rest: Float[Tensor, "rows"], odd: Float[Tensor, "rows"], moves: Float[Tensor, "plans k"], steps: int
) -> Float[Tensor, "steps rows plans"]:
    """Paddle position, in lines, after 0 to `steps` steps of each plan of moves in {-1, 0, 1}.

    Each step reduces the distance to the rest position by a factor. This factor and the effect of a new move depend on the parity of the
    console's frame counter; both are measured.
    """
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
    """Evaluates all plans of a few moves and executes the first move of the best. Target: contact with the upper edge (steepest return).

    It has no memory and always waits at the same position, so all points are played alike. This makes it a good teacher: a student that
    receives patches in any order can hardly locate the ball, but it can recognise situations from training.
    """

    edge: float = -1.0
    """target distance between ball and paddle at contact, in lines"""
    wait: float = 150.0
    """paddle position while no ball approaches, in lines"""
    moves: int = 4
    """moves of a plan"""
    ahead: int = 13
    """planning horizon in steps"""
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "Planner":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> tuple[()]:
        return ()

    def act(self, obs: Float[Tensor, "rows 8"], memory: Any, t: int | Tensor) -> tuple[Float[Tensor, "rows 6"], Any]:
        x, y, dx, dy, place, rest, _, odd = obs.unbind(1)
        plans = torch.tensor(list(product((0.0, -1.0, 1.0), repeat=self.moves)), device=obs.device)
        places = paddle_positions(place, rest, odd, plans, self.ahead)
        there, steps = crossing(x, y, dx, dy)

        def gap(line: Tensor, when: Tensor) -> Float[Tensor, "rows plans"]:
            """Distance in lines between `line` and the paddle at step `when`, which is interpolated."""
            when = when.clamp(0, self.ahead - 1.01)
            first, share, rows = when.long(), (when - when.floor())[:, None], torch.arange(len(obs), device=obs.device)
            return line[:, None] - torch.lerp(places[first, rows], places[first + 1, rows], share)

        gaps = torch.stack([gap(there + dy * time, steps + time) for time in CONTACT_TIMES])
        missed = torch.maximum(REACH[0] - gaps, gaps - REACH[1]).amax(0).clamp(min=0)
        idle = gap(torch.full_like(y, self.wait), torch.full_like(y, IDLE_STEPS)).abs()
        cost = torch.where((dx > 0)[:, None], (gaps - self.edge).abs().amax(0) + 20 * missed, idle) + 0.2 * plans.abs().sum(1)
        move = plans[cost.argmin(1), 0]
        button = torch.where(move > 0, DOWN, torch.where(move < 0, UP, 0))
        return torch.nn.functional.one_hot(button, BUTTONS).to(obs.dtype), memory
