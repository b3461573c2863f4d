"""The representation of Proto-RL: encoder f, projector g, predictor v and prototypes C, named as in the paper (P)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm, normalize

from sensorium.core.errors import Usage
from sensorium.core.machine import products
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Metrics, State
from sensorium.nets import descent
from sensorium.nets.encoders import Encoder, Plain
from sensorium.nets.mlp import mlp, orthogonal
from sensorium.rl.targets import ema_update
from sensorium.systems.proto_rl import equations as eq


class Standardised(nn.Module):
    """An encoder whose codes are standardised per dimension: batch normalisation (Ioffe & Szegedy 2015) without scale and shift.

    The prototype loss uses batch statistics and updates the running averages with momentum `share`. Everything else uses the running
    averages. 0.001 is added to each variance, so a standard deviation is at least about 0.03.
    """

    def __init__(self, inner: Encoder | Plain, share: float):
        super().__init__()
        self.inner, self.width, self.share = inner, inner.width, share
        self.mean = nn.Parameter(torch.zeros(inner.width), requires_grad=False)
        self.variance = nn.Parameter(torch.ones(inner.width), requires_grad=False)

    def forward(self, obs: Tensor) -> Float[Tensor, "rows width"]:
        return batch_norm(self.inner(obs).float(), self.mean, self.variance, training=self.training, momentum=self.share, eps=1e-3)


class Representation(nn.Module):
    """f, g, v and C: all modules that the prototype loss trains."""

    def __init__(self, encoder: Encoder | Plain | Standardised, proto: "Proto"):
        super().__init__()
        self.encoder = encoder
        if proto.prototypes:
            self.projector = nn.Linear(encoder.width, proto.projection)
            self.predictor = mlp(proto.projection, proto.hidden, proto.projection)
            self.prototypes = nn.Parameter(torch.zeros(proto.prototypes, proto.projection))
        # only the prototype loss may update the running averages of codes
        self.eval()

    def project(self, code: Float[Tensor, "rows width"]) -> Float[Tensor, "rows d"]:
        """z = g(y), normalised to length 1."""
        return normalize(self.projector(code).float(), dim=1)

    def target(self) -> nn.ModuleDict:
        """f and g, the modules that have a target network (an exponential moving average)."""
        return nn.ModuleDict({"encoder": self.encoder, "projector": self.projector})


@dataclass(frozen=True)
class Proto:
    """Settings of the representation and of the intrinsic reward. Errors: core.errors.Usage for settings that contradict each other."""

    prototypes: int = 512
    """M, at most the batch size: with more, many samples are their own nearest candidate and get reward 0; 0 gives an encoder alone"""
    projection: int = 128
    """D, dimensions of z"""
    hidden: int = 512
    """hidden units of the predictor"""
    temperature: float = 0.1
    """softmax temperature of assignments and loss; that of the candidates is 1"""
    iterations: int = 3
    """iterations of Sinkhorn-Knopp"""
    queue: int = 2048
    """candidates that the queue holds, a multiple of the prototypes"""
    nearest: int = 3
    """k: the reward is the distance to the k-th nearest candidate"""
    ratio: bool = False
    """whether candidates are drawn in proportion to cosines (paper) instead of to a softmax of cosines (its code)"""
    frozen_pointer: bool = False
    """whether the queue's pointer never advances, as in URLB's first public code"""
    tau: float = 0.05
    """update rate of the target networks of f and g, and of the running averages of standardised codes"""
    learning_rate: float = 1e-4
    every: int = 2
    """critic updates per update of the representation"""
    channels: int = 32
    """channels of each convolution"""
    centre: float = 0.0
    """value subtracted from pixels in [0, 1]: 0 or 0.5"""
    standardise: bool = False
    """whether codes are standardised; without it, codes of pixels are nearly equal at first, and all z collapse to one point"""
    by_critic: bool = False
    """whether the critic's gradient trains the encoder, as in DrQ-v2 (which has no prototypes) and in URLB's first public code"""

    def __post_init__(self) -> None:
        if self.prototypes and self.queue % self.prototypes:
            raise Usage(f"each round adds one candidate per prototype: queue {self.queue} is no multiple of {self.prototypes} prototypes")
        if not self.prototypes and not self.by_critic:
            raise Usage("without prototypes nothing trains the encoder unless the critic does; give by_critic True")
        if not self.prototypes and self.standardise:
            raise Usage("only the prototype loss updates the statistics of standardised codes; give prototypes, or standardise False")

    @property
    def architecture(self) -> tuple[object, ...]:
        """Settings that must be equal for the networks of one run to be used in another."""
        return self.prototypes, self.projection, self.hidden, self.queue, self.channels, self.centre, self.standardise

    @property
    def explores(self) -> bool:
        return self.prototypes > 0

    @property
    def consecutive(self) -> bool:
        return self.prototypes > 0

    @property
    def parts(self) -> tuple[str, ...]:
        return "representation", "target"

    def require(self, batch: int) -> None:
        if self.standardise and batch < 2:
            raise Usage("standardise needs the statistics of a batch; give batch at least 2")

    def carried(self, observation: tuple[int, ...]) -> tuple[str, ...]:
        """Names of f, g, v, C, the queue and its pointer. Target networks are not carried over."""
        return (*(f"representation/{name}" for name in descent.names(self.representation(observation))), "queue", "pointer")

    def init(self, observation: tuple[int, ...], seeds: Seeds) -> State:
        model = self.representation(observation)
        orthogonal(model, seeds("representation"))
        state = descent.under("representation", descent.first(model))
        if self.by_critic:
            state |= descent.under("by-critic", descent.moments(model.encoder))
        if self.prototypes:
            unit(state["representation/model/prototypes"])
            state |= descent.under("target", descent.parameters(model.target()))
            state |= {"queue": torch.zeros(self.queue, self.projection), "pointer": torch.zeros((), dtype=torch.int64)}
        return state

    def open(self, state: State, observation: tuple[int, ...], represent: bool, dtype: torch.dtype) -> "Prototypes":
        return Prototypes(self, state, observation, represent, dtype)

    def encoder(self, observation: tuple[int, ...]) -> Encoder | Plain | Standardised:
        """f for observations of this shape: convolutions for images [channels, height, width], the identity for states [n]."""
        encoder = Encoder(self.channels, self.centre, observation) if len(observation) == 3 else Plain(observation[0])
        return Standardised(encoder, self.tau) if self.standardise else encoder

    def representation(self, observation: tuple[int, ...]) -> Representation:
        return Representation(self.encoder(observation), self)

    def loss(
        self, online: Representation, target: nn.ModuleDict, obs: Tensor, next_obs: Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """The loss (P equation 4) of consecutive observations, and the scores [rows, M] of the later ones; large products in `dtype`.

        Standardised codes use the statistics of this batch and update the running averages.
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
        """One candidate per prototype, drawn from the batch (P section 3.2)."""
        return z[eq.candidates(z @ prototypes.T, uniforms, self.ratio)]


class Prototypes:
    """Representation, target networks and optimisers, opened on a state (P appendix, algorithm 1)."""

    def __init__(self, settings: Proto, state: State, observation: tuple[int, ...], represent: bool, dtype: torch.dtype):
        self.settings, self.state, self.dtype = settings, state, dtype
        part = descent.part("representation", state)
        self.model = descent.loaded(settings.representation(observation), part)
        self.encoder = self.model.encoder
        # for states the encoder is the identity and has no parameters
        trained = represent and settings.by_critic and any(tensor.requires_grad for tensor in self.encoder.parameters())
        self.by_critic = (descent.optimizer(self.encoder, descent.part("by-critic", state), settings.learning_rate),) if trained else ()
        if settings.prototypes:
            self.optimizer = descent.optimizer(self.model, part, settings.learning_rate)
            target = settings.representation(observation).target()
            self.target = descent.loaded(target, descent.part("target", state)).requires_grad_(False)
        self.chosen = torch.zeros(settings.prototypes, dtype=torch.bool, device=state["agent-steps"].device)

    def begin(self) -> None:
        self.chosen.zero_()

    def summary(self, means: Metrics) -> Metrics:
        """The number of prototypes that were not the nearest prototype of any sample of this step."""
        return {"prototypes/dead": float((~self.chosen).sum())} if "prototypes/used" in means else {}

    def learn(self, obs: Tensor, following: Tensor, number: int) -> dict[str, Tensor]:
        """One optimiser step on the prototype loss (P equation 4), every `every` critic updates."""
        proto = self.settings
        if not proto.prototypes or number % proto.every:
            return {}
        unit(self.model.prototypes.data)
        loss, scores = proto.loss(self.model, self.target, obs, following, self.dtype)
        descent.descend(loss, self.optimizer)
        ema_update(self.target.parameters(), self.model.target().parameters(), proto.tau)
        self.state["representation/updates"] += 1
        self.chosen[scores.argmax(1)] = True
        return {"loss/representation": loss.detach(), "prototypes/used": eq.usage(scores, proto.temperature)}

    @torch.no_grad()
    def intrinsic_reward(self, obs: Tensor, next_code: Float[Tensor, "rows n"], seeds: Seeds) -> Float[Tensor, "rows"]:
        """The particle reward of the next codes; the candidates of the batch enter the queue first (P section 3.2)."""
        state, proto = self.state, self.settings
        unit(self.model.prototypes.data)
        with products(next_code.device, self.dtype):
            z = self.model.project(next_code)
        uniforms = torch.rand(proto.prototypes, generator=torch.Generator().manual_seed(seeds("candidates"))).to(next_code.device)
        chosen = proto.sample_candidates(z, self.model.prototypes, uniforms)
        state["queue"], state["pointer"] = eq.enqueue(state["queue"], state["pointer"], chosen, frozen_pointer=proto.frozen_pointer)
        return eq.particle_reward(z, state["queue"], proto.nearest)


@torch.no_grad()
def unit(prototypes: Tensor) -> None:
    """Normalise prototypes to length 1, in place and without gradient, as the authors' code does before each use."""
    prototypes.copy_(normalize(prototypes, dim=1))
