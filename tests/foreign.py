"""Environments of a user's own package, which register themselves on import: small ones, and some that misbehave."""

import os
import signal
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env):
    """A walk on a line: the observation is (position, time); the reward is minus the distance to 1."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(np.array([-2.0], np.float32), np.array([6.0], np.float32))
    misbehaviour = ""

    def __init__(self, gravity: float = 0.0):
        self.gravity = gravity
        self.episodes = 0

    def observe(self):
        return np.array([self.place, self.t], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.t = float(self.np_random.normal()), 0
        self.episodes += 1
        return self.observe(), {}

    def step(self, action):
        self.t += 1
        self.place += float(action[0]) + self.gravity
        obs, reward = self.observe(), -abs(self.place - 1)
        if self.t == 3:
            if self.misbehaviour == "raises":
                raise ValueError("the walker\nfell")
            if self.misbehaviour == "hangs":
                time.sleep(60)
            if self.misbehaviour == "blocks":
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                time.sleep(60)
            if self.misbehaviour == "dies":
                os._exit(7)
            if self.misbehaviour == "nan":
                obs = obs * np.nan
            if self.misbehaviour == "reward":
                reward = np.inf
            if self.misbehaviour == "shape":
                obs = np.zeros(3, dtype=np.float32)
        if self.misbehaviour == "remembers":
            reward += self.episodes
        return obs, reward, self.place > 20, self.t >= 12, {}


class Choice(Walk):
    """The same walk with three choices, numbered from 5, and observations in a dict."""

    observation_space = spaces.Dict({"where": spaces.Box(-50, 50, (2,), np.float64), "last": spaces.Discrete(3), "said": spaces.Text(5)})
    action_space = spaces.Discrete(3, start=5)

    def observe(self):
        return {"where": np.array([self.place, self.t]), "last": self.t % 3, "said": "a"}

    def step(self, action):
        assert 5 <= action <= 7
        return super().step([action - 6])


class Grey(Walk):
    """The same walk, seen as a grey image whose brightness is the step."""

    observation_space = spaces.Box(0, 255, (8, 6), np.uint8)

    def observe(self):
        return np.full((8, 6), self.t, dtype=np.uint8)


class Several(Walk):
    """The same walk with two choices at a time, which Sensorium refuses."""

    action_space = spaces.MultiDiscrete([2, 3])


MISBEHAVIOURS = ("raises", "hangs", "blocks", "dies", "nan", "reward", "shape", "remembers")

for name in MISBEHAVIOURS:
    kind = type(name.capitalize(), (Walk,), {"misbehaviour": name, "__module__": __name__})
    globals()[kind.__name__] = kind
    gymnasium.register(f"foreign/{kind.__name__}-v0", entry_point=f"tests.foreign:{kind.__name__}")
for kind in (Walk, Choice, Grey, Several):
    gymnasium.register(f"foreign/{kind.__name__}-v0", entry_point=f"tests.foreign:{kind.__name__}", max_episode_steps=10)
