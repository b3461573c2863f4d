"""Senses: a permutation-invariant agent beside a feed-forward network, while a visitor changes what both of them sense."""

from typing import Any

from torch import Tensor

from sensorium.core.env import Cart
from sensorium.core.policy import Attentive
from sensorium.core.stage import Architectural, InWorld
from sensorium.web.agents import Agent, baseline
from sensorium.web.scenes.channels import SHOWN, Channels, fitted, labels
from sensorium.web.scenes.run import Run
from sensorium.web.scenes.scene import Control, Panel, Scene, Values, button, order, panel, ranged, steering, switch
from sensorium.web.views import Pushable

FORCE = 20.0
"""newtons of a push"""
SMALLEST = 0.01
"""reward per step below which a share of it is not shown"""
GRIP = 2.4
"""metres between pointer and cart at which a push is full"""
NAMES = {"agent": "permutation-invariant agent", "baseline": "feed-forward network"}


class Senses(Scene):
    """The agent and its baseline under the same treatment."""

    name, title = "senses", "Shuffle its senses"

    @staticmethod
    def available(agent: Agent) -> bool:
        stage = agent.stage
        if not isinstance(stage, Architectural) or not isinstance(stage, InWorld):
            return False
        return stage.world.spec.kind == "vector" and isinstance(agent.policy, Attentive)

    def open(self) -> None:
        agent, seed = self.agent, self.seed
        spec, other = agent.world.spec, baseline(agent, self.others)
        n = spec.observation[0]
        self.channels = Channels(labels(spec.sensors, n), seed)
        fast = isinstance(agent.world, Cart)
        self.rate, self.steps = (50.0, 2) if fast else (40.0, 1)  # the cart-pole's step is 0.01 s
        hertz = self.rate * self.steps
        self.runs = {"agent": self.owned(Run(agent.world, agent.policy, seed, hertz, self.channels.treated))}
        if other is not None:
            beside = Run(other.world, other.policy, seed, hertz, lambda obs, t: fitted(self.channels.treated(obs, t), n))
            self.runs["baseline"] = self.owned(beside)
        self.t, self.every, self.clear, self.paused = 0, 0, False, False
        self.shuffled, self.usual = -1, dict.fromkeys(self.runs, 0.0)
        self.reset = ["score", "recovery"]
        self.explanation = EXPLANATION + (BESIDE if other is not None else "") + (CART if fast else "")

    # declarations

    def controls(self) -> list[Control]:
        order_, channels, world = "Order of the inputs", "Channels", "World"
        many, c = len(self.channels.names) > SHOWN, self.channels
        found = [
            button("shuffle", "Shuffle", "s", group=order_),
            button("sort", "First order", "o", group=order_),
            ranged("every", "Shuffle every … steps (0: never)", self.every, 0, 500, 25, group=order_),
            switch("clear", "Clear memory at each shuffle", self.clear, group=order_, help=CLEAR),
            ranged("noise", "Noise channels", c.noise, 0, 10, 1, group=channels),
            switch("duplicate", "Every sensor twice", c.duplicate, group=channels),
        ]
        if many:
            found.append(ranged("off", "Sensors off", c.working.count(False), 0, len(c.names) - 1, 1, group=channels))
        else:
            found.insert(2, order("order", "Sensor at each input", c.order, c.items, group=order_))
            found += [switch(f"on {i}", name, c.working[i], group="Sensors that work") for i, name in enumerate(c.names)]
        if any(isinstance(run.view, Pushable) for run in self.runs.values()):
            found.append(steering("push", "Push the carts", {"left": "push left", "right": "push right"}, group=world))
        return [*found, button("restart", "New episode", "r", group=world), switch("pause", "Pause", self.paused, group=world)]

    def panels(self) -> list[Panel]:
        inputs, names = self.channels.inputs, [NAMES[name] for name in self.runs]
        code = self.attention(self.runs["agent"])
        worlds = [run.view.panel(name, NAMES[name].capitalize()) for name, run in self.runs.items() if run.view]
        return [
            *worlds,
            panel("score", "Reward per step, mean of the last second", "curve", series=names, x="seconds", y="reward"),
            panel("recovery", "After the last shuffle, relative to before", "curve", series=names, x="steps since the shuffle", y="share of the reward"),
            panel("attention", "Attention of each row of the code on each input", "matrix", rows=[""] * len(code), columns=inputs, low=-1, high=1),
            panel("sensors", "What arrives at each input", "bars", items=inputs, low=-4, high=4),
            panel("status", "Score", "text"),
        ]  # fmt: skip

    # what the visitor does

    def set(self, name: str, value: Any) -> None:
        c = self.channels
        if name == "order":
            c.order = value
            self.rearranged()
        elif name in ("every", "clear"):
            setattr(self, name, value)
        elif name == "pause":
            self.paused = value
        elif name == "off":
            c.working = [i >= value for i in range(len(c.names))]
        elif name.startswith("on "):
            c.working[int(name[3:])] = value
        else:
            c.extend(value if name == "noise" else c.noise, value if name == "duplicate" else c.duplicate)
            # a neuron more or less: all of them start anew
            self.runs["agent"].forget()
            self.declared()

    def press(self, name: str) -> None:
        if name == "restart":
            for run in self.runs.values():
                run.restart()
            return
        (self.channels.shuffle if name == "shuffle" else self.channels.sort)()
        self.rearranged()

    def keys(self, held: frozenset[str]) -> None:
        for run in self.runs.values():
            run.newtons = FORCE * (("right" in held) - ("left" in held))

    def pointer(self, panel: str, x: float, y: float, down: bool) -> None:
        run = self.runs.get(panel)
        if run is None or not isinstance(run.view, Pushable):
            return
        run.newtons = FORCE * max(-1.0, min(1.0, run.view.reach(x) / GRIP)) if down else 0.0

    def rearranged(self) -> None:
        """The order has changed: note when, and show it."""
        self.shuffled, self.usual = self.t, {name: run.recent.mean for name, run in self.runs.items()}
        self.reset.append("recovery")
        if self.clear:
            self.runs["agent"].forget()
        self.declared()

    def declared(self) -> None:
        """Show the inputs' names."""
        if len(self.channels.names) <= SHOWN:
            self.changed("order", self.channels.order, items=self.channels.items)
        self.redeclared("bars", "matrix")

    # frames

    def advance(self) -> Values:
        score, recovery = [], []
        for _ in range(0 if self.paused else self.steps):
            if self.every and self.t and self.t % self.every == 0:
                self.channels.shuffle()
                self.rearranged()
            for run in self.runs.values():
                push(run)
                run.step()
            self.t += 1
            if self.t % 5 == 0:
                means = {name: run.recent.mean for name, run in self.runs.items()}
                score.append([self.t / (self.rate * self.steps), *means.values()])
                if self.shuffled >= 0:
                    shares = [mean / abs(self.usual[name]) if abs(self.usual[name]) > SMALLEST else None for name, mean in means.items()]
                    recovery.append([self.t - self.shuffled, *shares])
        agent = self.runs["agent"]
        views = {name: run.view.value() for name, run in self.runs.items() if run.view}
        arrived = [round(float(value), 4) for value in self.arriving(agent)[0]]
        return {
            **views, "score": score, "recovery": recovery, "status": self.status(), "sensors": arrived, "attention": self.attention(agent),
        }  # fmt: skip

    def arriving(self, run: Run) -> Tensor:
        """The observation as the next step gets it, in the present order."""
        return self.channels.treated(run.obs, run.t)

    def attention(self, run: Run) -> list[list[float]]:
        """The attention weights for what arrives at the inputs, [rows of the code][inputs]."""
        assert isinstance(run.policy, Attentive)
        weights = run.policy.attention(self.arriving(run), run.memory)[0]
        return [[round(value, 3) for value in row] for row in weights.mT.tolist()]

    def status(self) -> str:
        """The scores in one sentence."""
        parts = [f"{NAMES[name]} {run.recent.mean:.2f} per step, {run.score:.0f} in this episode" for name, run in self.runs.items()]
        since = f" The order changed {self.t - self.shuffled} steps ago." if self.shuffled >= 0 else ""
        return f"Reward: {'; '.join(parts)}.{since}"


def push(run: Run) -> None:
    """Push a cart with the visitor's force."""
    if isinstance(run.view, Pushable):
        run.view.forced(run.action, run.newtons)
        if run.newtons and not run.ended:
            run.view.push(run.newtons)


EXPLANATION = (
    "The agent has one small recurrent network for each input, all with the same weights, and attention adds up their outputs: the order and number of "
    "the inputs do not matter to it. A shuffle still disturbs it for a moment, because each network keeps the memory of the sensor that it had before, "
    "and needs some steps to recognise the new one."
)
BESIDE = (
    " The feed-forward network beside it gets the same inputs and depends on their order. It has as many inputs as there are sensors; further "
    "channels are not connected."
)
CART = " Drag a cart to push it, or use the arrow keys."
CLEAR = "By default a memory stays at its input when another sensor arrives there, as in the paper. Another number of channels always clears it."
