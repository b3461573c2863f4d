"""The models, named as in the paper: `sensory` for vector observations, `vision` for image patches; agents in `pong` and `voting`."""

from sensorium.systems.attention_neuron.model.pong import PongAgent
from sensorium.systems.attention_neuron.model.sensory import (
    FeedForwardAgent,
    FeedForwardPolicy,
    SensoryAgent,
    SensoryPolicy,
    fold,
    head,
    head_shapes,
)
from sensorium.systems.attention_neuron.model.vision import NO_GRADIENT, VisionNeurons, VisionPolicy
from sensorium.systems.attention_neuron.model.voting import AttentionAgent, VotingAgent

__all__ = [
    "NO_GRADIENT", "AttentionAgent", "FeedForwardAgent", "FeedForwardPolicy", "PongAgent", "SensoryAgent", "SensoryPolicy", "VisionNeurons", "VisionPolicy",
    "VotingAgent", "fold", "head", "head_shapes",
]  # fmt: skip
