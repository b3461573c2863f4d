"""What Proto-RL learns to see with: encoder f, projector g, predictor v and prototypes C, named as the paper names them."""

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

    @property
    def architecture(self) -> tuple[object, ...]:
        """What decides whether another one's networks fit, and mean the same."""
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
            raise Usage(
                "codes are standardised over a batch while the representation learns, and a batch of 1 has nothing to compare; give batch at least 2"
            )

    def carried(self, observation: tuple[int, ...]) -> tuple[str, ...]:
        """f, g, v and C, and the candidates; the slow copies begin anew."""
        return (*(f"representation/{name}" for name in descent.names(self.representation(observation))), "queue", "pointer")

    def init(self, observation: tuple[int, ...], seeds: Seeds) -> State:
        seen = self.representation(observation)
        orthogonal(seen, seeds("representation"))
        state = descent.under("representation", descent.first(seen))
        if self.by_critic:
            state |= descent.under("by-critic", descent.moments(seen.encoder))
        if self.prototypes:
            unit(state["representation/model/prototypes"])
            state |= descent.under("target", descent.parameters(seen.target()))
            state |= {"queue": torch.zeros(self.queue, self.projection), "pointer": torch.zeros((), dtype=torch.int64)}
        return state

    def open(self, state: State, observation: tuple[int, ...], represent: bool, dtype: torch.dtype) -> "Prototypes":
        return Prototypes(self, state, observation, represent, dtype)

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


class Prototypes:
    """Representation and prototypes at work on a state (P appendix, algorithm 1)."""

    def __init__(self, settings: Proto, state: State, observation: tuple[int, ...], represent: bool, dtype: torch.dtype):
        self.settings, self.state, self.dtype = settings, state, dtype
        part = descent.part("representation", state)
        self.seen = descent.loaded(settings.representation(observation), part)
        self.encoder = self.seen.encoder
        # states are their own codes: there is nothing to train on the way to them
        trained = represent and settings.by_critic and any(tensor.requires_grad for tensor in self.encoder.parameters())
        self.by_critic = (descent.optimizer(self.encoder, descent.part("by-critic", state), settings.learning_rate),) if trained else ()
        if settings.prototypes:
            self.optimizer = descent.optimizer(self.seen, part, settings.learning_rate)
            target = settings.representation(observation).target()
            self.target = descent.loaded(target, descent.part("target", state)).requires_grad_(False)
        self.chosen = torch.zeros(settings.prototypes, dtype=torch.bool, device=state["agent-steps"].device)

    def begin(self) -> None:
        self.chosen.zero_()

    def summary(self, means: Metrics) -> Metrics:
        """How many prototypes no sample of the episode was nearest to."""
        return {"prototypes/dead": float((~self.chosen).sum())} if "prototypes/used" in means else {}

    def learn(self, obs: Tensor, following: Tensor, number: int) -> dict[str, Tensor]:
        """Prototypes of what follows, predicted from what is seen (P equation 4)."""
        proto = self.settings
        if not proto.prototypes or number % proto.every:
            return {}
        unit(self.seen.prototypes.data)
        loss, scores = proto.loss(self.seen, self.target, obs, following, self.dtype)
        descent.descend(loss, self.optimizer)
        ema_update(self.target.parameters(), self.seen.target().parameters(), proto.tau)
        self.state["representation/updates"] += 1
        self.chosen[scores.argmax(1)] = True
        return {"loss/representation": loss.detach(), "prototypes/used": eq.usage(scores, proto.temperature)}

    @torch.no_grad()
    def intrinsic_reward(self, obs: Tensor, next_code: Float[Tensor, "rows n"], seeds: Seeds) -> Float[Tensor, "rows"]:
        """The particle reward of the next codes, after the batch's candidates have joined the queue (P section 3.2)."""
        state, proto = self.state, self.settings
        unit(self.seen.prototypes.data)
        with products(next_code.device, self.dtype):
            z = self.seen.project(next_code)
        uniforms = torch.rand(proto.prototypes, generator=torch.Generator().manual_seed(seeds("candidates"))).to(next_code.device)
        chosen = proto.sample_candidates(z, self.seen.prototypes, uniforms)
        state["queue"], state["pointer"] = eq.enqueue(state["queue"], state["pointer"], chosen, frozen_pointer=proto.frozen_pointer)
        return eq.particle_reward(z, state["queue"], proto.nearest)


@torch.no_grad()
def unit(prototypes: Tensor) -> None:
    """Give prototypes length 1, in place, beside the gradient: what the authors do before each use."""
    prototypes.copy_(normalize(prototypes, dim=1))
