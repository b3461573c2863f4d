"""What a scene is, and the declarations of its controls and panels."""

import math
from collections import deque
from contextlib import ExitStack
from typing import Any, ClassVar, TypeVar

from sensorium.core.errors import Usage
from sensorium.core.stage import Closable
from sensorium.web.agents import Agent

Control = dict[str, Any]
Panel = dict[str, Any]
Values = dict[str, Any]
"""panel -> its value in a frame; pictures are arrays uint8 [height, width, 3]"""
GROWING = ("curve", "points")
"""kinds of panels whose values are points that are added to those of earlier frames"""
Resource = TypeVar("Resource", bound=Closable)


class Scene:
    """A scene: subclasses declare controls and panels and compute frames. `notices` collects texts for the page, `reset` panels to clear."""

    name: ClassVar[str]
    title: ClassVar[str]
    rate: float = 40.0
    """frames per second"""
    explanation: str = ""

    def __init__(self, agent: Agent, others: list[Agent], seed: int):
        self.agent, self.others, self.seed = agent, others, seed
        self.notices: list[dict[str, Any]] = []
        self.reset: list[str] = []
        self.resources = ExitStack()
        try:
            self.open()
        except BaseException:
            self.close()
            raise

    def open(self) -> None:
        """Open worlds, and compute what the scene needs; `owned` registers what is closed with it, also where this fails."""

    def owned(self, resource: Resource) -> Resource:
        """A resource that is closed with the scene."""
        self.resources.callback(resource.close)
        return resource

    @staticmethod
    def available(agent: Agent) -> bool:
        """Whether the scene exists for an agent."""
        raise NotImplementedError

    def controls(self) -> list[Control]:
        """The controls with their present values."""
        raise NotImplementedError

    def panels(self) -> list[Panel]:
        """The panels."""
        raise NotImplementedError

    def advance(self) -> Values:
        """The next frame."""
        raise NotImplementedError

    def set(self, name: str, value: Any) -> None:
        """A control has a new value, which fits its declaration."""

    def press(self, name: str) -> None:
        """A button was pressed."""

    def keys(self, held: frozenset[str]) -> None:
        """The keys that are held."""

    def pointer(self, panel: str, x: float, y: float, down: bool) -> None:
        """The pointer over a panel, with shares of its width and height."""

    def close(self) -> None:
        """Release what the scene has opened."""
        self.resources.close()

    def declaration(self) -> dict[str, Any]:
        """The scene as the page gets it."""
        return {
            "type": "scene", "name": self.name, "agent": self.agent.name, "title": self.title, "explanation": self.explanation,
            "controls": self.controls(), "panels": self.panels(), "rate": self.rate,
        }  # fmt: skip

    def changed(self, name: str, value: Any, **more: Any) -> None:
        """Tell the page that a control has another value."""
        self.notices.append({"type": "control", "name": name, "value": value, **more})

    def redeclared(self, *kinds: str) -> None:
        """Declare the panels of these kinds again."""
        self.notices += [{"type": "panel", "panel": panel} for panel in self.panels() if panel["kind"] in kinds]


def ranged(name: str, label: str, value: float, low: float, high: float, step: float, **more: Any) -> Control:
    """A slider."""
    return {"name": name, "label": label, "kind": "range", "value": value, "low": low, "high": high, "step": step, **more}


def switch(name: str, label: str, value: bool, **more: Any) -> Control:
    """A switch."""
    return {"name": name, "label": label, "kind": "switch", "value": value, **more}


def button(name: str, label: str, key: str = "", **more: Any) -> Control:
    """A button, with its key."""
    return {"name": name, "label": label, "kind": "button", **({"key": key} if key else {}), **more}


def choice(name: str, label: str, value: str, options: dict[str, str], **more: Any) -> Control:
    """A choice among values with their labels."""
    found = [{"value": key, "label": text} for key, text in options.items()]
    return {"name": name, "label": label, "kind": "choice", "value": value, "options": found, **more}


def order(name: str, label: str, value: list[int], items: list[str], **more: Any) -> Control:
    """A permutation: value[slot] is the index of the item at that slot."""
    return {"name": name, "label": label, "kind": "order", "value": value, "items": items, **more}


def steering(name: str, label: str, keys: dict[str, str], **more: Any) -> Control:
    """Keys that are held, with what they do."""
    return {"name": name, "label": label, "kind": "steering", "keys": keys, **more}


def panel(name: str, label: str, kind: str, **more: Any) -> Panel:
    """A panel."""
    return {"name": name, "label": label, "kind": kind, **more}


def fitting(control: Control, value: Any) -> Any:
    """A value of a control as its declaration allows it. Errors: core.errors.Usage."""
    kind, name = control["kind"], control["name"]
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind == "range" and number and control["low"] <= value <= control["high"]:
        whole = all(isinstance(control[key], int) for key in ("low", "high", "step"))
        return round(value) if whole else float(value)
    if kind == "switch" and isinstance(value, bool):
        return value
    if kind == "choice" and value in [option["value"] for option in control["options"]]:
        return value
    if kind == "order" and isinstance(value, list) and sorted(value) == list(range(len(control["items"]))):
        return value
    allowed = {
        "range": lambda: f"a number from {control['low']:g} to {control['high']:g}", "switch": lambda: "true or false",
        "choice": lambda: ", ".join(option["value"] for option in control["options"]), "order": lambda: "each item once",
    }  # fmt: skip
    raise Usage(f"{name} cannot have this value; allowed: {allowed[kind]() if kind in allowed else 'none, it is no setting'}")


class Window:
    """The mean of the last values."""

    def __init__(self, length: int):
        self.values: deque[float] = deque(maxlen=length)

    def add(self, value: float) -> None:
        """Add a value."""
        self.values.append(value)

    @property
    def mean(self) -> float:
        """The mean; 0 without values."""
        return sum(self.values) / max(1, len(self.values))
