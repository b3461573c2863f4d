"""The learnable parts, named as the paper names them: `sensory` for vectors of observations, `vision` for patches of pictures."""

from sensorium.systems.attention_neuron.model.sensory import (
    FeedForwardAgent,
    FeedForwardPolicy,
    SensoryAgent,
    SensoryPolicy,
    fold,
    head,
    head_shapes,
)
from sensorium.systems.attention_neuron.model.vision import UNTAUGHT, PuzzleAgent, VisionNeurons, VisionPolicy, VotingAgent

__all__ = [
    "UNTAUGHT", "FeedForwardAgent", "FeedForwardPolicy", "PuzzleAgent", "SensoryAgent", "SensoryPolicy", "VisionNeurons", "VisionPolicy", "VotingAgent", "fold", "head",
    "head_shapes",
]  # fmt: skip
