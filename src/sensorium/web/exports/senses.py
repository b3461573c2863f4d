"""Cart-pole with treatments of its senses: world and policy are TypeScript (web/src/scenes), the weights are JSON."""

import math
from typing import Any

from torch import Tensor

from sensorium.core import checkpoint, zoo
from sensorium.core.stage import InWorld
from sensorium.envs.cart_pole import CartPole
from sensorium.systems.attention_neuron.model.sensory import FeedForwardPolicy, SensoryPolicy, Tensors
from sensorium.web.exports.scene import Agent, Scene

BASELINE = "cart-pole-mlp"
"""the zoo's agent that is shown beside an exported one"""


def scene(agent: Agent) -> Scene | None:
    """The scene of an AttentionNeuron agent for cart-pole; None for other agents. Errors: core.errors.Usage for its ablations."""
    if not (isinstance(agent.stage, InWorld) and isinstance(agent.stage.world, CartPole)):
        return None
    with checkpoint.fitting(agent.folder):
        policy = agent.stage.policy(agent.state)
    if not isinstance(policy, SensoryPolicy):
        return None
    kind = policy.agent
    if kind.pooling != "attention" or not kind.recurrent or not kind.hears_action or kind.discrete:
        raise agent.refused("the page has attention over recurrent neurons that get the previous action, and no ablation of these")
    return Scene("senses", "Senses", {"agent": neurons(policy), "baseline": baseline()})


def neurons(policy: SensoryPolicy) -> dict[str, Any]:
    """The weights of an agent as plain numbers, named as in neurons.ts."""
    t, kind = plain(policy.tensors), policy.agent
    return {
        "weight_ih": t["neuron.weight_ih"],
        "weight_hh": t["neuron.weight_hh"],
        "bias": t["neuron.bias"],
        "queries": t["queries"],
        "offset": [row[0] for row in t["offset"]] if "offset" in t else [0.0] * kind.code,
        "scale": math.sqrt(kind.key) if kind.scale else 1.0,
        "gain": kind.gain,
        "head": layers(policy.tensors),
    }


def baseline() -> list[dict[str, Any]] | None:
    """The layers of the zoo's feed-forward network; None where the zoo does not have it."""
    folder = zoo.at_hand(BASELINE)
    policy = checkpoint.policy(folder) if folder else None
    return layers(policy.tensors) if isinstance(policy, FeedForwardPolicy) else None


def layers(tensors: Tensors) -> list[dict[str, Any]]:
    """The layers of a policy head as plain numbers."""
    t = plain(tensors)
    depth = sum(name.startswith("head.") for name in t) // 2
    return [{"weight": t[f"head.{i}.weight"], "bias": t[f"head.{i}.bias"]} for i in range(depth)]


def plain(tensors: Tensors) -> dict[str, Any]:
    """Tensors of one agent, [..., 1], as nested lists."""

    def numbers(tensor: Tensor) -> Any:
        return tensor[..., 0].double().tolist()

    return {name: numbers(tensor) for name, tensor in tensors.items()}
