"""V, M and C of World Models, and the random agents that gather the first data."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from sensorium.core.errors import Usage
from sensorium.core.seeding import fold, normal
from sensorium.nets import lstm
from sensorium.nets.conv import conv_transpose_stride2
from sensorium.nets.flat import Layout
from sensorium.systems.world_models import equations as eq


class ConvVAE(nn.Module):
    """V: a frame of 64 x 64 as a normal distribution over `latents` numbers, and back (P appendix, figure 22)."""

    def __init__(self, latents: int):
        super().__init__()
        self.latents = latents
        sizes = (3, 32, 64, 128, 256)
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, 4, 2) for a, b in pairwise(sizes))
        self.mu, self.log_variance = nn.Linear(1024, latents), nn.Linear(1024, latents)
        self.expand = nn.Linear(latents, 1024)
        widths, kernels = (1024, 128, 64, 32, 3), (5, 5, 6, 6)
        self.decoder = nn.ModuleList(nn.ConvTranspose2d(a, b, k, 2) for (a, b), k in zip(pairwise(widths), kernels, strict=True))

    def encode(self, pixels: Float[Tensor, "rows 3 64 64"]) -> tuple[Float[Tensor, "rows z"], Float[Tensor, "rows z"]]:
        """Mean and log variance of z, from pixels in [0, 1]."""
        for layer in self.encoder:
            pixels = torch.relu(layer(pixels))
        features = pixels.flatten(1)
        return self.mu(features).float(), self.log_variance(features).float()

    def decode(self, z: Float[Tensor, "rows z"]) -> Float[Tensor, "rows 3 64 64"]:
        """Pixels in [0, 1]."""
        first, *others = [
            (layer.weight, layer.bias) for layer in self.decoder if isinstance(layer, nn.ConvTranspose2d) and layer.bias is not None
        ]
        features = self.expand(z)
        # from a single pixel a transposed convolution is a matrix product
        weight = first[0].permute(0, 2, 3, 1)
        picture = (features @ weight.flatten(1)).view(-1, 5, 5, weight.shape[-1]) + first[1]
        picture = torch.relu(picture).permute(0, 3, 1, 2)
        for part in others[:-1]:
            picture = torch.relu(conv_transpose_stride2(picture, *part))
        return torch.sigmoid(conv_transpose_stride2(picture, *others[-1])).float()


def pixels(frames: UInt8[Tensor, "rows 64 64 3"]) -> Float[Tensor, "rows 3 64 64"]:
    """Frames as V takes them: in [0, 1], colours first in shape and last in memory."""
    return frames.permute(0, 3, 1, 2).float() / 255


class Prediction(NamedTuple):
    """What M says of the next step; what it was not asked for is None."""

    restart: Tensor | None
    reward: Tensor | None
    action: Tensor | None
    log_weight: Tensor
    mean: Tensor
    log_sd: Tensor


class MDNRNN(nn.Module):
    """M: an LSTM that reads (z, action, restart) and predicts the next z with a mixture of normals for every dimension (P section 4.2)."""

    def __init__(
        self, latents: int, actions: int, hidden: int, mixtures: int = 5, restart: bool = False, reward: bool = False, action: bool = False
    ):
        super().__init__()
        self.latents, self.actions, self.hidden, self.mixtures = latents, actions, hidden, mixtures
        self.restart, self.reward, self.action = restart, reward, action
        inputs = latents + actions + restart
        self.kernel = nn.Parameter(torch.zeros(inputs + hidden, 4 * hidden))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        self.head = nn.Parameter(torch.zeros(hidden, self.extras + 3 * mixtures * latents))
        self.head_bias = nn.Parameter(torch.zeros(self.extras + 3 * mixtures * latents))

    @property
    def extras(self) -> int:
        """Outputs before the mixtures: restart logit, reward, next action."""
        return self.restart + self.reward + self.action * self.actions

    def inputs(
        self, z: Float[Tensor, "*rows z"], action: Float[Tensor, "*rows a"], restart: Float[Tensor, "*rows"]
    ) -> Float[Tensor, "*rows n"]:
        """What the LSTM reads at a step."""
        return torch.cat([z, action, restart[..., None]] if self.restart else [z, action], -1)

    def step(
        self, z: Tensor, action: Tensor, restart: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Float[Tensor, "rows h"], Float[Tensor, "rows h"]]:
        """Hidden and cell state after a step; where an episode begins anew the memory is cleared before it."""
        keep = (restart < 0.5).to(hidden.dtype)[:, None]
        return lstm.cell(self.inputs(z, action, restart), hidden * keep, cell * keep, self.kernel, self.bias)

    def sequence(
        self, inputs: Float[Tensor, "steps rows n"], keep: Float[Tensor, "steps rows 1"], hidden: Tensor, cell: Tensor,
        dtype: torch.dtype = torch.float32, compile: bool = True,
    ) -> tuple[Float[Tensor, "steps rows h"], Float[Tensor, "rows h"]]:  # fmt: skip
        """Hidden states after every step and the last cell state, for training."""
        width = inputs.shape[-1]
        sums = (inputs.flatten(0, 1).to(dtype) @ self.kernel[:width].to(dtype) + self.bias.to(dtype)).view(*inputs.shape[:2], -1)
        return lstm.sequence(sums, keep, hidden, cell, self.kernel[width:], compile)

    def predict(self, hidden: Float[Tensor, "*rows h"]) -> Prediction:
        """What follows, from the hidden state after a step."""
        rows = hidden.shape[:-1]
        flat = hidden.reshape(-1, self.hidden).to(self.head.dtype)
        return self.split(torch.addmm(self.head_bias, flat, self.head).float().view(*rows, -1))

    def split(self, output: Float[Tensor, "*rows out"]) -> Prediction:
        """The heads' outputs by name."""
        sizes = [int(self.restart), int(self.reward), self.action * self.actions, output.shape[-1] - self.extras]
        restart, reward, action, mixtures = output.split(sizes, -1)
        return Prediction(
            restart[..., 0] if self.restart else None,
            reward[..., 0] if self.reward else None,
            action if self.action else None,
            *eq.mixture_parameters(mixtures, self.mixtures),
        )


Features = Literal["z", "z-hidden", "zh", "zch"]
HIDDEN = 40
"""units between z and the actions under "z-hidden" (P section 4.3)"""


@dataclass(frozen=True)
class Linear:
    """C: tanh of a linear map of what V and M know (P section 2.3); with "z-hidden" through a layer of 40."""

    features: Features = "zh"
    """what it reads: z; z through a hidden layer; z and h; z, c and h"""
    latents: int = 32
    hidden: int = 256
    """units of M"""
    actions: int = 3
    bias: bool = True
    car: bool = True
    """whether the actions are steering, gas and brake, with gas and brake from 0 to 1"""

    def __post_init__(self) -> None:
        if self.features not in ("z", "z-hidden", "zh", "zch"):
            raise Usage(f"features cannot be '{self.features}'; allowed: z, z-hidden, zh, zch")

    @property
    def width(self) -> int:
        return self.latents + {"z": 0, "z-hidden": 0, "zh": 1, "zch": 2}[self.features] * self.hidden

    @property
    def layout(self) -> Layout:
        last = HIDDEN if self.features == "z-hidden" else self.width
        first = (("hidden", (HIDDEN, self.width)), ("hidden_bias", (HIDDEN,))) if self.features == "z-hidden" else ()
        return Layout((*first, ("weight", (self.actions, last)), *((("bias", (self.actions,)),) if self.bias else ())))

    def act(
        self, tensors: dict[str, Tensor], z: Float[Tensor, "rows z"], hidden: Float[Tensor, "rows h"], cell: Float[Tensor, "rows h"]
    ) -> Float[Tensor, "rows a"]:
        """Actions; each tensor has a row of its own for every row, or one for all."""
        known = {"z": [z], "z-hidden": [z], "zh": [z, hidden], "zch": [z, cell, hidden]}[self.features]
        x = torch.cat(known, 1) if len(known) > 1 else z
        if self.features == "z-hidden":
            x = torch.tanh((tensors["hidden"] * x[:, None]).sum(-1) + tensors["hidden_bias"])
        drive = (tensors["weight"] * x[:, None]).sum(-1)
        drive = torch.tanh(drive + tensors["bias"] if self.bias else drive)
        return eq.car_action(drive) if self.car else drive

    @property
    def remembers(self) -> bool:
        """Whether it needs M."""
        return self.features in ("zh", "zch")


class Driver:
    """V, M and C as one Policy: frames in, actions out. Its memory is (row seeds, hidden, cell, z, action).

    C sees z of this frame and the hidden state from before it; then M hears z and the action (P section 2.4): when the next frame comes, so
    that it hears what was really done.
    """

    def __init__(
        self, vision: ConvVAE, memory: MDNRNN | None, controller: Linear, vectors: Float[Tensor, "*members n"], drawn: bool = True
    ):
        self.vision, self.memory, self.controller, self.drawn = vision, memory, controller, drawn
        self.vectors = vectors.view(-1, vectors.shape[-1])
        self.tensors = controller.layout.split(self.vectors)

    @property
    def members(self) -> int:
        return len(self.vectors)

    def take(self, members: Int[Tensor, "some"]) -> "Driver":
        return Driver(self.vision, self.memory, self.controller, self.vectors[members], self.drawn)

    def deterministic(self) -> "Driver":
        """The same driver, which takes the mean of z instead of drawing it: whoever learns from it does not have to average."""
        return Driver(self.vision, self.memory, self.controller, self.vectors, drawn=False)

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        blank = torch.zeros(len(seeds), self.memory.hidden if self.memory else 1, device=seeds.device)
        z, action = (torch.zeros(len(seeds), n, device=seeds.device) for n in (self.vision.latents, self.controller.actions))
        return fold(seeds, "z"), blank, blank.clone(), z, action

    def with_action(self, memory: Any, action: Float[Tensor, "rows a"]) -> Any:
        """The memory of a driver in whose place something else was done."""
        return (*memory[:-1], action)

    def act(self, obs: UInt8[Tensor, "rows 64 64 3"], memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, hidden, cell, z, action = memory
        with torch.no_grad():
            if self.memory is not None:
                time = torch.as_tensor(t, device=hidden.device).expand(len(hidden))
                known = self.memory.step(z, action, (time == 1).to(hidden.dtype), hidden, cell)
                # before the first frame there was nothing to hear
                hidden, cell = (torch.where((time > 0)[:, None], new, old) for new, old in zip(known, (hidden, cell), strict=True))
            image = pixels(obs)
            mu, log_variance = self.vision.encode(image.to(next(self.vision.parameters()).dtype))
            z = eq.latent(mu, log_variance, normal(seeds, t, self.vision.latents)) if self.drawn else mu.float()
            action = self.controller.act(self.tensors, z, hidden, cell)
        return action, (seeds, hidden, cell, z, action)


class Dreamer:
    """C alone, for a world that shows (z, c, h): a dream, or the real one seen through V and M."""

    def __init__(self, controller: Linear, vectors: Float[Tensor, "*members n"]):
        self.controller, self.vectors = controller, vectors.view(-1, vectors.shape[-1])
        self.tensors = controller.layout.split(self.vectors)

    @property
    def members(self) -> int:
        return len(self.vectors)

    def take(self, members: Int[Tensor, "some"]) -> "Dreamer":
        return Dreamer(self.controller, self.vectors[members])

    def begin(self, seeds: Int[Tensor, "rows"]) -> tuple[()]:
        return ()

    def act(self, obs: Float[Tensor, "rows zch"], memory: tuple[()], t: int | Tensor) -> tuple[Tensor, tuple[()]]:
        c = self.controller
        z, cell, hidden = obs.split([c.latents, c.hidden, c.hidden], 1)
        return c.act(self.tensors, z, hidden, cell), memory
