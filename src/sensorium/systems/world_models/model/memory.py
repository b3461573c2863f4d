"""M: the MDN-RNN. P is the paper (Ha & Schmidhuber 2018)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nets import lstm
from sensorium.nets.packed import affine
from sensorium.systems.world_models import equations as eq


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
        self, z: Tensor, action: Tensor, restart: Tensor, hidden: Tensor, cell: Tensor, mask: Float[Tensor, "rows z_and_h"] | None = None
    ) -> tuple[Float[Tensor, "rows h"], Float[Tensor, "rows h"]]:
        """Hidden and cell state after a step. Where `restart` is 1, an episode starts, and the state is set to zero first.

        `mask` multiplies z and the hidden state as inputs of this step.
        """
        keep = (restart < 0.5).to(hidden.dtype)[:, None]
        if mask is not None:
            z, hidden = z * mask[:, : self.latents], hidden * mask[:, self.latents :]
        return lstm.cell(self.inputs(z, action, restart), hidden * keep, cell * keep, self.kernel, self.bias)

    def sequence(
        self, inputs: Float[Tensor, "steps rows n"], keep: Float[Tensor, "steps rows 1"], hidden: Tensor, cell: Tensor,
        dtype: torch.dtype = torch.float32, compile: bool = True, implementation: lstm.Implementation = "explicit",
        mask: Float[Tensor, "rows h"] | None = None,
    ) -> tuple[Float[Tensor, "steps rows h"], Float[Tensor, "rows h"]]:  # fmt: skip
        """Hidden states after every step, and the last cell state, for training. `keep` is 0 where the state is set to zero first.

        `mask` multiplies the hidden state as an input of each step. `dtype` and `compile` are those of the explicit implementation; the
        fused one computes in float32. Errors: ValueError for a mask with the fused implementation.
        """
        if implementation == "fused":
            if mask is not None:
                raise ValueError("torch's LSTM has no mask on the hidden state")
            return lstm.fused_sequence(inputs, keep, hidden, cell, self.kernel, self.bias)
        width = inputs.shape[-1]
        sums = (inputs.flatten(0, 1).to(dtype) @ self.kernel[:width].to(dtype) + self.bias.to(dtype)).view(*inputs.shape[:2], -1)
        return lstm.sequence(sums, keep, hidden, cell, self.kernel[width:], compile, mask)

    def output_layer(self, dtype: torch.dtype | None = None) -> tuple[Float[Tensor, "h outputs"], Float[Tensor, "outputs"]]:
        """Weights and bias of the output layer in `dtype` (default: their own), with the latent dimension last in memory.

        Vector instructions then run over it and not over the few components. Where the weights do not change, compute it once.
        """
        parts = [(part[..., : self.extras], part[..., self.extras :]) for part in (self.head, self.head_bias)]
        weight, bias = (
            torch.cat([first, mixtures.unflatten(-1, (self.latents, -1)).transpose(-1, -2).flatten(-2)], -1) for first, mixtures in parts
        )
        dtype = dtype or self.head.dtype
        return weight.to(dtype), bias.to(dtype)

    def predict(
        self, hidden: Float[Tensor, "*rows h"], dtype: torch.dtype | None = None, layer: tuple[Tensor, Tensor] | None = None
    ) -> Prediction:
        """Prediction of the next step from the hidden state after this step, with the matrix product in `dtype` (default: the weights').

        `layer`: an `output_layer` computed earlier, instead of `dtype`.
        """
        if layer:
            output = affine(hidden.flatten(0, -2), *layer)
        else:
            # used once: not worth packing
            head, bias = self.output_layer(dtype)
            output = torch.addmm(bias, hidden.flatten(0, -2).to(head.dtype), head)
        output = output.float().view(*hidden.shape[:-1], -1)
        sizes = [int(self.restart), int(self.reward), self.action * self.actions, output.shape[-1] - self.extras]
        restart, reward, action, mixtures = output.split(sizes, -1)
        return Prediction(
            restart[..., 0] if self.restart else None,
            reward[..., 0] if self.reward else None,
            action if self.action else None,
            *eq.mixture_parameters(mixtures.unflatten(-1, (-1, self.latents)).transpose(-1, -2)),
        )
