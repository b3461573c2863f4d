"""A features extractor for Stable-Baselines3 whose policies do not depend on the order of the sensors (extra `sb3`).

PPO("MlpPolicy", env, policy_kwargs=dict(features_extractor_class=sensorium.sb3.AttentionExtractor))

A policy without memory can tell its sensors apart only by their histories. So `env` stacks observations:
`gymnasium.wrappers.FrameStackObservation(env, 8)`, or Stable-Baselines3's `VecFrameStack(envs, 8)` with `features_extractor_kwargs=dict(steps=8)`.
"""

from typing import TYPE_CHECKING

import gymnasium
from gymnasium.spaces import Box
from jaxtyping import Float
from torch import Tensor

from sensorium.core.errors import Usage
from sensorium.envs.host import extra
from sensorium.nn import FeedForwardNeurons

if TYPE_CHECKING:
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
else:
    BaseFeaturesExtractor = extra("stable_baselines3.common.torch_layers", "sb3").BaseFeaturesExtractor


class AttentionExtractor(BaseFeaturesExtractor):
    """`nn.FeedForwardNeurons` on stacked observations: features [rows, steps * code], the same for any order of the sensors."""

    def __init__(
        self, observation_space: gymnasium.Space, steps: int = 0, code: int = 32, query: int = 8, key: int = 32, hidden: int = 32, gain: float = 1.0
    ):  # fmt: skip
        """Observations are [steps, n], or with `steps` [steps * n]; the other arguments are those of `FeedForwardNeurons`.

        Errors: core.errors.Usage for other observations.
        """
        shape = observation_space.shape if isinstance(observation_space, Box) else None
        if not steps and shape and len(shape) == 2:
            steps, sensors = shape
        elif steps and shape and len(shape) == 1 and shape[0] % steps == 0:
            sensors = shape[0] // steps
        else:
            raise Usage(
                "AttentionExtractor needs observations [steps, n] (gymnasium.wrappers.FrameStackObservation), or steps=K and observations"
                f" [K * n] (VecFrameStack); this environment has {observation_space}"
            )
        super().__init__(observation_space, steps * code)
        self.shape = steps, sensors
        self.neurons = FeedForwardNeurons(steps, code, query, key, hidden, gain)

    def forward(self, observations: Float[Tensor, "rows *stacked"]) -> Float[Tensor, "rows features"]:
        """The features of a batch of stacked observations, oldest first."""
        return self.neurons(observations.reshape(-1, *self.shape))
