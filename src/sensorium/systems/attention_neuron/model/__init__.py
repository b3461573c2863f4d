"""The learnable parts, named as the paper names them: `sensory` for vectors of observations, `vision` for patches of pictures, with the agents
`puzzle` and `voting` around such neurons."""

from sensorium.systems.attention_neuron.model.planner import Planner
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
from sensorium.systems.attention_neuron.model.vision import UNTAUGHT, VisionNeurons, VisionPolicy
from sensorium.systems.attention_neuron.model.voting import AttentionAgent, VotingAgent

__all__ = [
    "UNTAUGHT", "AttentionAgent", "FeedForwardAgent", "FeedForwardPolicy", "Planner", "PongAgent", "SensoryAgent", "SensoryPolicy", "VisionNeurons", "VisionPolicy",
    "VotingAgent", "fold", "head", "head_shapes",
]  # fmt: skip
