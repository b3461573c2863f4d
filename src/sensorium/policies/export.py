"""Export of trained agents to ONNX."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.core import checkpoint
from sensorium.core.env import EnvSpec
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import MixedPrecision, Policy, Stochastic
from sensorium.core.seeding import normal, row_seeds, uniform
from sensorium.core.stage import InWorld
from sensorium.envs.host import extra
from sensorium.policies.actions import Actions
from sensorium.policies.onnx import MEMORY, NEXT, Onnx, OnnxPolicy, first_line

FILE = "policy.onnx"
ROWS, STEPS = 16, 5
"""rows and steps of the comparison with torch"""
TOLERANCE = 1e-3
"""largest difference of an action"""
ALLOWED = "exported are networks on observations: feed-forward agents, sensory neurons, and the actors of SAC and DDPG"


class Network(nn.Module):
    """A policy's step as a module: observations and memory -> actions and the next memory."""

    def __init__(self, policy: Policy):
        super().__init__()
        self.policy = policy

    def forward(self, obs: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        action, after = self.policy.act(obs, memory, 0)
        return action, *after


def export(folder: str | Path, out: str | Path) -> list[str]:
    """Write an agent as OUT/policy.onnx and compare it with torch; returns lines for the user.

    Inputs: `observation` [batch, ...] and, for recurrent agents, `memory.0` [batch, ...], ..., which begin at zero. Outputs: `action` and
    `next_memory.0`, ... Stochastic agents are exported in their deterministic mode.
    Errors: core.errors.Usage for an agent that is no network on observations, core.errors.Failure where the file differs from torch.
    """
    stage, state = checkpoint.restored(folder)
    path = Path(out) / FILE
    if path.exists():
        raise Usage(f"{path} exists; use another --out, or delete it")
    if isinstance(stage, Onnx):
        return written(path, stage.file(state), "the file that was imported")
    if not isinstance(stage, InWorld):
        raise Usage(f"{folder} holds no agent that acts and cannot be exported; {ALLOWED}")
    with checkpoint.fitting(folder):
        policy = stage.policy(state)
    policy, spec = policy.deterministic() if isinstance(policy, Stochastic) else policy, stage.world.spec
    policy = policy.float32() if isinstance(policy, MixedPrecision) else policy
    data = converted(policy, spec, str(folder))
    try:
        file = OnnxPolicy(data, Actions("its file", spec))
    except Failure as error:
        raise Usage(f"{folder} cannot be exported: {error}; {ALLOWED}") from None
    difference = compared(policy, file, spec)
    if not difference <= TOLERANCE:
        raise Failure(
            f"{folder} cannot be exported: its ONNX actions differ from torch by {difference:.2g}, as where an agent depends on the step"
        )
    return written(path, data, f"largest difference from torch {difference:.2g} in {ROWS} rows of {STEPS} random observations")


def written(path: Path, data: bytes, about: str) -> list[str]:
    """Write a file; returns lines for the user."""
    with checkpoint.writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write(path, data)
    return [f"written: {path}, {len(data):,} bytes; {about}"]


def observations(spec: EnvSpec, rows: int, step: int) -> Tensor:
    """Random observations of a world's shape: standard normal vectors, or uniform bytes."""
    size, seeds = torch.Size(spec.observation), row_seeds(0, rows)
    if spec.kind == "vector":
        return normal(seeds, step, size.numel()).view(rows, *size)
    return (uniform(seeds, step, size.numel()) * 256).to(torch.uint8).view(rows, *size)


def converted(policy: Policy, spec: EnvSpec, name: str) -> bytes:
    """A policy as an ONNX file. Errors: core.errors.Usage where it is no network on observations."""
    extra("onnxscript", "onnx")
    with torch.no_grad():
        first = policy.begin(row_seeds(0, 3))
        obs = observations(spec, 3, 0)
        # the shapes of later steps: some memories grow to the number of sensors at the first
        memory = policy.act(obs, first, 0)[1]
    flat = isinstance(memory, tuple) and all(isinstance(part, Tensor) and part.dtype == torch.float32 for part in memory)
    if policy.members != 1 or not flat or any(bool(part.any()) for part in first):
        raise Usage(f"{name} cannot be exported: its memory is more than numbers that begin at zero; {ALLOWED}")
    batch = {0: torch.export.Dim("batch")}
    names = [str(i) for i in range(len(memory))]
    shapes: Any = (batch, *([tuple(batch for _ in memory)] if memory else []))
    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(
                Network(policy).eval(), (obs, *memory), None, dynamo=True, verbose=False, dynamic_shapes=shapes,
                input_names=["observation", *(MEMORY + i for i in names)], output_names=["action", *(NEXT + i for i in names)],
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        raise Usage(f"{name} cannot be exported: torch.onnx does not take it ({first_line(cause)}); {ALLOWED}") from None
    assert program is not None
    return program.model_proto.SerializeToString()


@contextmanager
def silence() -> Iterator[None]:
    """Context without the exporter's warnings and log."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def compared(policy: Policy, file: OnnxPolicy, spec: EnvSpec) -> float:
    """The largest difference of actions over some steps of random observations, each side with its own memory."""
    seeds = row_seeds(1, ROWS)
    ours, theirs, difference = policy.begin(seeds), file.begin(seeds), 0.0
    for t in range(STEPS):
        obs = observations(spec, ROWS, t)
        with torch.no_grad():
            action, ours = policy.act(obs, ours, t)
        found, theirs = file.act(obs, theirs, t)
        # unlike the built-in max, torch's keeps NaN
        difference = float(torch.maximum(torch.tensor(difference), (action - found).abs().max()))
    return difference
