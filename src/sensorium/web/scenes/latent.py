"""Latent space: sliders on the dimensions of z that carry information, and real frames beside their reconstructions."""

from typing import Any

import numpy as np
import torch

from sensorium.core.env import closing
from sensorium.core.rollout import stream
from sensorium.core.seeding import row_seeds
from sensorium.core.stage import Decoding, InWorld
from sensorium.web.agents import Agent
from sensorium.web.scenes.scene import Control, Panel, Scene, Values, button, panel, ranged, switch

STEPS, EVERY = 240, 4
"""steps of the recorded episode, and steps between two frames that are kept"""
SLIDERS = 12
"""largest number of sliders"""
INFORMATIVE = 0.9
"""a dimension whose mean posterior standard deviation is below this carries information; that of the prior is 1"""
REACH = 3.0
"""range of a slider on either side of 0"""


class Latent(Scene):
    """The latent space of an agent that encodes images."""

    name, title = "latent", "Change its latent vector"

    @staticmethod
    def available(agent: Agent) -> bool:
        return isinstance(agent.stage, Decoding) and isinstance(agent.stage, InWorld) and agent.stage.world.spec.kind == "image"

    def __init__(self, agent: Agent, others: list[Agent], seed: int):
        super().__init__(agent, others, seed)
        self.rate = 36.0
        stage, _ = agent.restored
        assert isinstance(stage, Decoding)
        self.stage = stage
        self.frames = recorded(agent, seed)
        mu, log_variance = stage.encode(self.frames)
        self.mu, self.sd = mu.float(), torch.exp(log_variance.float() / 2)
        mean = self.sd.mean(0)
        self.informative = int((mean < INFORMATIVE).sum())
        self.used = [int(i) for i in mean.argsort()[:SLIDERS] if mean[i] < INFORMATIVE]
        self.mean_sd, self.draws = mean, 0
        self.wander, self.clock = False, 0
        self.choose()
        self.notices.clear()
        self.explanation = (
            f"The encoder turns a frame into {mu.shape[1]} numbers z, and the decoder turns z into a frame. {self.informative} of them carry information: "
            f"their posterior standard deviation, averaged over {len(self.frames)} frames, is below {INFORMATIVE:g}. The others stay close to the prior, "
            "because the training penalises unused information. The sliders change those with the smallest standard deviation."
        )

    def choose(self) -> None:
        """Take the z of another frame."""
        self.chosen = int(torch.randint(len(self.frames), (1,), generator=torch.Generator().manual_seed(self.seed * 7919 + self.draws)))
        self.draws += 1
        self.z = self.mu[self.chosen].clone()
        for i in self.used:
            self.changed(f"z {i}", self.slider(i))

    def slider(self, i: int) -> float:
        """The value of a slider."""
        return round(max(-REACH, min(REACH, float(self.z[i]))), 2)

    def controls(self) -> list[Control]:
        latent = "Latent dimensions"
        return [
            button("frame", "Another real frame", "f"),
            button("back", "Back to this frame", "b"),
            switch("wander", "Vary one dimension after another", self.wander),
            *(ranged(f"z {i}", f"z {i + 1} (sd {float(self.mean_sd[i]):.2f})", self.slider(i), -REACH, REACH, 0.01, group=latent) for i in self.used),
        ]  # fmt: skip

    def panels(self) -> list[Panel]:
        height, width, _ = self.frames.shape[1:]
        size = {"width": width, "height": height}
        return [
            panel("real", "A real frame", "picture", **size),
            panel("reconstruction", "Its reconstruction", "picture", **size),
            panel("imagined", "The z of the sliders", "picture", **size),
            panel(
                "z", "z of the last picture, smallest sd first", "bars", items=[f"z {i + 1}" for i in self.sorted], low=-REACH, high=REACH
            ),
            panel("status", "z", "text"),
        ]

    @property
    def sorted(self) -> list[int]:
        """All dimensions, those with the smallest posterior standard deviation first."""
        return self.mean_sd.argsort().tolist()

    def set(self, name: str, value: Any) -> None:
        if name == "wander":
            self.wander, self.clock = value, 0
        else:
            self.z[int(name.removeprefix("z "))] = value

    def press(self, name: str) -> None:
        if name == "back":
            self.draws -= 1
        self.choose()

    def advance(self) -> Values:
        if self.wander and self.used:
            self.clock += 1
            turn, phase = divmod(self.clock, int(2 * self.rate))
            z = self.z.clone()
            i = self.used[turn % len(self.used)]
            z[i] += 2 * np.sin(2 * np.pi * phase / (2 * self.rate))
            about = f"Dimension {i + 1} varies."
        else:
            z, about = self.z, "The last picture is decoded from the sliders."
        kept, imagined = self.stage.decode(torch.stack([self.mu[self.chosen], z]))
        return {
            "real": self.frames[self.chosen].numpy(), "reconstruction": kept, "imagined": imagined,
            "z": [round(float(z[i]), 3) for i in self.sorted], "status": f"Frame {self.chosen + 1} of {len(self.frames)}. {about}",
        }  # fmt: skip


def recorded(agent: Agent, seed: int) -> Any:
    """Frames of an episode of the agent, uint8 [n, height, width, 3]. Errors: core.errors where its world cannot be opened."""
    found = []
    with closing(agent.world) as env:
        for moment in stream(env, agent.policy, row_seeds(seed, 1)):
            if moment.t % EVERY == 0:
                found.append(moment.obs[0].clone())
            if moment.t >= STEPS:
                break
    return torch.stack(found)
