"""Conversion between one parameter vector, for evolution, and named tensors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Names and shapes of a model's tensors in their order in the vector."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def size(self) -> int:
        return sum(math.prod(shape) for _, shape in self.shapes)

    def split(self, vector: Float[Tensor, "*batch n"]) -> dict[str, Tensor]:
        """Views of the vector's last axis by name; leading axes (a population) are kept. Errors: ValueError for a wrong size."""
        if vector.shape[-1] != self.size:
            raise ValueError(f"this model has {self.size} parameters, the vector {vector.shape[-1]}")
        sizes = [math.prod(shape) for _, shape in self.shapes]
        parts = vector.split(sizes, -1)
        return {name: part.unflatten(-1, shape) for (name, shape), part in zip(self.shapes, parts, strict=True)}

    def join(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "*batch n"]:
        """The vector of named tensors; the inverse of `split`."""
        return torch.cat([tensors[name].flatten(-len(shape)) for name, shape in self.shapes], -1)
