"""Eyes: what an agent on image patches gets, what a person sees, and the patches that it attends to."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.core.policy import Attentive
from sensorium.core.stage import Architectural, InWorld
from sensorium.envs import patches
from sensorium.web.agents import Agent
from sensorium.web.scenes.run import Run
from sensorium.web.scenes.scene import Control, Panel, Scene, Values, button, choice, panel, ranged, switch

ATTENDED = 24
"""number of patches that are highlighted"""
TINT = np.array([255.0, 170.0, 30.0])
EMPTY = 110
"""grey value where the agent has no patch"""


class Eyes(Scene):
    """An agent whose input is the screen as patches in any order and number."""

    name, title = "eyes", "Shuffle and hide what it sees"

    @staticmethod
    def available(agent: Agent) -> bool:
        stage = agent.stage
        if not isinstance(stage, Architectural) or not isinstance(stage, InWorld):
            return False
        return stage.world.spec.kind == "patches" and isinstance(agent.policy, Attentive)

    def open(self) -> None:
        self.rate = 40.0
        self.run = self.owned(Run(self.agent.world, self.agent.policy, self.seed, self.rate))
        assert isinstance(self.run.env, patches.PatchEnv)
        self.env = self.run.env
        self.shuffled, self.occlude, self.blackout, self.noise, self.background, self.every = True, 0.0, 0.0, 0, "", 0
        self.paused, self.draws, self.t = False, 0, 0
        self.treat()
        self.reset = ["score"]
        self.explanation = EXPLANATION

    @property
    def senses(self) -> str:
        """The treatment as a specification of the senses."""
        parts = (
            f"background:{self.background}" if self.background else "", "patches" if self.shuffled else "",
            f"occlude:{self.occlude:g}" if self.occlude else "", f"blackout:{self.blackout:g}" if self.blackout else "",
            f"noise:{self.noise}" if self.noise else "",
        )  # fmt: skip
        return ",".join(part for part in parts if part)

    def treat(self) -> None:
        """Apply the present treatment from now on."""
        self.env.treat_by(self.senses, self.draws)
        self.run.obs = self.env.obs

    def controls(self) -> list[Control]:
        see, world = "What it sees", "World"
        found = [
            button("shuffle", "Shuffle the patches", "s", group=see),
            switch("shuffled", "Patches in random order", self.shuffled, group=see),
            ranged("every", "Shuffle every … steps (0: never)", self.every, 0, 500, 25, group=see),
            ranged("occlude", "Share of patches removed", self.occlude, 0.0, 0.9, 0.05, group=see),
            ranged("blackout", "Share of patches black", self.blackout, 0.0, 0.9, 0.05, group=see),
            ranged("noise", "Patches of noise", self.noise, 0, 20, 1, group=see),
        ]
        if bool(self.env.world.ground(self.env.raw).any()):
            names = {"": "its own", **{name: name for name in patches.SCENERY}}
            found.append(choice("background", "Background", self.background, names, group=see))
        return [*found, button("restart", "New episode", "r", group=world), switch("pause", "Pause", self.paused, group=world)]

    def panels(self) -> list[Panel]:
        height, width = self.env.raw.shape[1:3]
        size = {"width": width, "height": height}
        return [
            panel("agent", "What the agent gets", "picture", **size),
            panel("attended", "The same patches where they belong, attended ones in orange", "picture", **size),
            panel("human", "The world", "picture", **size),
            panel("score", "Score", "curve", series=["score"], x="seconds", y="score"),
            panel("status", "Score", "text"),
        ]

    def set(self, name: str, value: Any) -> None:
        if name == "pause":
            self.paused = value
        elif name == "every":
            self.every = value
        else:
            setattr(self, name, value)
            self.treat()

    def press(self, name: str) -> None:
        if name == "restart":
            self.run.restart()
            self.treat()
        else:
            self.draws += 1
            if not self.shuffled:
                self.shuffled = True
                self.changed("shuffled", True)
            self.treat()

    def advance(self) -> Values:
        if not self.paused:
            episode = self.run.episode
            if self.every and self.t and self.t % self.every == 0:
                self.draws += 1
                self.treat()
            self.run.step()
            if self.run.episode != episode:
                self.treat()
            self.t += 1
        attended = self.attention()
        points = [[self.t / self.rate, self.run.score]] if self.t % 5 == 0 and not self.paused else []
        return {**self.pictures(attended), "score": points, "status": self.status()}

    def attention(self) -> Tensor:
        """How much the code attends to each patch of the present observation, largest 1: [patches]."""
        run = self.run
        assert isinstance(run.policy, Attentive)
        weights = run.policy.attention(run.obs, run.memory)[0]
        return weights.amax(1) / weights.amax().clamp(min=1e-9)

    def pictures(self, attended: Tensor) -> Values:
        """The three pictures."""
        env = self.env
        height, width = env.raw.shape[1:3]
        n = (height // patches.SIDE) * (width // patches.SIDE)
        newest, origins = env.obs[0, :, -1], env.origins()[0]
        # as it arrives, and each patch at its own place
        arrived = torch.full((max(n, len(newest)), patches.SIDE**2), EMPTY, dtype=torch.uint8)
        arrived[: len(newest)] = newest
        restored = torch.full((n, patches.SIDE**2), EMPTY, dtype=torch.uint8)
        real = origins >= 0
        restored[origins[real]] = newest[real]
        light = torch.zeros(n, patches.SIDE**2)
        best = attended.topk(min(ATTENDED, len(attended))).indices
        best = best[real[best]]
        light[origins[best]] = attended[best, None].expand(-1, patches.SIDE**2)
        tint = patches.mosaic(light[None], height, width)[0][..., None].numpy()
        base = grey(patches.mosaic(restored[None], height, width)[0])
        return {
            "agent": grey(patches.mosaic(arrived[None, :n], height, width)[0]),
            "attended": (base * (1 - 0.5 * tint) + 0.5 * tint * TINT).astype(np.uint8),
            "human": env.picture(),
        }

    def status(self) -> str:
        """The score in one sentence."""
        given = self.env.obs.shape[1]
        return f"Step {self.run.t} of episode {self.run.episode + 1}, score {self.run.score:.1f}. The agent gets {given} patches."


def grey(image: Tensor) -> np.ndarray:
    """A grey image in three channels, uint8 [height, width, 3]."""
    return np.ascontiguousarray(image.numpy()[..., None].repeat(3, 2))


EXPLANATION = (
    "The screen is cut into patches of 6 x 6 pixels. Each patch is the input of the same small network, which does not get the position of its patch. So the agent "
    "acts as before when patches change places, and, up to a point, when some are missing. First picture: what the agent gets. Second: the same patches "
    "at their places; orange ones have the largest attention weights. Four frames are stacked: after a shuffle three of them are still in the old order."
)
