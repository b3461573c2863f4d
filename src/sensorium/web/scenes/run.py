"""One agent in one world, episode after episode."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sensorium.core.env import World
from sensorium.core.policy import Policy, with_action
from sensorium.core.seeding import row_seeds
from sensorium.web.scenes.scene import Window
from sensorium.web.views import opened

PAUSE = 1.5
"""seconds between the end of an episode and the next one"""


class Run:
    """An agent in a world. `treat` changes observations before the agent gets them; `ended` episodes are followed by others after a pause."""

    def __init__(self, world: World, policy: Policy, seed: int, rate: float, treat: Callable[[Tensor, int], Tensor] | None = None):
        self.policy, self.treat = policy, treat
        self.pause = max(1, round(PAUSE * rate))
        self.recent = Window(max(1, round(rate)))
        self.seed, self.episode, self.newtons = seed, 0, 0.0
        self.env, obs, self.view = opened(world, self.seeds)
        try:
            self._begin(obs)
        except BaseException:
            self.close()
            raise

    @property
    def seeds(self) -> Tensor:
        """The row seed of the present episode."""
        return row_seeds(self.seed + self.episode, 1)

    def restart(self) -> None:
        """Begin the next episode."""
        self.episode += 1
        self._begin(self.env.reset(self.seeds))

    def _begin(self, obs: Tensor) -> None:
        self.obs, self.t, self.score, self.ended = obs, 0, 0.0, 0
        self.action = torch.zeros(1, self.env.spec.action)
        self.memory: Any = None
        self.seen = obs
        self.forget()

    def forget(self) -> None:
        """Clear the agent's memory."""
        self.memory = self.policy.begin(self.seeds)

    def step(self, driven: Tensor | None = None) -> None:
        """One step, by the agent or with the action `driven` [1, actions]; within the pause after an episode nothing happens."""
        if self.ended:
            self.ended += 1
            self.recent.add(0.0)
            if self.ended > self.pause:
                self.restart()
            return
        self.seen = self.treat(self.obs, self.t) if self.treat else self.obs
        action, memory = self.policy.act(self.seen, self.memory, self.t)
        if driven is not None:
            action = driven
            memory = with_action(self.policy, memory, action)
        self.action, self.memory = action, memory
        step = self.env.step(action)
        self.obs, self.t = step.obs, self.t + 1
        reward = float(step.reward[0])
        self.score += reward
        self.recent.add(reward)
        if bool(step.terminated[0] | step.truncated[0]):
            self.ended = 1

    def close(self) -> None:
        """Close the world."""
        self.env.close()
