"""The mathematics of imitation that no paper here owns."""

import torch
from jaxtyping import Float
from torch import Tensor


def recognition(hidden: Float[Tensor, "rows some H"], layer: Float[Tensor, "N H_and_1"]) -> Float[Tensor, "rows some N"]:
    """Log-probabilities of which of N sensors is connected to each of some neurons, by a linear layer (its last column the bias) on hidden states.

    An auxiliary loss of clones, not in Tang & Ha 2021: a neuron can do what the teacher's first layer does only once it has identified its sensor.
    """
    return torch.log_softmax(hidden @ layer[:, :-1].mT + layer[:, -1], -1)
