"""Any agent: its world's picture, its observation, its score, and treatments of its senses."""

from typing import Any

import numpy as np
from torch import Tensor

from sensorium.core.env import Cart
from sensorium.core.stage import InWorld, Sensed
from sensorium.envs.sensed import Sensed as SensedWorld
from sensorium.robustness.cases import refusal
from sensorium.web.agents import Agent
from sensorium.web.scenes.channels import SHOWN, Channels, labels
from sensorium.web.scenes.run import Run
from sensorium.web.scenes.scene import Control, Panel, Scene, Values, button, order, panel, ranged, switch
from sensorium.web.views import Pushable, limited

LARGEST = 64
"""largest number of bars"""


class AnyAgent(Scene):
    """An agent in the world of its training."""

    name, title = "any", "Watch it, and change its senses"

    @staticmethod
    def available(agent: Agent) -> bool:
        return isinstance(agent.stage, InWorld)

    def open(self) -> None:
        agent, seed = self.agent, self.seed
        world = agent.world
        spec, cart = world.spec, isinstance(world, Cart)
        self.rate, self.steps = (50.0, 2) if cart else (40.0, 1)
        self.vector = spec.kind == "vector"
        self.trained: SensedWorld | None = None
        if self.vector and agent.senses and not (isinstance(world, Sensed) and world.senses):
            self.trained = SensedWorld(world, agent.senses)
        sensed = (self.trained or world).spec
        self.channels = Channels(labels(sensed.sensors, sensed.observation[0]), seed) if self.vector else None
        self.grows = bool(self.channels) and refusal(self.trained or world, agent.policy, "noise:1") is None
        self.run = self.owned(Run(world, agent.policy, seed, self.rate * self.steps, self.treated if self.vector else None))
        self.paused, self.speed, self.scores = False, self.steps, list[float]()
        self.t = 0
        self.reset = ["score"]
        about = "The controls change its sensors' readings, not the world." if self.vector else "Its observation is an image."
        self.explanation = f"The agent {agent.name} in {spec.name}, the world of its training. {about}" + (
            "" if self.grows or not self.vector else " Its number of inputs is fixed, so channels cannot be added."
        )

    def treated(self, obs: Tensor, t: int) -> Tensor:
        """The observation with the treatment of training, then the visitor's."""
        assert self.channels is not None
        if self.trained is not None:
            if t == 0:
                self.own = self.trained.own(self.run.seeds)
                self.layouts, self.histories = self.trained.layouts(self.own), self.trained.histories(self.own)
            self.layouts = self.trained.redrawn(self.layouts, self.own, t)
            obs, self.histories = self.trained.alter(obs, self.layouts, self.histories, self.own, t)
        if t == 0:
            self.channels.forget()
        return self.channels.treated(obs, t)

    def controls(self) -> list[Control]:
        found, c, senses = [], self.channels, "Senses"
        if c is not None:
            found = [
                button("shuffle", "Shuffle the sensors", "s", group=senses),
                button("sort", "First order", "o", group=senses),
                ranged("gaussian", "Noise on every sensor, sd", c.sd, 0.0, 1.0, 0.01, group=senses),
                ranged("delay", "Delay, steps", c.delay, 0, 10, 1, group=senses),
            ]
            if self.grows:
                found.append(ranged("noise", "Noise channels", c.noise, 0, 10, 1, group=senses))
                found.append(switch("duplicate", "Every sensor twice", c.duplicate, group=senses))
            if len(c.names) <= SHOWN:
                found.insert(2, order("order", "Sensor at each input", c.order, c.items, group=senses))
                found += [switch(f"on {i}", name, c.working[i], group="Sensors that work") for i, name in enumerate(c.names)]
            else:
                found.append(ranged("off", "Sensors off", c.working.count(False), 0, len(c.names) - 1, 1, group=senses))
        world = "World"
        return [
            *found, ranged("speed", "Steps per frame", self.speed, 1, 8, 1, group=world), button("restart", "New episode", "r", group=world),
            switch("pause", "Pause", self.paused, group=world),
        ]  # fmt: skip

    def panels(self) -> list[Panel]:
        found = [self.run.view.panel("world", "World")] if self.run.view else []
        if self.channels is not None:
            found.append(panel("sensors", "What arrives at each input", "bars", items=self.channels.inputs[:LARGEST], low=-4, high=4))
        elif (observed := self.observation()) is not None:
            height, width, _ = observed.shape
            found.append(panel("observation", "What the agent gets", "picture", width=width, height=height))
        actions = [f"action {i + 1}" for i in range(self.run.env.spec.action)]
        return [
            *found,
            panel("action", "Action", "bars", items=actions, low=-1, high=1),
            panel(
                "score",
                f"Reward per step, mean of the last {self.run.recent.values.maxlen} steps",
                "curve",
                series=["reward"],
                x="seconds",
                y="reward",
            ),
            panel("status", "Score", "text"),
        ]

    def observation(self) -> np.ndarray | None:
        """An observed image or the newest of stacked frames, where it is not what the view shows; uint8 [height, width, 3]."""
        spec, obs = self.run.env.spec, self.run.obs
        if spec.kind == "frames" and obs.shape[1] % 3 == 0:
            return limited(obs[0, -3:].permute(1, 2, 0).cpu().numpy())
        return None

    def set(self, name: str, value: Any) -> None:
        c = self.channels
        if name == "pause":
            self.paused = value
        elif name == "speed":
            self.speed = value
        elif c is not None:
            if name == "order":
                c.order = value
            elif name == "off":
                c.working = [i >= value for i in range(len(c.names))]
            elif name.startswith("on "):
                c.working[int(name[3:])] = value
            elif name == "gaussian":
                c.sd = value
            elif name == "delay":
                c.delay = value
            else:
                c.extend(value if name == "noise" else c.noise, value if name == "duplicate" else c.duplicate)
                self.run.forget()
            self.declared()

    def press(self, name: str) -> None:
        if name == "restart":
            self.run.restart()
        elif self.channels is not None:
            (self.channels.shuffle if name == "shuffle" else self.channels.sort)()
            self.declared()

    def declared(self) -> None:
        """Show the inputs' names."""
        assert self.channels is not None
        if len(self.channels.names) <= SHOWN:
            self.changed("order", self.channels.order, items=self.channels.items)
        self.redeclared("bars")

    def advance(self) -> Values:
        points = []
        for _ in range(0 if self.paused else self.speed):
            ended = self.run.ended
            self.run.step()
            if self.run.ended == 1 and not ended:
                self.scores.append(self.run.score)
            self.t += 1
            if self.t % 5 == 0:
                points.append([self.t / (self.rate * self.steps), self.run.recent.mean])
        if isinstance(self.run.view, Pushable):
            self.run.view.forced(self.run.action)
        values: Values = {"score": points, "status": self.status(), "action": [round(float(a), 4) for a in self.run.action[0]]}
        if self.run.view:
            values["world"] = self.run.view.value()
        if self.channels is not None:
            values["sensors"] = [round(float(value), 4) for value in self.run.seen[0, :LARGEST]]
        elif (observed := self.observation()) is not None:
            values["observation"] = observed
        return values

    def status(self) -> str:
        """The score in one sentence."""
        last = f" Earlier episodes: {', '.join(f'{score:.0f}' for score in self.scores[-5:])}." if self.scores else ""
        return f"Episode {self.run.episode + 1}, step {self.run.t}, score {self.run.score:.1f}.{last}"
