"""Import of the authors' published files (MIT licence): JSON of integers (value times 10,000), or of floats for a controller.

Any subset can be imported. Files are recognised by their shapes: `vae.json` (22 tensors), `rnn.json` (4, in either order), a
controller (`*.best.json`) and `initial_z.json`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.core import card as cards
from sensorium.core import checkpoint
from sensorium.core.errors import Failure, Usage
from sensorium.core.machine import facts
from sensorium.core.stage import Stage
from sensorium.envs.car_racing import CarRacing
from sensorium.envs.take_cover import TakeCover
from sensorium.systems.world_models.model import ConvVAE, Linear
from sensorium.systems.world_models.stages import Controller, Memory, Vision

SCALE = 10000


@dataclass(frozen=True)
class ImportTarget:
    """The stages that the authors' files of one world are imported to."""

    world: CarRacing | TakeCover
    vision: Vision
    memory: Memory
    controller: Controller
    files: dict[str, str] = field(default_factory=lambda: {"vision": "vae.json", "memory": "rnn.json", "controller": "*.best.json"})


def import_target(name: str) -> ImportTarget:
    """The stages of "car-racing" or "take-cover"."""
    if name == "car-racing":
        world: Any = CarRacing(legacy=True)
        return ImportTarget(world, Vision(latents=32, steps=0), Memory(steps=0), Controller(world=world, steps=0))
    world = TakeCover(engine="vizdoom", faithful=True, legacy=True)
    controller = Linear("zch", latents=64, hidden=512, actions=1, bias=False, car=False)
    memory = Memory(hidden=512, restart=True, sequences="streams", steps=0)
    return ImportTarget(
        world, Vision(latents=64, steps=0), memory, Controller(world=world, controller=controller, dream=True, temperature=1.15, steps=0)
    )


def numbers(path: Path) -> list[Any]:
    """The JSON list of a file. Errors: core.errors.Usage, or Failure if it is not JSON."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise Usage(f"no file {path}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Failure(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(value, list) or not value:
        raise Usage(f"{path} does not hold a list; it is not one of the authors' files")
    return value


def arrays(path: Path, parts: list[Any]) -> list[Tensor]:
    """The lists of a file as float32 tensors. Errors: core.errors.Usage, or Failure for values that are not finite."""
    try:
        found = [torch.from_numpy(np.array(part, dtype=np.float32)) for part in parts]
    except (TypeError, ValueError) as error:
        raise Usage(f"{path} holds no tensors ({error})") from None
    if not all(bool(tensor.isfinite().all()) for tensor in found):
        raise Failure(f"{path} holds numbers that are not finite")
    return found


def vision_state(tensors: list[Tensor], latents: int) -> dict[str, Tensor]:
    """State of V from the 22 tensors of vae.json: kernels [h, w, in, out], for transposed convolutions [h, w, out, in]."""
    pairs = list(zip(tensors[0::2], tensors[1::2], strict=True))
    names = [f"encoder.{i}" for i in range(4)] + ["mu", "log_variance", "expand"] + [f"decoder.{i}" for i in range(4)]
    state = {}
    for name, (kernel, bias) in zip(names, pairs, strict=True):
        if kernel.dim() == 4:
            weight = kernel.permute(3, 2, 0, 1)
        elif name == "expand":
            weight = kernel.T
        else:
            # they flatten (height, width, channels); here it is (channels, height, width)
            weight = kernel.view(2, 2, 256, latents).permute(3, 2, 0, 1).reshape(latents, 1024)
        state |= {f"model/{name}.weight": weight.contiguous() / SCALE, f"model/{name}.bias": bias / SCALE}
    return state


def memory_state(tensors: list[Tensor], latents: int) -> dict[str, Tensor]:
    """State of M from the 4 tensors of rnn.json. Gates there: input, candidate, forget, output; here: input, forget, candidate, output."""
    by_size = sorted(tensors, key=lambda tensor: (tensor.dim(), tensor.shape[-1]), reverse=True)
    head, kernel = sorted(by_size[:2], key=lambda tensor: tensor.shape[0])
    bias = next(tensor for tensor in tensors if tensor.dim() == 1 and len(tensor) == kernel.shape[1])
    head_bias = next(tensor for tensor in tensors if tensor.dim() == 1 and len(tensor) == head.shape[1])

    def ordered(gates: Tensor) -> Tensor:
        i, j, f, o = gates.chunk(4, -1)
        return torch.cat([i, f, j, o], -1)

    state = {"kernel": ordered(kernel), "bias": ordered(bias), "head": head, "head_bias": head_bias}
    start = torch.zeros(1, latents)
    return {**{f"model/{name}": tensor / SCALE for name, tensor in state.items()}, "start/mu": start, "start/log_variance": start.clone()}


def controller_vector(values: Tensor, layout: Linear) -> Tensor:
    """Parameters of C from their vector: biases if there are any, then the weights [features, actions]."""
    biases = layout.actions if layout.bias else 0
    weight = values[biases:].view(layout.width, layout.actions).T.flatten()
    return torch.cat([weight, values[:biases]])


def recognise(path: Path, target: ImportTarget) -> tuple[str, dict[str, Tensor]]:
    """Which part a file holds, and its state. Errors: core.errors.Usage if the shapes fit no part."""
    parts = numbers(path)
    latents, hidden, size = target.vision.latents, target.memory.hidden, target.controller.controller.layout.size
    if len(parts) == 2 and isinstance(parts[1], (int, float)):
        values = arrays(path, [parts[0]])[0]
        if values.shape == (size,):
            return "controller", {"agent": controller_vector(values, target.controller.controller)}
        raise Usage(f"{path} holds a controller of {values.numel()} parameters; {size} are needed")
    tensors = arrays(path, parts)
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(tensors) == 22 and (1024, latents) in shapes:
        wanted = {f"model/{name}": tuple(p.shape) for name, p in ConvVAE(latents).named_parameters()}
        state = vision_state(tensors, latents)
        if {name: tuple(tensor.shape) for name, tensor in state.items()} == wanted:
            return "vision", state
    model = target.memory.empty(latents, target.controller.controller.actions)
    if shapes == {tuple(p.shape) for p in model.parameters()}:
        return "memory", memory_state(tensors, latents)
    if len(tensors) == 2 and all(tensor.dim() == 2 and tensor.shape[1] == latents for tensor in tensors):
        return "starts", {"start/mu": tensors[0] / SCALE, "start/log_variance": tensors[1] / SCALE}
    raise Usage(
        f"{path} is none of their files for this world: vae.json (22 tensors, z of {latents}), rnn.json (4, {hidden} units), "
        f"a controller ({size} numbers), initial_z.json (2 x n x {latents})"
    )


def load(name: str, files: list[Path], out: Path) -> list[str]:
    """Import files of one world into `out`; return a line per part, imported or missing."""
    target = import_target(name)
    if out.exists() and any(out.iterdir()):
        raise Usage(f"{out} is not empty; use another --out")
    found: dict[str, dict[str, Tensor]] = {}
    for path in files:
        part, state = recognise(path, target)
        found[part] = {**found.get(part, {}), **state}
    starts = found.pop("starts", None)
    if starts and "memory" in found:
        found["memory"] |= starts
    stages: dict[str, Stage] = {"2-vision": target.vision, "3-memory": target.memory, "4-controller": target.controller}
    lines = []
    for folder, stage in stages.items():
        part = folder[2:]
        if part not in found:
            lines.append(f"missing: {part} ({target.files[part]})")
            continue
        card = {
            "format": cards.FORMAT, "stage": cards.plain(stage), "seed": None, "recipe": name, "preset": "imported", "machine": facts(),
            "source": [path.name for path in files],
        }  # fmt: skip
        with checkpoint.writing(out):
            (out / folder).mkdir(parents=True)
            checkpoint.write_json(out / folder / "card.json", card)
        checkpoint.save(out / folder, 0, found[part])
        lines.append(
            f"imported: {part}, {sum(tensor.numel() for key, tensor in found[part].items() if not key.startswith('start'))} parameters"
        )
    if "memory" in found and not starts:
        lines.append("missing: first frames (initial_z.json); dreams start with z drawn from N(0, 1)")
    return lines


def car_racing(files: list[Path], out: Path) -> list[str]:
    """Import the authors' CarRacing model."""
    return load("car-racing", files, out)


def take_cover(files: list[Path], out: Path) -> list[str]:
    """Import the authors' TakeCover model."""
    return load("take-cover", files, out)
