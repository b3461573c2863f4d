"""A student that remembers, taught window by window, beside one that goes through each window a step at a time."""

import time
from typing import Any

import torch
from torch import Tensor

from bench.interleave import interleaved, row
from sensorium.core.machine import compiled
from sensorium.imitation.clone import readout
from sensorium.nets.agent import first_vector
from sensorium.systems.attention_neuron.recipes.clone import PUPIL

STEPS, ROWS_OF_A_BATCH, SENSORS, UPDATES, ROUNDS = 100, 32, 28, 3, 3


def remembering() -> list[dict[str, Any]]:
    """Moments a second, gradients included, that Ant's clone is taught from."""
    draw, shape = torch.Generator().manual_seed(0), (STEPS, ROWS_OF_A_BATCH)
    obs, before, teacher_actions = (torch.randn(*shape, width, generator=draw) for width in (SENSORS, PUPIL.actions, PUPIL.actions))
    vector, blank, quick = first_vector(PUPIL, 1.0, 2.0, 0), torch.zeros(ROWS_OF_A_BATCH, SENSORS, PUPIL.hidden), compiled(readout)

    def windows(weights: Tensor) -> Tensor:
        student = PUPIL.policy(weights)
        hidden, _ = student.unroll(obs, before, blank, blank)
        return quick(student, obs.flatten(0, 1), hidden.flatten(0, 1)).view_as(teacher_actions)

    def steps(weights: Tensor) -> Tensor:
        student, said = PUPIL.policy(weights), []
        memory = student.begin(torch.zeros(ROWS_OF_A_BATCH, dtype=torch.int64))
        for seen, done in zip(obs, before, strict=True):
            action, memory = student.predict(seen, student.with_action(memory, done))
            said.append(action)
        return torch.stack(said)

    def speed(follow: Any) -> float:
        began = time.perf_counter()
        for _ in range(UPDATES):
            weights = vector.clone().requires_grad_()
            torch.autograd.grad((follow(weights) - teacher_actions).square().mean(), weights)
        return UPDATES * STEPS * ROWS_OF_A_BATCH / (time.perf_counter() - began)

    speed(windows)  # compiles
    speed(steps)
    found = interleaved({"ours": lambda: speed(windows), "plain": lambda: speed(steps)}, ROUNDS)
    return [row("clone/remembering", found["ours"], "moments/s", "a step at a time, eager", found["plain"])]


ROWS = {"clone/remembering": remembering}
