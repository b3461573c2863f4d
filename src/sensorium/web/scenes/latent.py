"""Latent space: sliders on the dimensions of z that carry information, and real frames beside their reconstructions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.core.env import World, closing
from sensorium.core.policy import Policy
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


@dataclass(frozen=True)
class Space:
    """Frames of an episode and their codes."""

    frames: UInt8[Tensor, "n height width 3"]
    mu: Float[Tensor, "n z"]
    """means of the posterior"""
    sd: Float[Tensor, "z"]
    """standard deviations of the posterior, averaged over the frames"""

    @classmethod
    def of(cls, stage: Decoding, world: World, policy: Policy, seed: int) -> "Space":
        """The codes of an episode. Errors: core.errors where the world cannot be opened."""
        frames = recorded(world, policy, seed)
        mu, log_variance = stage.encode(frames)
        return cls(frames, mu.float(), torch.exp(log_variance.float() / 2).mean(0))

    @property
    def sorted(self) -> list[int]:
        """All dimensions, those with the smallest posterior standard deviation first."""
        return self.sd.argsort().tolist()

    @property
    def used(self) -> list[int]:
        """The dimensions that have sliders."""
        return [i for i in self.sorted[:SLIDERS] if self.sd[i] < INFORMATIVE]

    @property
    def explanation(self) -> str:
        """What the scene shows."""
        return (
            f"The encoder turns a frame into {self.mu.shape[1]} numbers z, and the decoder turns z into a frame. {int((self.sd < INFORMATIVE).sum())} of them "
            f"carry information: their posterior standard deviation, averaged over {len(self.frames)} frames, is below {INFORMATIVE:g}. The others stay close "
            "to the prior, because the training penalises unused information. The sliders change those with the smallest standard deviation."
        )

    def label(self, i: int) -> str:
        """The label of a slider."""
        return f"z {i + 1} (sd {float(self.sd[i]):.2f})"


class Latent(Scene):
    """The latent space of an agent that encodes images."""

    name, title = "latent", "Change its latent vector"

    @staticmethod
    def available(agent: Agent) -> bool:
        return isinstance(agent.stage, Decoding) and isinstance(agent.stage, InWorld) and agent.stage.world.spec.kind == "image"

    def open(self) -> None:
        self.rate = 36.0
        stage, _ = self.agent.restored
        assert isinstance(stage, Decoding)
        self.stage = stage
        self.space = Space.of(stage, self.agent.world, self.agent.policy, self.seed)
        self.wander, self.clock, self.draws = False, 0, 0
        self.choose()
        self.notices.clear()
        self.explanation = self.space.explanation

    def choose(self) -> None:
        """Take the z of another frame."""
        self.chosen = int(
            torch.randint(len(self.space.frames), (1,), generator=torch.Generator().manual_seed(self.seed * 7919 + self.draws))
        )
        self.draws += 1
        self.z = self.space.mu[self.chosen].clone()
        for i in self.space.used:
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
            *(ranged(f"z {i}", self.space.label(i), self.slider(i), -REACH, REACH, 0.01, group=latent) for i in self.space.used),
        ]  # fmt: skip

    def panels(self) -> list[Panel]:
        height, width, _ = self.space.frames.shape[1:]
        size, items = {"width": width, "height": height}, [f"z {i + 1}" for i in self.space.sorted]
        return [
            panel("imagined", "The z of the sliders", "picture", **size),
            panel("real", "A real frame", "picture", **size),
            panel("reconstruction", "Its reconstruction", "picture", **size),
            panel("z", "z of the first picture, smallest sd first", "bars", items=items, low=-REACH, high=REACH),
            panel("status", "z", "text"),
        ]

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
        if self.wander and self.space.used:
            self.clock += 1
            turn, phase = divmod(self.clock, int(2 * self.rate))
            z = self.z.clone()
            i = self.space.used[turn % len(self.space.used)]
            z[i] += 2 * np.sin(2 * np.pi * phase / (2 * self.rate))
            about = f"Dimension {i + 1} varies."
        else:
            z, about = self.z, "The first picture is decoded from the sliders."
        kept, imagined = self.stage.decode(torch.stack([self.space.mu[self.chosen], z]))
        return {
            "real": self.space.frames[self.chosen].numpy(), "reconstruction": kept, "imagined": imagined,
            "z": [round(float(z[i]), 3) for i in self.space.sorted], "status": f"Frame {self.chosen + 1} of {len(self.space.frames)}. {about}",
        }  # fmt: skip


def recorded(world: World, policy: Policy, seed: int) -> Tensor:
    """Frames of an episode, uint8 [n, height, width, 3]. Errors: core.errors where the world cannot be opened."""
    found = []
    with closing(world) as env:
        for moment in stream(env, policy, row_seeds(seed, 1)):
            if moment.t % EVERY == 0:
                found.append(moment.obs[0].clone())
            if moment.t >= STEPS:
                break
    return torch.stack(found)
