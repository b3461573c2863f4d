"""The driver of CarRacing in its closed loop, beside a straightforward version: float32, eager, every attention held as a whole."""

import time
from typing import Any

import torch
from torch import Tensor

from bench.interleave import interleaved, row
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs.car_racing import CarPatches
from sensorium.systems.attention_neuron.model import VisionNeurons, VisionPolicy, VotingAgent

CARS, STEPS, ROUNDS = 24, 120, 3


class PlainNeurons(VisionNeurons):
    """The same layer with its weights held as they are written."""

    def __call__(self, tensors: dict[str, Tensor], patches: Tensor, action: Tensor) -> Tensor:
        seen = patches.float() / 255
        changes = (seen[:, :, 1:] - seen[:, :, :-1]).flatten(2)
        heard = torch.cat([changes, action[:, None].expand(-1, changes.shape[1], -1)], 2)
        keys = heard @ tensors["key.weight"][0].T + tensors["key.bias"]
        centred = seen - seen.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        values = scaled.flatten(2) @ tensors["value.weight"][0].T + tensors["value.bias"]
        said = torch.relu(torch.softmax(tensors["queries"] @ keys.mT / self.width**0.5, -1) @ values)
        centred = said - said.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def closed_loop() -> list[dict[str, Any]]:
    """Steps of the world a second, 24 cars side by side."""
    ours, plain = VotingAgent(), VotingAgent(PlainNeurons(), compile=False)
    vector = 0.3 * torch.randn(ours.layout.size, generator=torch.Generator().manual_seed(0))
    env = CarPatches(horizon=STEPS).open()

    def speed(agent: VotingAgent) -> float:
        policy = agent.policy(vector)
        assert isinstance(policy, VisionPolicy)
        began = time.perf_counter()
        play(env, policy, row_seeds(0, CARS))
        return CARS * STEPS / (time.perf_counter() - began)

    speed(ours)  # compiles
    found = interleaved({"ours": lambda: speed(ours), "plain": lambda: speed(plain)}, ROUNDS)
    return [row("vision-neurons/closed-loop", found["ours"], "steps/s", "float32, eager, whole attentions", found["plain"])]


ROWS = {"vision-neurons/closed-loop": closed_loop}
