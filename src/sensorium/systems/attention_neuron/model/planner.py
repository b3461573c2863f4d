"""Planner: a player of Pong that nobody has taught. It reads the console's memory, knows where the ball will come down, and aims."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.seeding import fold, uniform
from sensorium.envs.pong import BUTTONS, HIGHEST, LOWEST, STRIDE, crossing

UP, DOWN = 2, 3
"""buttons"""
MOMENTS = (0.0, 0.25, 0.5, 0.75)
"""steps after the crossing at which paddle and ball may meet: where exactly in a step is not known"""
SOON = 6.0
"""steps after which to be where a ball is that flies away"""
REACH = (-4.0, 15.0)
"""lines between ball and paddle at which it still plays the ball back"""
MIDDLE, CENTRE = 120.0, 6.0
"""where to wait while there is no ball; lines between a ball and the paddle that it meets with its middle"""


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
    """Tries all plans of a few moves and begins the best: the ball is to meet one of the paddle's edges, which send it back at its steepest.

    Its memory is the rows' seeds: now and then it comes to like one edge more than the other, or else two players would repeat themselves for ever.
    """

    edges: tuple[float, float] = (0.0, 11.0)
    """lines between ball and paddle at which to meet; its middle, about 6, sends balls back that hardly ever win"""
    liking: float = 3.0
    """lines by which it would rather miss the edge that it likes than the other"""
    mood: int = 30
    """steps after which it may like the other"""
    moves: int = 4
    """of a plan"""
    ahead: int = 13
    """steps after which a plan is over"""
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "Planner":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Int[Tensor, "rows"]:
        return fold(seeds, "moods")

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
        liked = (uniform(memory, t // self.mood, 1) < 0.5).float()
        dear = (liked * self.liking, (1 - liked) * self.liking)
        cost = (
            torch.stack([(meetings - edge).abs().amax(0) + more for edge, more in zip(self.edges, dear, strict=True)]).amin(0) + 20 * missed
        )
        # a ball that flies away is followed, and where there is none the middle is a good place
        idle = apart(torch.where(y > 0, y - CENTRE, MIDDLE), torch.full_like(y, SOON)).abs()
        cost = torch.where((dx > 0)[:, None], cost, idle) + 0.2 * plans.abs().sum(1)
        move = plans[cost.argmin(1), 0]
        button = torch.where(move > 0, DOWN, torch.where(move < 0, UP, 0))
        return torch.nn.functional.one_hot(button, BUTTONS).to(obs.dtype), memory
