"""Training of a recurrent student on whole windows, compared with one step at a time."""

import time
from typing import Any

import torch
from torch import Tensor

from bench.interleave import interleaved, row
from sensorium.core.machine import compiled
from sensorium.imitation.clone import readout
from sensorium.nets.agent import first_vector
from sensorium.systems.attention_neuron.recipes.clone import ANT_STUDENT

STEPS, ROWS_OF_A_BATCH, SENSORS, UPDATES, ROUNDS = 100, 32, 28, 3, 3


def recurrent_student() -> list[dict[str, Any]]:
    """Training steps of Ant's clone per second, including gradients."""
    draw, shape = torch.Generator().manual_seed(0), (STEPS, ROWS_OF_A_BATCH)
    obs, before, teacher_actions = (
        torch.randn(*shape, width, generator=draw) for width in (SENSORS, ANT_STUDENT.actions, ANT_STUDENT.actions)
    )
    vector, blank, quick = (
        first_vector(ANT_STUDENT, 1.0, 2.0, 0),
        torch.zeros(ROWS_OF_A_BATCH, SENSORS, ANT_STUDENT.hidden),
        compiled(readout),
    )

    def windows(weights: Tensor) -> Tensor:
        student = ANT_STUDENT.policy(weights)
        hidden, _ = student.unroll(obs, before, blank, blank)
        return quick(student, obs.flatten(0, 1), hidden.flatten(0, 1)).view_as(teacher_actions)

    def steps(weights: Tensor) -> Tensor:
        student, actions = ANT_STUDENT.policy(weights), []
        memory = student.begin(torch.zeros(ROWS_OF_A_BATCH, dtype=torch.int64))
        for now, previous in zip(obs, before, strict=True):
            action, memory = student.predict(now, student.with_action(memory, previous))
            actions.append(action)
        return torch.stack(actions)

    def speed(follow: Any) -> float:
        began = time.perf_counter()
        for _ in range(UPDATES):
            weights = vector.clone().requires_grad_()
            torch.autograd.grad((follow(weights) - teacher_actions).square().mean(), weights)
        return UPDATES * STEPS * ROWS_OF_A_BATCH / (time.perf_counter() - began)

    speed(windows)  # compiles
    speed(steps)
    found = interleaved({"ours": lambda: speed(windows), "plain": lambda: speed(steps)}, ROUNDS)
    return [row("clone/remembering", found["ours"], "steps/s", "one step at a time, eager", found["plain"])]


ROWS = {"clone/remembering": recurrent_student}
