"""Exploration: the path of an explorer without reward over the map of states, its prototypes, and coverage beside a random policy."""

from typing import Any

import torch

from sensorium.core.env import Coordinates, WithStates
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Uniform
from sensorium.core.stage import Exploring, InWorld, Prototypical
from sensorium.web.agents import Agent
from sensorium.web.scenes.run import Run
from sensorium.web.scenes.scene import Control, Panel, Scene, Values, button, choice, panel, ranged, switch

Cells = set[int]
SERIES = ("explorer", "random policy", "prototypes")
KEPT = 4000
"""last states of each policy among which the nearest ones are looked for"""
OFTEN = 200
"""steps between two updates of the prototypes' nearest states"""


def explorer(agent: Agent) -> Agent | None:
    """The stage of an agent's run that explores, in a world with at least two coordinates; None where there is none."""
    for part in agent.stages:
        stage = part.stage
        if (
            isinstance(stage, Exploring)
            and isinstance(stage, InWorld)
            and isinstance(stage.world, Coordinates)
            and len(stage.world.where) >= 2
        ):
            return part
    return None


class Exploration(Scene):
    """An explorer in its world beside uniform random actions."""

    name, title = "exploration", "Follow it exploring"

    @staticmethod
    def available(agent: Agent) -> bool:
        return explorer(agent) is not None

    def open(self) -> None:
        self.rate = 35.0
        found = explorer(self.agent)
        assert found is not None
        self.stage, self.state = found.restored
        assert isinstance(self.stage, Exploring)
        self.grid: Exploring = self.stage
        self.world: Any = found.world
        self.runs = {
            "explorer": self.owned(Run(self.world, found.policy, self.seed, self.rate)),
            "random policy": self.owned(Run(self.world, Uniform(self.world.spec.action), self.seed, self.rate)),
        }
        for run in self.runs.values():
            run.pause = 1
        self.x, self.y = 0, 1
        self.speed, self.paused, self.shown, self.t = 2, False, True, 0
        self.visited: dict[str, Cells] = {name: Cells() for name in self.runs}
        self.places: dict[str, list[torch.Tensor]] = {name: [] for name in self.runs}
        self.observations: list[torch.Tensor] = []
        self.prototypes = torch.zeros(0, len(self.world.where))
        self.reset = ["map", "coverage"]
        self.explanation = (
            f"The explorer was trained in {self.world.spec.name} without any reward of a task: only an intrinsic reward for new observations. Its path is drawn over "
            f"two coordinates of the state, beside a policy of random actions from the same starts. Coverage counts cells of a grid over {', '.join(c.name for c in self.world.where)}, "
            f"with {self.grid.bins} bins each." + (PROTOTYPES if isinstance(self.stage, Prototypical) else "")
        )

    def controls(self) -> list[Control]:
        names = {str(i): c.name for i, c in enumerate(self.world.where)}
        axes = "Map"
        found = [
            choice("x", "Horizontal axis", str(self.x), names, group=axes),
            choice("y", "Vertical axis", str(self.y), names, group=axes),
        ]
        if isinstance(self.stage, Prototypical):
            found.append(switch("shown", "Prototypes", self.shown, group=axes))
        return [
            *found, ranged("speed", "Steps per frame", self.speed, 1, 10, 1), button("restart", "New episode, coverage anew", "r"),
            switch("pause", "Pause", self.paused),
        ]  # fmt: skip

    def panels(self) -> list[Panel]:
        run = self.runs["explorer"]
        x, y = (self.world.where[i].name for i in (self.x, self.y))
        found = [run.view.panel("world", "The explorer's world")] if run.view else []
        return [
            *found,
            panel("map", f"Visited states: {x} and {y}", "points", low=[0, 0], high=[1, 1], series=list(SERIES)),
            panel("coverage", "Cells visited so far", "curve", series=list(SERIES[:2]), x="steps", y="cells"),
            panel("status", "Coverage", "text"),
        ]

    def set(self, name: str, value: Any) -> None:
        if name in ("x", "y"):
            setattr(self, name, int(value))
            self.redeclared("points")
            self.redraw()
        else:
            setattr(self, "paused" if name == "pause" else name, value)
            if name == "shown":
                self.redraw()

    def press(self, name: str) -> None:
        for run in self.runs.values():
            run.restart()
        self.visited = {name: Cells() for name in self.runs}
        self.places = {name: [] for name in self.runs}
        self.observations, self.prototypes, self.t = [], self.prototypes[:0], 0
        self.reset += ["map", "coverage"]

    def redraw(self) -> None:
        """Draw all points again."""
        self.reset.append("map")

    def advance(self) -> Values:
        points: list[list[float]] = []
        again = "map" in self.reset
        for _ in range(0 if self.paused else self.speed):
            for series, (name, run) in enumerate(self.runs.items()):
                run.step()
                if not run.ended:
                    points.append([series, *self.visit(name, run)])
            self.t += 1
            if self.t % OFTEN == 0 and self.nearest():
                again = True
        if again:
            points = self.all_points()
            self.reset = ["map", *(name for name in self.reset if name != "map")]
        curve = [] if self.paused else [[self.t, *(len(cells) for cells in self.visited.values())]]
        values: Values = {"map": points, "coverage": curve, "status": self.status()}
        view = self.runs["explorer"].view
        if view is not None:
            values["world"] = view.value()
        return values

    def visit(self, name: str, run: Run) -> tuple[float, float]:
        """Count the state of a run; its place on the map."""
        assert isinstance(run.env, WithStates)
        place = self.world.places(run.env.states())[0]
        self.visited[name].add(int(self.grid.cells(place[None])))
        self.places[name].append(place)
        del self.places[name][:-KEPT]
        if name == "explorer":
            self.observations.append(run.obs[0])
            del self.observations[:-KEPT]
        return self.dot(place)

    def dot(self, place: torch.Tensor) -> tuple[float, float]:
        """A place on the map's two axes."""
        return round(float(place[self.x]), 4), round(float(place[self.y]), 4)

    def nearest(self) -> bool:
        """Find the visited state nearest to each prototype; whether there are any."""
        if not isinstance(self.stage, Prototypical) or not self.shown:
            return False
        try:
            found = self.stage.nearest_to_prototypes(self.state, torch.stack(self.observations))
        except (Usage, Failure):
            return False
        self.prototypes = torch.stack(self.places["explorer"])[found]
        return True

    def all_points(self) -> list[list[float]]:
        """All points of the map."""
        found = [[series, *self.dot(place)] for series, name in enumerate(self.runs) for place in self.places[name][-2000:]]
        return found + ([[2, *self.dot(place)] for place in self.prototypes] if self.shown else [])

    def status(self) -> str:
        """The coverage in one sentence."""
        explorer, random = (len(cells) for cells in self.visited.values())
        ratio = f", {explorer / random:.2f} times as many" if random else ""
        return f"After {self.t} steps the explorer has visited {explorer} cells and the random policy {random}{ratio}."


PROTOTYPES = (
    " Prototypes are vectors by which the explorer's representation groups observations; the map shows the visited state nearest to each."
)
