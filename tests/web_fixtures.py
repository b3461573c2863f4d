"""Numbers of Python with which the page's TypeScript is compared: `python tests/web_fixtures.py` writes web/test/fixtures.json."""

import json
from pathlib import Path
from typing import Any

import torch

from sensorium.core import checkpoint, zoo
from sensorium.core.seeding import normal, row_seeds, uniform
from sensorium.core.stage import InWorld
from sensorium.envs.cart_pole import CartPole
from sensorium.systems.attention_neuron.model.sensory import SensoryAgent, SensoryPolicy
from sensorium.systems.world_models import equations as eq
from sensorium.web.exports import senses
from sensorium.web.exports.scene import Agent

FILE = Path(__file__).parents[1] / "web" / "test" / "fixtures.json"
STEPS = 200
ORDER = [3, 0, 4, 1, 2]


def rounded(value: Any) -> Any:
    """A tensor as nested lists of rounded numbers."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    return [rounded(part) for part in value] if isinstance(value, list) else round(value, 7)


def random() -> list[dict[str, Any]]:
    found = []
    for seed, t in ((0, 0), (7, 3), (123456789012, 999)):
        row = torch.tensor([seed])
        found.append({"seed": seed, "t": t, "uniform": uniform(row, t, 6)[0].tolist(), "normal": rounded(normal(row, t, 5)[0])})
    return found


def cart_pole() -> dict[str, Any]:
    """An episode of the zoo's agent with shuffled sensors, from a pole that hangs."""
    folder = zoo.FOLDER / "cart-pole-clone"
    [scene] = senses.scenes(Agent.of(folder))
    (stage, parameters), world, seed = checkpoint.restored(folder), CartPole(hard=False), 5
    assert isinstance(stage, InWorld)
    # in double precision, as in the browser, from products of parameters and from a start that are equal on all machines: the pole
    # magnifies rounding errors
    policy = stage.policy({name: tensor.double() for name, tensor in parameters.items()})
    assert isinstance(policy, SensoryPolicy)
    row = torch.tensor([seed])
    state, memory = tuple(part.double().mul(1e6).round() / 1e6 for part in world.initial(row)), policy.begin(row)
    actions, states, rewards = [], [], []
    start = [float(part) for part in state]
    for t in range(STEPS):
        action, memory = policy.act(world.observe(state)[:, ORDER], memory, t)
        state, step = world.transition(state, action, t)
        actions.append(float(action))
        states.append([float(part) for part in state])
        rewards.append(float(step.reward))
    baseline = checkpoint.policy(zoo.FOLDER / senses.BASELINE)
    observations = normal(row_seeds(0, 4), 0, 5)
    given = [{"observation": rounded(obs), "action": rounded(baseline.act(obs[None], (), 0)[0][0, 0].item())} for obs in observations]
    return {
        "hard": rounded(torch.stack(CartPole().initial(torch.arange(3))).mT), "seed": seed, "order": ORDER, "start": start, "data": scene.data | {"agent": senses.neurons(policy)}, "actions": rounded(actions), "states": rounded(states), "rewards": rounded(rewards),
        "baseline": given,
    }  # fmt: skip


ABLATIONS = [
    ("whose neurons have no memory", SensoryAgent(recurrent=False)),
    ("whose neurons do not get the action", SensoryAgent(hears_action=False)),
    ("with the mean for pooling", SensoryAgent(pooling="mean")),
    ("with the maximum for pooling", SensoryAgent(pooling="max", layers=(4,))),
    ("with biases and a scale", SensoryAgent(bias=True, scale=True, gain=0.5)),
]


def ablations() -> list[dict[str, Any]]:
    """Steps of agents with random parameters."""
    found = []
    for seed, (about, agent) in enumerate(ABLATIONS):
        row = torch.tensor([seed])
        policy = agent.policy(0.5 * normal(row, 0, agent.layout.size)[0].double())
        memory, steps = tuple(part.double() for part in policy.begin(row)), []
        for t in range(1, 6):
            obs = normal(row, t, 5).double()
            attention = policy.attention(obs, memory)[0].mT
            action, memory = policy.act(obs, memory, t)
            steps.append({"observation": rounded(obs[0]), "attention": rounded(attention), "action": rounded(float(action))})
        found.append({"about": about, "weights": senses.neurons(policy), "steps": steps})
    return found


def mixtures() -> list[dict[str, Any]]:
    found = []
    for seed, temperature in enumerate((0.1, 1.0, 2.5)):
        rows = row_seeds(seed, 6)
        log_weight, mean, log_sd = torch.log_softmax(normal(rows, 0, 5), -1), normal(rows, 1, 5), normal(rows, 2, 5) / 2
        choice, noise = uniform(rows, 3, 1)[:, 0], normal(rows, 4, 1)[:, 0]
        sample = eq.mixture_sample(log_weight, mean, log_sd, temperature, choice, noise)
        parts = {"log_weight": log_weight, "mean": mean, "log_sd": log_sd, "choice": choice, "noise": noise, "sample": sample}
        found.append({"temperature": temperature, **{name: rounded(part) for name, part in parts.items()}})
    return found


def fixtures() -> dict[str, Any]:
    with torch.no_grad():
        return {"random": random(), "senses": cart_pole(), "ablations": ablations(), "mixtures": mixtures()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(fixtures()) + "\n", encoding="utf-8")
