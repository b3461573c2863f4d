"""What Proto-RL learns to see with: encoder f, projector g, predictor v and prototypes C, named as the paper names them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import batch_norm, normalize

from sensorium.core.errors import Usage
from sensorium.core.machine import products
from sensorium.core.seeding import uniform
from sensorium.nets.mlp import mlp
from sensorium.systems.proto_rl import equations as eq

SIDE = 35
"""lines and columns of what the encoder's convolutions leave of 84"""


class Encoder(nn.Module):
    """f: nine channels of 84 x 84 -> a code of channels x 35 x 35 numbers, through four convolutions."""

    def __init__(self, channels: int, centre: float):
        super().__init__()
        self.centre, self.width = centre, channels * SIDE * SIDE
        sizes = (9, channels, channels, channels, channels)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2 if i == 0 else 1) for i, (a, b) in enumerate(pairwise(sizes)))

    def forward(self, obs: Tensor) -> Float[Tensor, "rows width"]:
        """From frames uint8 [rows, 9, 84, 84]; a code lists its pixels one after another, each with all its channels."""
        picture = obs.contiguous(memory_format=torch.channels_last).float().mul_(1 / 255)
        if self.centre:
            picture.sub_(self.centre)
        for layer in self.layers:
            picture = torch.relu(layer(picture))
        return picture.permute(0, 2, 3, 1).flatten(1)


class Plain(nn.Module):
    """States are their own codes."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, obs: Float[Tensor, "rows n"]) -> Float[Tensor, "rows n"]:
        return obs


class Standardised(nn.Module):
    """An encoder whose codes are given number by number less their mean, in units of their standard deviation, or of 0.03 where that is less: of the
    batch in the loss of the prototypes, everywhere else of running averages that this loss moves (batch normalisation, Ioffe & Szegedy 2015, without
    its scale and shift).
    """

    def __init__(self, inner: Encoder | Plain, share: float):
        super().__init__()
        self.inner, self.width, self.share = inner, inner.width, share
        self.mean = nn.Parameter(torch.zeros(inner.width), requires_grad=False)
        self.variance = nn.Parameter(torch.ones(inner.width), requires_grad=False)

    def forward(self, obs: Tensor) -> Float[Tensor, "rows width"]:
        return batch_norm(self.inner(obs).float(), self.mean, self.variance, training=self.training, momentum=self.share, eps=1e-3)


class Representation(nn.Module):
    """f, and on it g, v and C: everything that the loss of the prototypes trains."""

    def __init__(self, encoder: Encoder | Plain | Standardised, proto: "Proto"):
        super().__init__()
        self.encoder = encoder
        if proto.prototypes:
            self.projector = nn.Linear(encoder.width, proto.projection)
            self.predictor = mlp(proto.projection, proto.hidden, proto.projection)
            self.prototypes = nn.Parameter(torch.zeros(proto.prototypes, proto.projection))
        # whoever sees but does not learn must not move the averages of codes
        self.eval()

    def project(self, code: Float[Tensor, "rows width"]) -> Float[Tensor, "rows d"]:
        """z = g(y), of length 1."""
        return normalize(self.projector(code).float(), dim=1)

    def target(self) -> nn.ModuleDict:
        """The parts of which a slow copy is kept: f and g."""
        return nn.ModuleDict({"encoder": self.encoder, "projector": self.projector})


@dataclass(frozen=True)
class Proto:
    """Settings of the representation and of what it says is new."""

    prototypes: int = 512
    """M, as many as a batch has samples, or fewer: with more, samples are their own nearest candidates and earn nothing; 0: an encoder alone"""
    projection: int = 128
    """D, numbers of z"""
    hidden: int = 512
    """units of the predictor"""
    temperature: float = 0.1
    """of assignments and of the loss; that of the candidates is 1"""
    iterations: int = 3
    """of Sinkhorn"""
    queue: int = 2048
    """candidates that are remembered"""
    nearest: int = 3
    """k: the reward is the distance to the k-th nearest candidate"""
    ratio: bool = False
    """whether candidates are drawn in proportion to cosines, as the paper writes, instead of to a softmax of them, as its code does"""
    frozen_pointer: bool = False
    """whether the queue's pointer stands still, as in URLB's first public code"""
    tau: float = 0.05
    """share by which the slow copies of f and g follow, and the averages by which codes are standardised"""
    learning_rate: float = 1e-4
    every: int = 2
    """updates of the critic between two of the representation"""
    channels: int = 32
    """of each convolution"""
    centre: float = 0.0
    """what is taken from pixels in [0, 1]: nothing, or 0.5"""
    standardise: bool = False
    """whether codes are standardised: those of pixels are nearly alike, their z fall into one point otherwise, and an actor does not tell them apart"""
    by_critic: bool = False
    """whether the critic's gradient trains the encoder (too): as in DrQ-v2, which has no prototypes, and in URLB's first public code"""

    def __post_init__(self) -> None:
        if self.prototypes and self.queue % self.prototypes:
            raise Usage(f"the queue holds whole rounds of candidates: {self.queue} is no multiple of {self.prototypes} prototypes")
        if not self.prototypes and not self.by_critic:
            raise Usage("without prototypes nothing trains the encoder unless the critic does; give by_critic True")
        if not self.prototypes and self.standardise:
            raise Usage("codes are standardised by what the prototypes' loss has seen; give prototypes, or standardise False")

    def encoder(self, observation: tuple[int, ...]) -> Encoder | Plain | Standardised:
        """f for observations of a shape."""
        encoder = Encoder(self.channels, self.centre) if len(observation) == 3 else Plain(observation[0])
        return Standardised(encoder, self.tau) if self.standardise else encoder

    def representation(self, observation: tuple[int, ...]) -> Representation:
        return Representation(self.encoder(observation), self)

    def loss(
        self, online: Representation, target: nn.ModuleDict, obs: Tensor, next_obs: Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """The loss (P equation 4) of consecutive observations, and the scores [rows, M] of the later ones; large products in `dtype`.

        Codes that are standardised are so by this batch, which moves their averages.
        """
        online.train()
        target.train()
        with products(obs.device, dtype):
            s = online.predictor(online.projector(online.encoder(obs)))
            with torch.no_grad():
                t = target["projector"](target["encoder"](next_obs))
        online.eval()
        target.eval()
        with torch.no_grad():
            then = eq.scores(t.float(), online.prototypes)
            assignments = eq.sinkhorn(then, temperature=self.temperature, iterations=self.iterations)
        return eq.prototype_loss(eq.scores(s.float(), online.prototypes), assignments, self.temperature), then

    def sample_candidates(self, z: Float[Tensor, "rows d"], prototypes: Tensor, uniforms: Float[Tensor, "m"]) -> Float[Tensor, "m d"]:
        """The candidates of a batch."""
        return z[eq.candidates(z @ prototypes.T, uniforms, self.ratio)]


@torch.no_grad()
def unit(prototypes: Tensor) -> None:
    """Give prototypes length 1, in place, beside the gradient: what the authors do before each use."""
    prototypes.copy_(normalize(prototypes, dim=1))


@dataclass(frozen=True)
class Uniform:
    """Actions drawn anew at every step: who does not explore at all."""

    actions: int
    members = 1

    def take(self, members: Int[Tensor, "some"]) -> "Uniform":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        return seeds

    def act(self, obs: Tensor, memory: Tensor, t: int | Tensor) -> tuple[Tensor, Any]:
        return 2 * uniform(memory, t, self.actions) - 1, memory
