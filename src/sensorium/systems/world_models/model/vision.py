"""V: encoders of observations. P is the paper (Ha & Schmidhuber 2018)."""

import math
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sensorium.nets.conv import conv_transpose_stride2


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
