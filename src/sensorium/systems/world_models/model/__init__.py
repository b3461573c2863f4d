"""V, M and C of World Models, and the policies made of them."""

from sensorium.systems.world_models.model.controller import LatentPolicy, Linear, WorldModelPolicy
from sensorium.systems.world_models.model.memory import MDNRNN
from sensorium.systems.world_models.model.vision import ConvVAE, IdentityVision, Seeing, fit_initial_weights, pixels

__all__ = ["MDNRNN", "ConvVAE", "IdentityVision", "LatentPolicy", "Linear", "Seeing", "WorldModelPolicy", "fit_initial_weights", "pixels"]
