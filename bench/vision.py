"""Agents on image patches, acting and training, compared with plain versions: float32, eager, materialised attention weights."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.interleave import interleaved, row
from sensorium.core.errors import Failure
from sensorium.core.machine import compiled, keep_pages
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.data.demonstrations import Window
from sensorium.envs.car_racing import CarPatches
from sensorium.imitation.clone import Clone, Resources, outputs
from sensorium.systems.attention_neuron.model import VisionNeurons, VisionPolicy, VotingAgent
from sensorium.systems.attention_neuron.recipes.clone import CAR_STUDENT

CARS, STEPS, UPDATES, ROUNDS = 24, 120, 5, 3


class PlainNeurons(VisionNeurons):
    """The same layer with materialised attention weights."""

    def __call__(self, tensors: dict[str, Tensor], patches: Tensor, action: Tensor) -> Tensor:
        pixels = patches.float() / 255
        changes = (pixels[:, :, 1:] - pixels[:, :, :-1]).flatten(2)
        inputs = torch.cat([changes, action[:, None].expand(-1, changes.shape[1], -1)], 2)
        keys = inputs @ tensors["key.weight"][0].T + tensors["key.bias"]
        centred = pixels - pixels.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        values = scaled.flatten(2) @ tensors["value.weight"][0].T + tensors["value.bias"]
        code = torch.relu(torch.softmax(tensors["queries"] @ keys.mT / self.width**0.5, -1) @ values)
        centred = code - code.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def closed_loop() -> list[dict[str, Any]]:
    """Steps per second of 24 parallel cars; and the same in a process with the system's allocator settings."""
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
    name, baseline = "vision-neurons/closed-loop", "float32, eager, materialised attention"
    rows = [row(name, found["ours"], "steps/s", baseline, found["plain"])]
    if not keep_pages():
        return rows
    command = [sys.executable, "-m", "sensorium.cli", "bench", name, "--json"]
    child = subprocess.run(command, env={**os.environ, "SENSORIUM_MALLOC": "system"}, capture_output=True, text=True)
    if child.returncode:
        raise Failure(f"the process with the system's allocator ended with {child.returncode}: {child.stderr[-200:]}")
    (other,) = json.loads(child.stdout)["rows"]
    return [*rows, {**other, "name": f"{name}-system", "baseline": f"{baseline}, the system's allocator for both"}]


class Recorded:
    """Random demonstrations."""

    def __init__(self) -> None:
        self.frames = torch.randint(0, 256, (512, 256, 4, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def draw(self, rows: int, steps: int, seed: int, device: Any = "cpu") -> Window:
        """A window of random frames."""
        picked = torch.randint(512, (steps, rows), generator=torch.Generator().manual_seed(seed % 2**31))
        actions = torch.zeros(steps, rows, 3)
        return Window(self.frames[picked], actions, actions[..., 0] > 0, actions, actions[..., 0] == 0)


def training() -> list[dict[str, Any]]:
    """Training steps of a student per second."""
    demonstrations, plain = Recorded(), replace(CAR_STUDENT, neurons=PlainNeurons(**vars(CAR_STUDENT.neurons)))
    stages = {
        "ours": Clone(CarPatches(), CAR_STUDENT, batch=64, window=1),
        "plain": Clone(CarPatches(), plain, batch=64, window=1, bfloat16=False),
    }
    states = {name: stage.init(Seeds(0, name)) for name, stage in stages.items()}
    network = {"ours": compiled(outputs), "plain": outputs}

    def speed(name: str) -> float:
        began = time.perf_counter()
        for number in range(UPDATES):
            stages[name].update(states[name], Resources(demonstrations, outputs=network[name]), Seeds(0, name, number))  # type: ignore[arg-type]
        return UPDATES * 64 / (time.perf_counter() - began)

    for name in stages:
        speed(name)
    found = interleaved({name: lambda name=name: speed(name) for name in stages}, ROUNDS)
    return [row("clone/train", found["ours"], "steps/s", "float32, materialised attention", found["plain"])]


ROWS = {"vision-neurons/closed-loop": closed_loop, "clone/train": training}
