"""A world model: V's decoder, a step of M and C as ONNX files; sampling is TypeScript (web/src/scenes). And real frames with their codes."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sensorium.core.env import Steerable, World
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Policy
from sensorium.core.seeding import normal, row_seeds
from sensorium.core.stage import Decoding, InWorld
from sensorium.systems.world_models.dream import DreamWithVision, starts
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN, ConvVAE, Linear, WorldModelPolicy
from sensorium.web.exports.networks import ROWS, onnx_file
from sensorium.web.exports.scene import Agent, Scene
from sensorium.web.scenes import latent
from sensorium.web.scenes.dream import Dream

STARTS = 256
"""first frames that are exported"""
DIGITS = 5
"""decimals of their latent vectors"""
FRAMES = 32
"""real frames that are exported"""


class Decoder(nn.Module):
    """V's decoder: z [1, latents] -> frame [1, 3, 64, 64] in [0, 1]."""

    def __init__(self, vision: ConvVAE):
        super().__init__()
        self.expand, self.layers = vision.expand, vision.decoder

    def forward(self, z: Tensor) -> Tensor:
        frame = self.expand(z)[:, :, None, None]
        *hidden, last = self.layers
        for layer in hidden:
            frame = torch.relu(layer(frame))
        return torch.sigmoid(last(frame))


class MemoryStep(nn.Module):
    """A step of M: z, action, first [1, 1], hidden, cell -> hidden, cell, the mixtures [1, latents, k] and, where M has it, restart."""

    def __init__(self, memory: MDNRNN):
        super().__init__()
        self.memory = memory

    def forward(self, z: Tensor, action: Tensor, first: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        hidden, cell = self.memory.step(z, action, first[:, 0], hidden, cell)
        found = self.memory.predict(hidden)
        mixtures = (found.log_weight, found.mean, found.log_sd)
        return hidden, cell, *mixtures, *(() if found.restart is None else (found.restart[:, None],))


class Controlling(nn.Module):
    """C: z, hidden, cell -> action."""

    def __init__(self, controller: Linear, tensors: dict[str, Tensor]):
        super().__init__()
        self.controller = controller
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, z: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        return self.controller.act(dict(self.named_buffers()), z, hidden, cell)


def onnx_networks(
    vision: ConvVAE, memory: MDNRNN, controller: Linear, tensors: dict[str, Tensor], mu: Tensor
) -> dict[str, tuple[bytes, float]]:
    """V's decoder, a step of M, and C: name -> ONNX file and its largest difference from torch. `mu`: latent vectors of first frames."""
    seeds = row_seeds(0, ROWS)
    # inputs as they occur: latent vectors of first frames, hidden states in (-1, 1)
    z = mu[torch.arange(ROWS) % len(mu)] + normal(seeds, 0, memory.latents)
    hidden, cell = torch.tanh(normal(seeds, 1, memory.hidden)), normal(seeds, 2, memory.hidden)
    action = torch.tanh(normal(seeds, 3, memory.actions))
    first = (torch.arange(ROWS)[:, None] % 2).float()
    outputs = ["hidden_next", "cell_next", "log_weight", "mean", "log_sd", *(["restart"] if memory.restart else [])]
    step = {"z": z, "action": action, "first": first, "hidden": hidden, "cell": cell}
    return {
        "decoder": onnx_file("decoder", Decoder(vision), {"z": z}, ["frame"]),
        "memory": onnx_file("memory", MemoryStep(memory), step, outputs),
        "controller": onnx_file("controller", Controlling(controller, tensors), {"z": z, "hidden": hidden, "cell": cell}, ["action"]),
    }


def scenes(agent: Agent) -> list[Scene]:
    """The scenes of a world model with V of images, M and C; none for other agents. Errors: core.errors.Usage where it has no dream."""
    stage = agent.stage
    if not (isinstance(stage, DreamWithVision) and isinstance(stage, InWorld)):
        return []
    try:
        dream = stage.dream_world()
    except Usage as error:
        raise agent.refused(str(error)) from None
    policy = stage.policy(agent.state)
    vision, memory = load_model(stage.vision, bfloat16=False), load_model(dream.memory, bfloat16=False)
    if not isinstance(vision, ConvVAE) or not isinstance(policy, WorldModelPolicy):
        raise agent.refused("its dream has no images")
    controller = policy.controller
    mu, log_variance = (part[:STARTS] for part in starts(dream.memory, "cpu"))
    networks = onnx_networks(vision, memory, controller, policy.tensors, mu)
    names, steering = actions(stage.world, controller)
    data = {
        "title": stage.world.spec.name,
        "latents": memory.latents,
        "hidden": memory.hidden,
        "actions": names,
        "low": [*dream.low] or [-1.0] * controller.actions,
        "steering": steering,
        "horizon": dream.horizon,
        "temperature": dream.temperature,
        "starts": {"mu": rounded(mu), "sd": rounded(torch.exp(log_variance / 2))},
        "networks": {name: f"dream/{name}.onnx" for name in networks},
    }
    files = {data["networks"][name]: file for name, (file, _) in networks.items()}
    worst = max(difference for _, difference in networks.values())
    notes = (f"V's decoder, M and C as ONNX: largest difference from torch {worst:.2g} on {ROWS} inputs",)
    if dream.dropout:
        notes += (f"the page's dream has no dropout; C was evolved with {dream.dropout:g}",)
    found = [Scene("dream", Dream.title, data, files, notes, runtime=True)]
    if isinstance(stage, Decoding):
        try:
            found.append(latent_space(stage, stage.world, policy, data["networks"]["decoder"]))
        except (Usage, Failure) as error:
            found[0] = replace(
                found[0], notes=(*notes, f"without the scene of latent dimensions, which needs frames of {stage.world.spec.name}: {error}")
            )
    return found


def latent_space(stage: Decoding, world: World, policy: Policy, decoder: str) -> Scene:
    """Real frames with their z, for sliders on the dimensions that carry information. Errors: core.errors where the world cannot be opened."""
    space = latent.Space.of(stage, world, policy, 0)
    kept = torch.linspace(0, len(space.frames) - 1, min(FRAMES, len(space.frames))).round().long()
    # side by side
    strip = np.concatenate([*space.frames[kept].numpy()], 1)
    picture = io.BytesIO()
    Image.fromarray(strip).save(picture, "PNG", optimize=True)
    data = {
        "explanation": space.explanation,
        "frames": "latent/frames.png",
        "mu": rounded(space.mu[kept]),
        "sliders": [{"dimension": i, "label": space.label(i)} for i in space.used],
        "reach": latent.REACH,
        "sorted": space.sorted,
        "decoder": decoder,
    }
    return Scene("latent", latent.Latent.title, data, {"latent/frames.png": picture.getvalue()}, runtime=True)


def rounded(values: Tensor) -> list[list[float]]:
    """Numbers of a matrix, rounded for a small file."""
    return [[round(x, DIGITS) for x in row] for row in values.tolist()]


def actions(world: World, controller: Linear) -> tuple[list[str], dict[str, Any]]:
    """Names of the actions, and what each key does: the world's own keys, or the first two actions on the arrows."""
    n = controller.actions
    names = ["steering", "gas", "brake"] if controller.car else ["left and right"] if n == 1 else [f"action {i + 1}" for i in range(n)]
    if isinstance(world, Steerable):
        return names, {key: {"label": label, "action": [*action]} for key, (label, action) in world.steering.items()}
    keys, unit = ("left", "right", "up", "down"), torch.eye(n).tolist()
    if controller.discrete:
        moves = [(f"action {i + 1}", row) for i, row in enumerate(unit)]
    else:
        moves = [(f"action {i + 1} {sign}", [float(f"{sign}1") * x for x in row]) for i, row in enumerate(unit) for sign in "-+"]
    return names, {key: {"label": label, "action": move} for key, (label, move) in zip(keys, moves, strict=False)}
