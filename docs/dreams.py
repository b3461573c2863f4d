"""Make docs/how-to/dreams.png from the zoo's agent of TakeCover: `python docs/dreams.py` (most of an hour beside other work; extra doom).

Left: how long policies survive in the dream, by its temperature; dashed: in the game. Right: the agent and weakened ones in both.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium.core import checkpoint, zoo
from sensorium.core.env import World
from sensorium.core.evaluate import evaluate
from sensorium.core.log import tracked
from sensorium.core.policy import Policy
from sensorium.systems.world_models.behaviour import HeldActions
from sensorium.systems.world_models.probes import trust
from sensorium.systems.world_models.stages import Controller
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, RED, canvas

OUT = Path(__file__).with_name("how-to") / "dreams.png"
TEMPERATURES = (0.1, 0.5, 1.0, 1.15, 1.3, 2.0)
DREAMS, GAMES, SEED = 128, 32, 1000


@dataclass(frozen=True)
class Left:
    """Always move left."""

    members = 1

    def take(self, members: Tensor) -> "Left":
        return self

    def begin(self, seeds: Tensor) -> tuple[()]:
        return ()

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        return obs.new_full((len(obs), 1), -1.0, dtype=torch.float32), memory


def policies(stage: Controller, state: dict[str, Tensor]) -> dict[str, tuple[Policy, Policy]]:
    """Name -> the policy of the dream and that of the game."""
    return {
        "C, evolved at temperature 1.15": (stage.dream_policy(state), stage.policy(state)),
        "random actions, held for 1 to 10 tics": (HeldActions(), HeldActions()),
        "always left": (Left(), Left()),
    }


def mean(world: World, policy: Policy, episodes: int) -> float:
    """The mean return."""
    return float(evaluate(world, policy, episodes, SEED)["mean"])


def main() -> None:
    """Measure, print the numbers, and draw them."""
    folder = checkpoint.agent(zoo.FOLDER / "take-cover")
    stage, state = checkpoint.restored(folder)
    assert isinstance(stage, Controller)
    found = policies(stage, state)
    dreams: dict[str, list[float]] = {name: [] for name in found}
    for name, temperature in tracked([(name, t) for name in found for t in TEMPERATURES], "dreams"):
        dreams[name].append(mean(stage.dream_world(temperature), found[name][0], DREAMS))
    games = {name: mean(stage.world, game, GAMES) for name, (_, game) in found.items()}
    print(json.dumps({"temperatures": TEMPERATURES, "dream": dreams, "game": games}, indent=1))
    figure, (left, right) = canvas(width=10, height=4, columns=2)
    for (name, scores), colour in zip(dreams.items(), (BLUE, ORANGE, GREEN), strict=True):
        left.plot(TEMPERATURES, scores, "o-", color=colour, label=name)
        left.axhline(games[name], color=colour, ls="--", lw=1)
    left.set(xlabel="temperature of the dream", ylabel="tics survived", title="lines: in the dream; dashed: in the game", ylim=(0, None))
    left.legend(fontsize=9)
    measured = trust(folder, policies=6, episodes=16)
    dream, world = measured.dream.mean(1), measured.world.mean(1)
    print(json.dumps({"dream": dream.tolist(), "game": world.tolist(), "gap": measured.gap, "correlation": measured.correlation, "likelihood": measured.likelihood, "persistence": measured.persistence}))  # fmt: skip
    errors = [part.std(1) / part.shape[1] ** 0.5 for part in (measured.world, measured.dream)]
    right.errorbar(world, dream, xerr=errors[0], yerr=errors[1], fmt="o", color=BLUE, ms=5, lw=1, label="weakened")
    right.plot(world[0], dream[0], "o", color=RED, ms=8, label="C")
    most = float(max(world.max(), dream.max()))
    right.plot([0, most], [0, most], color=INK, lw=1, ls="--", label="equal")
    right.set(xlabel="tics survived in the game", ylabel="tics survived in the dream, temperature 1.15", title="C and weakened ones")
    right.legend(fontsize=9)
    figure.savefig(OUT, dpi=110)


if __name__ == "__main__":
    with torch.no_grad():
        main()
