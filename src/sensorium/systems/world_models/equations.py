"""Equations of World Models as pure functions on tensors.

P is Ha & Schmidhuber 2018 (arXiv 1803.10122), G is Graves 2013, "Generating sequences with recurrent neural networks" (arXiv 1308.0850),
K is Kingma & Welling 2014, S is the authors' released code, which is the source where the paper gives no details.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def latent(
    mu: Float[Tensor, "*rows z"], log_variance: Float[Tensor, "*rows z"], noise: Float[Tensor, "*rows z"]
) -> Float[Tensor, "*rows z"]:
    """z ~ N(mu, sigma^2) from standard normal noise (P appendix, "Variational autoencoder"; K eq. 4)."""
    return mu + torch.exp(log_variance / 2) * noise


def reconstruction(pixels: Float[Tensor, "rows *image"], decoded: Float[Tensor, "rows *image"]) -> Float[Tensor, "rows"]:
    """Squared error of an image with pixels in [0, 1], summed (not averaged) over height, width and channels (S)."""
    return ((pixels - decoded) ** 2).flatten(1).sum(1)


def divergence(mu: Float[Tensor, "rows z"], log_variance: Float[Tensor, "rows z"]) -> Float[Tensor, "rows"]:
    """KL(N(mu, sigma^2) || N(0, 1)) in nats, summed over the latent vector (K appendix B)."""
    return -0.5 * (1 + log_variance - mu**2 - torch.exp(log_variance)).sum(-1)


def floored(divergence: Float[Tensor, "rows"], tolerance: float, size: int) -> Float[Tensor, "rows"]:
    """KL term of the loss with free bits: max(KL, tolerance * size) nats for the whole latent vector (S)."""
    return divergence.clamp(min=tolerance * size)


def mixture_parameters(output: Float[Tensor, "*rows out"], mixtures: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights, means and log standard deviations [*rows, z, mixtures]; each latent dimension has its own mixture (P, S).

    The outputs of a dimension are contiguous: logits, then means, then log standard deviations (G eq. 18-20).
    """
    logits, mean, log_sd = output.unflatten(-1, (-1, 3, mixtures)).unbind(-2)
    return torch.log_softmax(logits, -1), mean, log_sd


def mixture_log_likelihood(
    z: Float[Tensor, "*rows z"],
    log_weight: Float[Tensor, "*rows z k"],
    mean: Float[Tensor, "*rows z k"],
    log_sd: Float[Tensor, "*rows z k"],
) -> Float[Tensor, "*rows z"]:
    """log p(z) of each dimension under its mixture of normals, in nats (G eq. 23)."""
    deviation = (z[..., None] - mean) * torch.exp(-log_sd)
    return torch.logsumexp(log_weight - 0.5 * deviation**2 - log_sd - 0.5 * math.log(2 * math.pi), -1)


def cooled(log_weight: Float[Tensor, "*rows z k"], temperature: float) -> Float[Tensor, "*rows z k"]:
    """Mixture weights at a temperature: softmax of the log weights divided by it (P section 4.4, S)."""
    return torch.softmax(log_weight / temperature, -1)


def mixture_sample(
    log_weight: Float[Tensor, "*rows z k"], mean: Float[Tensor, "*rows z k"], log_sd: Float[Tensor, "*rows z k"],
    temperature: float, choice: Float[Tensor, "*rows z"], noise: Float[Tensor, "*rows z"],
) -> Float[Tensor, "*rows z"]:  # fmt: skip
    """A sample from the mixtures at a temperature, from uniform `choice` in [0, 1) and standard normal `noise`.

    Log weights are divided by the temperature, standard deviations are multiplied by its square root (P section 4.4, S).
    """
    weight = cooled(log_weight, temperature)
    # the first component whose cumulative weight exceeds the uniform number
    passed = (choice[..., None] >= weight.cumsum(-1)[..., :-1]).sum(-1, keepdim=True)
    chosen = torch.arange(mean.shape[-1], device=mean.device) == passed
    mean, sd = (mean * chosen).sum(-1), (torch.exp(log_sd) * chosen).sum(-1)
    return mean + sd * math.sqrt(temperature) * noise


def restart_cost(logit: Float[Tensor, "*rows"], restart: Float[Tensor, "*rows"], factor: float) -> Float[Tensor, "*rows"]:
    """Cross-entropy in nats of "the next frame starts another episode"; positive examples have weight `factor` (S)."""
    cost = torch.nn.functional.binary_cross_entropy_with_logits(logit, restart, reduction="none")
    return (1 + (factor - 1) * restart) * cost


def ends(logit: Float[Tensor, "*rows"]) -> Bool[Tensor, "*rows"]:
    """Whether the dream ends: if the restart probability exceeds 1/2; independent of the temperature, not sampled (P appendix; S)."""
    return logit > 0


def car_action(drive: Float[Tensor, "rows 3"]) -> Float[Tensor, "rows 3"]:
    """Steering in [-1, 1], gas and brake in [0, 1], from three numbers in [-1, 1] (S)."""
    steer, gas, brake = drive.unbind(-1)
    return torch.stack([steer, (gas + 1) / 2, brake.clamp(0, 1)], -1)
