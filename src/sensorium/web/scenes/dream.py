"""Dream: drive in a world model's dream, or let the agent; beside it the same controller in the real world."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.core.env import Steerable
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Policy
from sensorium.core.seeding import row_seeds
from sensorium.core.stage import Decoding, Dreaming, InWorld
from sensorium.web.agents import Agent
from sensorium.web.scenes.run import PAUSE, Run
from sensorium.web.scenes.scene import Control, Panel, Scene, Values, button, panel, ranged, steering, switch


class Dream(Scene):
    """A world model whose dream has pictures."""

    name, title = "dream", "Drive inside its dream"

    @staticmethod
    def available(agent: Agent) -> bool:
        stage = agent.stage
        if not isinstance(stage, Dreaming) or not isinstance(stage, Decoding) or not isinstance(stage, InWorld):
            return False
        try:
            stage.dream_world()
        except Usage:
            return False
        return stage.world.spec.kind == "image"

    def open(self) -> None:
        agent = self.agent
        self.rate = 35.0
        stage, state = agent.restored
        assert isinstance(stage, Dreaming)
        assert isinstance(stage, Decoding)
        self.stage = stage
        self.dream: Any = stage.dream_world()
        self.env: Any = self.owned(self.dream.open())
        self.policy: Policy = stage.dream_policy(state)
        self.usual = float(self.env.world.temperature)
        self.latents = stage.encode(torch.zeros(1, *agent.world.spec.observation, dtype=torch.uint8))[0].shape[1]
        world = agent.world
        self.steering = world.steering if isinstance(world, Steerable) else {}
        self.held = frozenset[str]()
        self.driven, self.paused, self.beside = True, False, True
        self.episode, self.lengths = 0, list[int]()
        self.real: Run | None = None
        self.missing = ""
        try:
            self.real = self.owned(Run(world, agent.policy, self.seed, self.rate))
        except (Usage, Failure) as error:
            self.missing = f" The real world is not shown: {error}."
        self.begin()
        self.explanation = EXPLANATION + self.missing

    def begin(self) -> None:
        """Begin the next dream."""
        seeds = row_seeds(self.seed + self.episode, 1)
        self.obs, self.memory, self.t, self.score, self.ended = self.env.reset(seeds), self.policy.begin(seeds), 0, 0.0, 0
        self.action = torch.zeros(1, self.env.spec.action)
        self.reset.append("uncertainty")

    def controls(self) -> list[Control]:
        drive, dream = "Who drives", "Dream"
        found = []
        if self.steering:
            keys = {key: label for key, (label, _) in self.steering.items()}
            found = [
                switch("driven", "The agent drives", self.driven, group=drive, help="A held key takes over at any moment."),
                steering("steer", "Drive yourself", keys, group=drive),
                button("back", "Hand back to the agent", "h", group=drive),
            ]
        found += [
            ranged("temperature", "Temperature", self.env.world.temperature, 0.1, 3.0, 0.05, group=dream),
            button("cheat", "Temperature 0.1: a dream that can be cheated", "c", group=dream),
            button("usual", f"Temperature {self.usual:g}, as in training", "u", group=dream),
            button("restart", "New dream", "r", group=dream),
            switch("pause", "Pause", self.paused, group=dream),
        ]
        if self.real is not None:
            found.append(switch("beside", "Real world beside it", self.beside, group=dream))
        return found

    def panels(self) -> list[Panel]:
        height, width, _ = self.agent.world.spec.observation
        found = [panel("dream", "The dream", "picture", width=width, height=height)]
        if self.real is not None and self.real.view is not None:
            found.append(self.real.view.panel("real", "The same controller in the real world"))
        actions = [f"action {i + 1}" for i in range(self.env.spec.action)]
        return [
            *found,
            panel("action", "Action", "bars", items=actions, low=-1, high=1),
            panel("uncertainty", "How far the latent state moves in a step", "curve", series=["distance"], x="step", y="distance"),
            panel("status", "Step", "text"),
        ]

    def set(self, name: str, value: Any) -> None:
        if name == "temperature":
            self.env.world.temperature = value
        elif name == "pause":
            self.paused = value
        else:
            setattr(self, name, value)

    def press(self, name: str) -> None:
        if name == "restart":
            self.episode += 1
            self.begin()
        elif name == "back":
            self.driven = True
            self.changed("driven", True)
        else:
            self.env.world.temperature = 0.1 if name == "cheat" else self.usual
            self.changed("temperature", self.env.world.temperature)

    def keys(self, held: frozenset[str]) -> None:
        self.held = held & frozenset(self.steering)
        if self.held and self.driven:
            self.driven = False
            self.changed("driven", False)

    def wheel(self) -> Tensor | None:
        """The visitor's action, [1, actions]; None while the agent drives."""
        if self.driven:
            return None
        total = torch.zeros(1, self.env.spec.action)
        for key in self.held:
            total = total + torch.tensor([self.steering[key][1]])
        low = torch.tensor([self.env.spec.low or (-1.0,) * self.env.spec.action])
        return torch.maximum(total, low).clamp(max=1.0)

    def advance(self) -> Values:
        points = []
        if not self.paused:
            if self.ended:
                self.ended += 1
                if self.ended > PAUSE * self.rate:
                    self.episode += 1
                    self.begin()
            else:
                points = [self.step()]
            if self.real is not None and self.beside:
                self.real.step(self.wheel())
        values: Values = {
            "dream": self.picture(), "action": [round(float(a), 3) for a in self.action[0]], "uncertainty": points, "status": self.status(),
        }  # fmt: skip
        if self.real is not None and self.real.view is not None:
            values["real"] = self.real.view.value()
        return values

    def step(self) -> list[float]:
        """One step of the dream; the point of its curve."""
        action, self.memory = self.policy.act(self.obs, self.memory, self.t)
        wheel = self.wheel()
        self.action = action if wheel is None else wheel
        before = self.obs[:, : self.latents]
        step = self.env.step(self.action)
        self.obs, self.t, self.score = step.obs, self.t + 1, self.score + float(step.reward[0])
        if bool(step.terminated[0] | step.truncated[0]):
            self.ended = 1
            self.lengths.append(self.t)
        return [self.t, round(float((self.obs[:, : self.latents] - before).norm()), 4)]

    def picture(self) -> np.ndarray:
        """The dream's present picture, darker after its end."""
        image = self.stage.decode(self.obs[:, : self.latents])[0]
        return (image // 2) if self.ended else image

    def status(self) -> str:
        """Who drives, and how long."""
        who = "The agent drives" if self.driven else "You drive"
        end = " The dream has ended." if self.ended else ""
        earlier = f" Earlier dreams: {', '.join(str(n) for n in self.lengths[-5:])} steps." if self.lengths else ""
        real = ""
        if self.real is not None and self.beside:
            real = f" Real world: step {self.real.t}, score {self.real.score:.0f}{', ended' if self.real.ended else ''}."
        temperature = self.env.world.temperature
        cheat = CHEAT if temperature <= 0.3 else ""
        return f"{who}. Step {self.t} at temperature {temperature:g}.{end}{earlier}{real}{cheat}"


EXPLANATION = (
    "Nothing here is simulated: a recurrent network predicts the next latent vector z, and a decoder draws it. The temperature sets how random the "
    "prediction is. In a dream of low temperature the agent may cheat: the model then hardly ever predicts what would end the episode, so a controller "
    "trained there exploits the errors of the model and fails in the real world. More noise makes the dream harder than the world and the errors harder "
    "to exploit. In TakeCover a dream ends when the model predicts a hit; the car's model predicts neither end nor reward."
)
CHEAT = " At this temperature the model collapses to its most likely prediction: what is dangerous seldom appears, and surviving here says little about the world."
