"""Multilayer perceptrons and their initialisation."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


def mlp(*sizes: int, between: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with the activation `between` them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), between()]
    return nn.Sequential(*layers[:-1])


def exact(layer: nn.Linear, hidden: Tensor) -> Tensor:
    """A linear layer in float32 even under autocast, for outputs that need full precision."""
    with torch.autocast(hidden.device.type, enabled=False):
        return layer(hidden.float())


def orthogonal(module: nn.Module, seed: int) -> None:
    """Orthogonal initial weights (Saxe et al. 2014), gain sqrt(2) for convolutions, zero biases; LayerNorm and frozen weights stay."""
    generator = torch.Generator().manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    scales = {id(part.weight) for part in module.modules() if isinstance(part, nn.LayerNorm)}
    for tensor in (tensor for tensor in module.parameters() if tensor.requires_grad):
        if tensor.dim() > 1:
            nn.init.orthogonal_(tensor, math.sqrt(2) if tensor.dim() == 4 else 1.0, generator=generator)
        elif id(tensor) not in scales:
            nn.init.zeros_(tensor)
