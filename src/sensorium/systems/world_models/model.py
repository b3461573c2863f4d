"""V, M and C of World Models, and the policies made of them. P is the paper (Ha & Schmidhuber 2018)."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sensorium.core.errors import Usage
from sensorium.core.seeding import fold, normal
from sensorium.nets import lstm
from sensorium.nets.conv import conv_transpose_stride2
from sensorium.nets.flat import Layout
from sensorium.systems.world_models import equations as eq


class ConvVAE(nn.Module):
    """V: convolutional VAE for frames of 64 x 64 pixels with `latents` latent dimensions (P appendix, figure 22)."""

    def __init__(self, latents: int):
        super().__init__()
        self.latents = latents
        sizes = (3, 32, 64, 128, 256)
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, 4, 2) for a, b in pairwise(sizes))
        self.mu, self.log_variance = nn.Linear(1024, latents), nn.Linear(1024, latents)
        self.expand = nn.Linear(latents, 1024)
        widths, kernels = (1024, 128, 64, 32, 3), (5, 5, 6, 6)
        self.decoder = nn.ModuleList(nn.ConvTranspose2d(a, b, k, 2) for (a, b), k in zip(pairwise(widths), kernels, strict=True))

    @property
    def device(self) -> torch.device:
        return self.mu.weight.device

    def posterior(self, obs: UInt8[Tensor, "rows 64 64 3"]) -> tuple[Float[Tensor, "rows z"], Float[Tensor, "rows z"]]:
        """Mean and log variance of z for observed frames."""
        return self.encode(pixels(obs).to(self.mu.weight.dtype))

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
        # a transposed convolution of a single pixel is a matrix product
        weight = first[0].permute(0, 2, 3, 1)
        image = (features @ weight.flatten(1)).view(-1, 5, 5, weight.shape[-1]) + first[1]
        image = torch.relu(image).permute(0, 3, 1, 2)
        for part in others[:-1]:
            image = torch.relu(conv_transpose_stride2(image, *part))
        return torch.sigmoid(conv_transpose_stride2(image, *others[-1])).float()


def pixels(frames: UInt8[Tensor, "rows 64 64 3"]) -> Float[Tensor, "rows 3 64 64"]:
    """Frames as input of V: floats in [0, 1], channels first in shape and last in memory."""
    return frames.permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def fit_initial_weights(model: ConvVAE, frames: UInt8[Tensor, "rows 64 64 3"]) -> None:
    """Fit initial weights to frames: input of the first layer with mean 0 and variance 1, output with the frames' mean colour.

    Data-dependent initialisation (Krahenbuhl et al. 2016). Without it, frames with a large bright background were still decoded to one
    colour after 10,000 updates.
    """
    image = pixels(frames)
    colour = image.mean((0, 2, 3))
    sd = (image - colour[:, None, None]).square().mean().sqrt().clamp(min=1 / 255)
    weight, bias = model.get_parameter("encoder.0.weight"), model.get_parameter("encoder.0.bias")
    weight /= sd
    bias -= weight.sum((2, 3)) @ colour
    last = model.get_parameter(f"decoder.{len(model.decoder) - 1}.bias")
    last += torch.logit(colour.clamp(1 / 255, 254 / 255))


class IdentityVision(nn.Module):
    """V for vector observations: z is the observation, normalised, with a little noise."""

    def __init__(self, mean: Float[Tensor, "n"], sd: Float[Tensor, "n"], noise: float):
        super().__init__()
        # attributes and not buffers: they stay in float32 where matrix products are in bfloat16
        self.mean, self.sd, self.noise, self.latents = mean, sd, noise, len(mean)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def posterior(self, obs: Float[Tensor, "rows n"]) -> tuple[Float[Tensor, "rows n"], Float[Tensor, "rows n"]]:
        """Mean and log variance of z for observed vectors."""
        z = (obs - self.mean) / self.sd
        return z, torch.full_like(z, 2 * math.log(self.noise))


@runtime_checkable
class Seeing(Protocol):
    """V: a module from observations to the posterior of z."""

    latents: int

    @property
    def device(self) -> torch.device: ...

    def posterior(self, obs: Tensor) -> tuple[Float[Tensor, "rows z"], Float[Tensor, "rows z"]]:
        """Mean and log variance of z for observations."""
        ...


class Prediction(NamedTuple):
    """Outputs of M for the next step; None for outputs that this M does not have.

    restart: logit [*rows]; reward [*rows]; action [*rows, a]; logit, mean, log_sd: mixtures [*rows, z, k].
    """

    restart: Tensor | None
    reward: Tensor | None
    action: Tensor | None
    logit: Tensor
    mean: Tensor
    log_sd: Tensor

    @property
    def log_weight(self) -> Tensor:
        """Logarithms of the weights of the mixtures [*rows, z, k]."""
        return torch.log_softmax(self.logit, -1)


class MDNRNN(nn.Module):
    """M: an LSTM with input (z, action, restart) that predicts a mixture of normals for each dimension of the next z (P section 4.2)."""

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
        """Number of outputs before the mixtures: restart logit, reward, next action."""
        return self.restart + self.reward + self.action * self.actions

    def inputs(
        self, z: Float[Tensor, "*rows z"], action: Float[Tensor, "*rows a"], restart: Float[Tensor, "*rows"]
    ) -> Float[Tensor, "*rows n"]:
        """Inputs of the LSTM at a step: z, action and, if M has it, restart."""
        return torch.cat([z, action, restart[..., None]] if self.restart else [z, action], -1)

    def step(
        self, z: Tensor, action: Tensor, restart: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Float[Tensor, "rows h"], Float[Tensor, "rows h"]]:
        """Hidden and cell state after a step. Where `restart` is 1, an episode starts, and the state is set to zero first."""
        keep = (restart < 0.5).to(hidden.dtype)[:, None]
        return lstm.cell(self.inputs(z, action, restart), hidden * keep, cell * keep, self.kernel, self.bias)

    def sequence(
        self, inputs: Float[Tensor, "steps rows n"], keep: Float[Tensor, "steps rows 1"], hidden: Tensor, cell: Tensor,
        dtype: torch.dtype = torch.float32, compile: bool = True, implementation: lstm.Implementation = "explicit",
    ) -> tuple[Float[Tensor, "steps rows h"], Float[Tensor, "rows h"]]:  # fmt: skip
        """Hidden states after every step, and the last cell state, for training. `keep` is 0 where the state is set to zero first.

        `dtype` and `compile` are those of the explicit implementation; the fused one computes in float32.
        """
        if implementation == "fused":
            return lstm.fused_sequence(inputs, keep, hidden, cell, self.kernel, self.bias)
        width = inputs.shape[-1]
        sums = (inputs.flatten(0, 1).to(dtype) @ self.kernel[:width].to(dtype) + self.bias.to(dtype)).view(*inputs.shape[:2], -1)
        return lstm.sequence(sums, keep, hidden, cell, self.kernel[width:], compile)

    def predict(self, hidden: Float[Tensor, "*rows h"], dtype: torch.dtype | None = None) -> Prediction:
        """Prediction of the next step from the hidden state after this step, with the matrix product in `dtype` (default: the weights')."""
        dtype = dtype or self.head.dtype
        # the latent dimension last in memory, so that vector instructions run over it and not over the few components
        parts = [(part[..., : self.extras], part[..., self.extras :]) for part in (self.head.to(dtype), self.head_bias.to(dtype))]
        head, bias = (
            torch.cat([first, mixtures.unflatten(-1, (self.latents, -1)).transpose(-1, -2).flatten(-2)], -1) for first, mixtures in parts
        )
        output = torch.addmm(bias, hidden.flatten(0, -2).to(dtype), head).float().view(*hidden.shape[:-1], -1)
        sizes = [int(self.restart), int(self.reward), self.action * self.actions, output.shape[-1] - self.extras]
        restart, reward, action, mixtures = output.split(sizes, -1)
        return Prediction(
            restart[..., 0] if self.restart else None,
            reward[..., 0] if self.reward else None,
            action if self.action else None,
            *eq.mixture_parameters(mixtures.unflatten(-1, (-1, self.latents)).transpose(-1, -2)),
        )


Features = Literal["z", "z-hidden", "zh", "zch"]
HIDDEN = 40
"""units of the hidden layer of "z-hidden" (P section 4.3)"""


@dataclass(frozen=True)
class Linear:
    """C: tanh of a linear map of features of V and M (P section 2.3); "z-hidden" adds a hidden layer of 40 units."""

    features: Features = "zh"
    """inputs: z; z with a hidden layer; z and h; z, c and h"""
    latents: int = 32
    hidden: int = 256
    """units of M"""
    actions: int = 3
    bias: bool = True
    car: bool = True
    """whether the actions are steering in [-1, 1], gas and brake in [0, 1]"""
    discrete: bool = False
    """whether the action is a choice: the one-hot vector of the largest output"""

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
        """Actions. The first dimension of each tensor in `tensors` is rows, or 1 if all rows share the parameters."""
        parts = {"z": [z], "z-hidden": [z], "zh": [z, hidden], "zch": [z, cell, hidden]}[self.features]
        x = torch.cat(parts, 1) if len(parts) > 1 else z
        if self.features == "z-hidden":
            x = torch.tanh((tensors["hidden"] * x[:, None]).sum(-1) + tensors["hidden_bias"])
        drive = (tensors["weight"] * x[:, None]).sum(-1)
        drive = torch.tanh(drive + tensors["bias"] if self.bias else drive)
        if self.discrete:
            return one_hot(drive.argmax(1), self.actions).to(drive.dtype)
        return eq.car_action(drive) if self.car else drive

    @property
    def uses_memory(self) -> bool:
        """Whether the features include the state of M."""
        return self.features in ("zh", "zch")


class WorldModelPolicy:
    """V, M and C as one Policy from frames to actions. Its memory is (row seeds, hidden, cell, z, action).

    C reads z of this frame and M's state before it (P section 2.4). M is updated with z and the action at the next call of `act`, so that
    it gets the action that was executed, see `with_action`.
    """

    def __init__(
        self, vision: Seeing, memory: MDNRNN | None, controller: Linear, vectors: Float[Tensor, "*members n"], sample_z: bool = True
    ):
        self.vision, self.memory, self.controller, self.sample_z = vision, memory, controller, sample_z
        self.vectors = vectors.view(-1, vectors.shape[-1])
        self.tensors = controller.layout.split(self.vectors)

    @property
    def members(self) -> int:
        return len(self.vectors)

    def take(self, members: Int[Tensor, "some"]) -> "WorldModelPolicy":
        return WorldModelPolicy(self.vision, self.memory, self.controller, self.vectors[members], self.sample_z)

    def deterministic(self) -> "WorldModelPolicy":
        """The policy with the mean of z instead of a sample, for example as a teacher."""
        return WorldModelPolicy(self.vision, self.memory, self.controller, self.vectors, sample_z=False)

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        blank = torch.zeros(len(seeds), self.memory.hidden if self.memory else 1, device=seeds.device)
        z, action = (torch.zeros(len(seeds), n, device=seeds.device) for n in (self.vision.latents, self.controller.actions))
        return fold(seeds, "z"), blank, blank.clone(), z, action

    def with_action(self, memory: Any, action: Float[Tensor, "rows a"]) -> Any:
        """The memory after another action was executed instead of the policy's own."""
        return (*memory[:-1], action)

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, hidden, cell, z, action = memory
        with torch.no_grad():
            if self.memory is not None:
                time = torch.as_tensor(t, device=hidden.device).expand(len(hidden))
                states = self.memory.step(z, action, (time == 1).to(hidden.dtype), hidden, cell)
                # before the first frame M has no input
                hidden, cell = (torch.where((time > 0)[:, None], new, old) for new, old in zip(states, (hidden, cell), strict=True))
            mu, log_variance = self.vision.posterior(obs)
            z = eq.latent(mu, log_variance, normal(seeds, t, self.vision.latents)) if self.sample_z else mu.float()
            action = self.controller.act(self.tensors, z, hidden, cell)
        return action, (seeds, hidden, cell, z, action)


class LatentPolicy:
    """C alone, for worlds whose observation is (z, c, h): a dream, or the real world encoded by V and M."""

    def __init__(self, controller: Linear, vectors: Float[Tensor, "*members n"]):
        self.controller, self.vectors = controller, vectors.view(-1, vectors.shape[-1])
        self.tensors = controller.layout.split(self.vectors)

    @property
    def members(self) -> int:
        return len(self.vectors)

    def take(self, members: Int[Tensor, "some"]) -> "LatentPolicy":
        return LatentPolicy(self.controller, self.vectors[members])

    def begin(self, seeds: Int[Tensor, "rows"]) -> tuple[()]:
        return ()

    def act(self, obs: Float[Tensor, "rows zch"], memory: tuple[()], t: int | Tensor) -> tuple[Tensor, tuple[()]]:
        c = self.controller
        z, cell, hidden = obs.split([c.latents, c.hidden, c.hidden], 1)
        return c.act(self.tensors, z, hidden, cell), memory
