"""Cart-pole with treatments of its senses: world and policy are TypeScript (web/src/scenes), the weights are JSON."""

import math
from typing import Any

from torch import Tensor

from sensorium.core import checkpoint, zoo
from sensorium.core.stage import InWorld
from sensorium.envs.cart_pole import CartPole
from sensorium.systems.attention_neuron.model.sensory import FeedForwardPolicy, SensoryPolicy, Tensors
from sensorium.web.exports.scene import Agent, Scene
from sensorium.web.scenes.senses import Senses

BASELINE = "cart-pole-mlp"
"""the zoo's agent that is shown beside an exported one"""


def scenes(agent: Agent) -> list[Scene]:
    """The scene of an AttentionNeuron agent for cart-pole; none for other agents."""
    if not (isinstance(agent.stage, InWorld) and isinstance(agent.stage.world, CartPole)):
        return []
    with checkpoint.fitting(agent.folder):
        policy = agent.stage.policy(agent.state)
    if not isinstance(policy, SensoryPolicy):
        return []
    world = {"hard": agent.stage.world.hard, "horizon": agent.stage.world.horizon}
    return [Scene("senses", Senses.title, {"world": world, "agent": neurons(policy), "baseline": baseline()})]


def neurons(policy: SensoryPolicy) -> dict[str, Any]:
    """The weights of an agent as plain numbers, named as in neurons.ts; its ablations lack `weight_hh` or have other poolings."""
    t, kind = plain(policy.tensors), policy.agent
    recurrent = {"weight_hh": t["neuron.weight_hh"]} if kind.recurrent else {}
    return {
        "weight_ih": t["neuron.weight_ih"],
        "bias": t["neuron.bias"],
        **recurrent,
        "pooling": kind.pooling,
        "queries": t["queries" if kind.pooling == "attention" else "word.weight"],
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
