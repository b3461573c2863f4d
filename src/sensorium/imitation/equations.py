"""Auxiliary losses of imitation."""

import torch
from jaxtyping import Float
from torch import Tensor


def recognition(hidden: Float[Tensor, "rows some H"], layer: Float[Tensor, "N H_and_1"]) -> Float[Tensor, "rows some N"]:
    """Log-probabilities of which of N sensors each neuron is connected to, by a linear layer on hidden states (last column: bias).

    An auxiliary loss of clones, not in Tang & Ha 2021: to imitate the teacher's first layer a neuron has to identify its sensor.
    """
    return torch.log_softmax(hidden @ layer[:, :-1].mT + layer[:, -1], -1)
