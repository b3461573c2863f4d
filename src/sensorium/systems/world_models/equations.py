"""Equations of World Models as pure functions on tensors.

P is Ha & Schmidhuber 2018 (arXiv 1803.10122), G is Graves 2013, "Generating sequences with recurrent neural networks" (arXiv 1308.0850),
K is Kingma & Welling 2014, S is the authors' released code, which is the source where the paper gives no details.
"""

import math
from functools import reduce

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


def mixture_parameters(output: Float[Tensor, "*rows z three_k"]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, means and log standard deviations [*rows, z, k] of the mixture of each latent dimension, in this order (G eq. 18-20; P, S)."""
    logit, mean, log_sd = output.chunk(3, -1)
    return logit, mean, log_sd


def mixture_log_likelihood(
    z: Float[Tensor, "*rows z"],
    log_weight: Float[Tensor, "*rows z k"],
    mean: Float[Tensor, "*rows z k"],
    log_sd: Float[Tensor, "*rows z k"],
) -> Float[Tensor, "*rows z"]:
    """log p(z) of each dimension under its mixture of normals, in nats (G eq. 23)."""
    deviation = (z[..., None] - mean) * torch.exp(-log_sd)
    return torch.logsumexp(log_weight - 0.5 * deviation**2 - log_sd - 0.5 * math.log(2 * math.pi), -1)


def cooled(logit: Float[Tensor, "*rows z k"], temperature: float) -> Float[Tensor, "*rows z k"]:
    """Mixture weights at a temperature: softmax of the logits divided by it (P section 4.4, S)."""
    return torch.softmax(logit / temperature, -1)


def mixture_sample(
    logit: Float[Tensor, "*rows z k"], mean: Float[Tensor, "*rows z k"], log_sd: Float[Tensor, "*rows z k"],
    temperature: float, choice: Float[Tensor, "*rows z"], noise: Float[Tensor, "*rows z"],
) -> Float[Tensor, "*rows z"]:  # fmt: skip
    """A sample from the mixtures at a temperature, from uniform `choice` in [0, 1) and standard normal `noise`.

    Logits are divided by the temperature, standard deviations are multiplied by its square root (P section 4.4, S). The component is the
    first whose cumulative weight exceeds `choice`. The loop over components compiles to one pass over the latent dimensions.
    """
    logits = (logit / temperature).unbind(-1)
    largest = reduce(torch.maximum, logits)
    weights = [torch.exp(one - largest) for one in logits]
    limit, below = choice * reduce(torch.add, weights), weights[0]
    chosen_mean, chosen_log_sd = mean[..., 0], log_sd[..., 0]
    for k in range(1, len(weights)):
        chosen_mean = torch.where(limit >= below, mean[..., k], chosen_mean)
        chosen_log_sd = torch.where(limit >= below, log_sd[..., k], chosen_log_sd)
        below = below + weights[k]
    return chosen_mean + torch.exp(chosen_log_sd) * math.sqrt(temperature) * noise


def dropout_mask(uniform: Float[Tensor, "*any"], probability: float) -> Float[Tensor, "*any"]:
    """Factors of dropout from uniform numbers in [0, 1): 0 with this probability, otherwise 1 / (1 - probability), so that their mean is 1.

    M has one mask for all steps of a training sequence (Gal & Ghahramani 2016, arXiv 1512.05287). In the dream it has one for each episode
    (Wellmer & Kwok 2021, arXiv 2109.08342, and their code).
    """
    return (uniform >= probability).to(uniform.dtype) / (1 - probability)


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
