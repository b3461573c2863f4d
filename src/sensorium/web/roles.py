"""What processes of the playground do: run a visitor's scene, or list agents and make their thumbnails."""

import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensorium.core.errors import Failure, Usage
from sensorium.web.agents import Agent
from sensorium.web.gallery import named
from sensorium.web.messages import AHEAD, CRASHES, WINDOW, frame, merged, problem
from sensorium.web.scenes.all import SCENES
from sensorium.web.scenes.scene import GROWING, Scene, Values, fitting
from sensorium.web.worker import Pipe

SCORE = ("mean", "sd", "episodes")
"""what a result has to hold for the gallery"""
IDLE = 0.25
"""seconds between two looks at the socket while no frame is due"""
ATTENTION = 2.0
"""seconds for which a scene goes on while the page draws no frame; then it waits, as for a page in a hidden tab"""


def scene(pipe: Pipe, folders: dict[str, str]) -> None:
    """Run scenes of agents, name -> folder, until the server closes its end."""
    Player(pipe, [Agent(name, Path(folder)) for name, folder in folders.items()]).run()


class Player:
    """The loop of a scene: messages, steps at the scene's rate, and at most three frames that were not drawn yet.

    A page that draws fewer frames than the scene has gets fewer: a frame that is not sent is merged with the next one.
    """

    def __init__(self, pipe: Pipe, agents: list[Agent]):
        self.pipe, self.agents = pipe, {agent.name: agent for agent in agents}
        self.scene: Scene | None = None
        self.opened: dict[str, Any] = {}
        self.sent = self.shown = 0
        self.due = self.drawn = 0.0
        self.values: Values = {}
        self.reset: list[str] = []
        self.failing = ""
        self.crashes: list[float] = []

    def run(self) -> None:
        """Run until the server closes its end."""
        while True:
            wait = max(0.0, self.due - time.monotonic()) if self.watched else IDLE
            while (message := self.pipe.receive(wait)) is not None:
                self.handle(message)
                wait = 0.0
            scene = self.scene
            if scene is not None and self.watched and time.monotonic() >= self.due:
                # a scene that is late does not catch up
                self.due = max(self.due + 1 / scene.rate, time.monotonic())
                self.guard(self.show)

    @property
    def free(self) -> bool:
        """Whether another frame may be sent."""
        return self.sent - self.shown < AHEAD

    @property
    def watched(self) -> bool:
        """Whether a scene is open and the page draws its frames."""
        return self.scene is not None and (self.free or time.monotonic() - self.drawn < ATTENTION)

    def guard(self, work: Callable[[], None], fatal: bool = False) -> None:
        """Do a scene's work: its own errors are sent, a crash restarts it. After a `fatal` error there is no scene.

        An error that comes again in the next frame is sent once.
        """
        try:
            work()
        except (Usage, Failure) as error:
            if work != self.show or str(error) != self.failing:
                self.pipe.send(problem(f"{error}", fatal))
            self.failing = str(error) if work == self.show else ""
        except (ConnectionError, KeyboardInterrupt):
            raise
        except Exception:
            traceback.print_exc()
            self.restart()

    def handle(self, message: dict[str, Any]) -> None:
        """Do what a message says."""
        kind, scene = message.pop("type"), self.scene
        if kind == "shown":
            drawn = min(message["frame"], self.sent)
            if drawn > self.shown:
                self.shown, self.drawn = drawn, time.monotonic()
        elif kind == "open":
            self.opened, self.crashes = message, []
            self.guard(self.open, fatal=True)
        elif scene is None:
            self.pipe.send(problem("no scene is open"))
        elif kind == "set":
            self.guard(lambda: self.set(scene, **message))
        elif kind == "press":
            self.guard(lambda: self.press(scene, **message))
        elif kind == "keys":
            self.guard(lambda: scene.keys(frozenset(message["held"])))
        elif kind == "pointer":
            self.guard(lambda: scene.pointer(**message))
        self.tell()

    def set(self, scene: Scene, name: str, value: Any) -> None:
        """Set a control. Errors: core.errors.Usage for one that the scene does not have, and a value that does not fit."""
        scene.set(name, fitting(self.control(scene, name), value))

    def press(self, scene: Scene, name: str) -> None:
        """Press a button. Errors: core.errors.Usage for one that the scene does not have."""
        if self.control(scene, name)["kind"] != "button":
            raise Usage(f"{name} is no button")
        scene.press(name)

    def control(self, scene: Scene, name: str) -> dict[str, Any]:
        """The declaration of a control. Errors: core.errors.Usage."""
        found = next((control for control in scene.controls() if control["name"] == name), None)
        if found is None:
            raise Usage(f"this scene has no control {name[:60]!r}")
        return found

    def open(self) -> None:
        """Open a scene in place of the present one. Errors: core.errors.Usage for an agent or a scene that does not exist."""
        name, agent = self.opened["scene"], self.agents.get(self.opened["agent"])
        self.close()
        if agent is None:
            raise Usage("there is no agent of this name here")
        if name not in SCENES or not SCENES[name].available(agent):
            raise Usage(f"{agent.name} has no such scene")
        others = [other for other in self.agents.values() if other is not agent]
        self.scene = SCENES[name](agent, others, self.opened["seed"])
        self.sent = self.shown = 0
        self.due = self.drawn = time.monotonic()
        self.values, self.reset, self.failing = {}, [], ""
        self.pipe.send(self.scene.declaration())

    def close(self) -> None:
        """Close the present scene."""
        scene, self.scene = self.scene, None
        if scene is not None:
            scene.close()

    def show(self) -> None:
        """Compute the next frame, and send it where the page draws fast enough."""
        assert self.scene is not None
        values = self.scene.advance()
        self.failing = ""
        self.tell()
        reset, self.scene.reset = self.scene.reset, []
        growing = [panel["name"] for panel in self.scene.panels() if panel["kind"] in GROWING] if self.values else []
        self.values = merged(self.values, values, growing, reset)
        self.reset += reset
        if self.free:
            self.sent += 1
            self.pipe.send_frame(frame(self.sent, self.values, list(dict.fromkeys(self.reset))))
            self.values, self.reset = {}, []

    def tell(self) -> None:
        """Send the texts that the scene has for the page."""
        if self.scene is not None:
            notices, self.scene.notices = self.scene.notices, []
            for notice in notices:
                self.pipe.send(notice)

    def restart(self) -> None:
        """Open the scene again after an error in it, unless that happens again and again."""
        scene, self.scene = self.scene, None
        if scene is not None:
            try:
                scene.close()
            except Exception:
                traceback.print_exc()
        now = time.monotonic()
        self.crashes = [*(at for at in self.crashes if now - at < WINDOW), now]
        if len(self.crashes) >= CRASHES:
            self.pipe.send(problem("the scene fails again and again; it is not restarted", fatal=True))
            return
        self.pipe.send(problem("the scene has failed and is restarted"))
        self.opened = {**self.opened, "seed": self.opened["seed"] + 1}
        self.guard(self.open, fatal=True)


def gallery(pipe: Pipe, folders: dict[str, str], missing: dict[str, str]) -> None:
    """Send the entry of each agent, then make the missing thumbnails, name -> file, and send their names."""
    from sensorium.web.thumbnails import make

    agents = [Agent(name, Path(folder)) for name, folder in folders.items()]
    for agent in agents:
        pipe.send({"type": "entry", "entry": entry(agent)})
    pipe.send({"type": "listed"})
    os.nice(15)
    for agent in agents:
        if agent.name in missing:
            pipe.send({"type": "begun", "name": agent.name})
            pipe.receive(0.0)
            made = make(agent, Path(missing[agent.name]))
            pipe.send({"type": "thumbnail", "name": agent.name, "made": made})


def scored(kind: str, result: dict[str, Any]) -> str:
    """A result of a card in one line."""
    return f"{kind}: mean {result['mean']:.4g}, sd {result['sd']:.3g}, {result['episodes']} episodes"


def entry(agent: Agent) -> dict[str, Any]:
    """What the gallery says about an agent."""
    try:
        results = agent.card.get("results") or {}
        score = next((scored(kind, value) for kind, value in results.items() if isinstance(value, dict) and {*SCORE} <= value.keys()), None)
        scenes = [{"name": name, "title": kind.title} for name, kind in SCENES.items() if kind.available(agent)]
        recipe = agent.card.get("recipe")
    except (Usage, Failure, KeyError, TypeError, ValueError) as error:
        return {**named(agent.name), "score": f"cannot be opened: {error}"[:200]}
    return {**named(agent.name), "recipe": recipe, "score": score, "scenes": scenes}
