"""Settings that reproduce the paper's cart-pole numbers (Tang & Ha 2021, table 1). Two cores of an AMD Zen 5 unless said otherwise."""

from dataclasses import replace
from typing import Any

from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import NOWHERE
from sensorium.envs.cart_pole import CartPole
from sensorium.es.cma import CMA
from sensorium.es.evolve import Evolve
from sensorium.es.pgpe import PGPE
from sensorium.imitation.dagger import Dagger
from sensorium.rl.short_horizon import ShortHorizonActorCritic
from sensorium.systems.attention_neuron.model import FeedForwardAgent, SensoryAgent

TINY = Evolve(
    CartPole(horizon=60), SensoryAgent(), search=PGPE(population=8), episodes=2, steps=4, checkpoint_every=2, evaluate_every=2,
    evaluation_episodes=8, compile=False,
)  # fmt: skip
"""a few seconds of everything, eager: what the tests run"""

SMALL: dict[str, Any] = {
    "world": CartPole(horizon=60), "agent": SensoryAgent(), "rows": 16, "window": 5, "windows": 4, "steps": 4, "checkpoint_every": 2, "evaluate_every": 2,
    "evaluation_episodes": 8, "compile": False,
}  # fmt: skip
"""the same for stages that learn by gradient"""


def cart_pole(preset: Preset = "laptop") -> Stages:
    """The permutation-invariant agent by evolution alone, as in the paper.

    sensorium train cart-pole                    # laptop: PGPE, an hour of one core
    sensorium train cart-pole --preset paper     # CMA-ES, population 256, 16 episodes, sigma 0.1, 14,000 generations
    published: 472 +- 426 over 1,000 episodes, 471 +- 426 shuffled (table 1; 256 processors, 3 days)
    """
    agent = SensoryAgent()
    if preset == "tiny":
        return {"evolve": replace(TINY, agent=agent)}
    if preset == "paper":
        return {"evolve": Evolve(CartPole(), agent, search=CMA(population=256, sigma=0.1), steps=14000, checkpoint_every=100)}
    search = PGPE(population=128, sigma=0.1, optimizer="clipup", learning_rate=0.5, max_speed=0.4, decay=0.9995)
    return {"evolve": Evolve(CartPole(), agent, search=search, episodes=48, ema_decay=0.98, init_scale=1.0, steps=1600)}


def cart_pole_clone(preset: Preset = "laptop") -> Stages:
    """Baseline, its permutation-invariant clone, and from there along the gradient of its return: minutes on a laptop instead of days on a cluster.

    sensorium train cart-pole-clone
    published for evolution alone: 472 +- 426 over 1,000 episodes, 471 +- 426 shuffled (table 1; 256 processors, 3 days)
    """
    baseline = feed_forward(preset, FeedForwardAgent(5))
    if preset == "tiny":
        return {"baseline": baseline, "clone": Dagger(**SMALL), "ascend": ShortHorizonActorCritic(warmup_windows=4, **SMALL)}
    return {
        "baseline": replace(baseline, steps=250),
        "clone": Dagger(CartPole(), SensoryAgent()),
        "ascend": ShortHorizonActorCritic(CartPole(), SensoryAgent()),
    }


def cart_pole_ascend(preset: Preset = "laptop") -> Stages:
    """The permutation-invariant agent from nothing, along the gradient of its return through the physics of the world.

    sensorium train cart-pole-ascend
    sensorium train cart-pole-ascend --ascend.agent.pooling mean     # what attention is good for; also hears-action, recurrent
    published for evolution: 472 +- 426 over 1,000 episodes, 471 +- 426 shuffled (table 1; 256 processors, 3 days)
    """
    if preset == "tiny":
        return {"ascend": ShortHorizonActorCritic(start=NOWHERE, warmup_windows=4, **SMALL)}
    return {
        "ascend": ShortHorizonActorCritic(
            CartPole(), SensoryAgent(), start=NOWHERE, window=40, windows=25, warmup_windows=150, half_life=1250, steps=100
        )
    }


def feed_forward(preset: Preset, agent: FeedForwardAgent, senses: str = "") -> Evolve:
    """An ordinary network for cart-pole, by evolution."""
    if preset == "tiny":
        return replace(TINY, agent=agent, senses=senses)
    if preset == "paper":
        return Evolve(CartPole(), agent, senses=senses, search=CMA(population=256, sigma=0.1), steps=2000)
    return Evolve(CartPole(), agent, senses=senses, search=PGPE(sigma=0.1, learning_rate=0.05), steps=600)


def cart_pole_mlp(preset: Preset = "laptop") -> Stages:
    """The baseline: an ordinary network with one hidden layer of 16, which reads five numbers.

    sensorium train cart-pole-mlp
    published: 593 +- 433 over 1,000 episodes, 38 +- 120 shuffled (table 1)
    """
    return {"evolve": feed_forward(preset, FeedForwardAgent(5))}


def cart_pole_mlp_10(preset: Preset = "laptop") -> Stages:
    """The baseline that reads the five numbers twice.

    sensorium train cart-pole-mlp-10
    published: 593 +- 433 over 1,000 episodes; 137 +- 242 when five of its ten inputs are noise (table 1)
    """
    return {"evolve": feed_forward(preset, FeedForwardAgent(10), "duplicate")}


def cart_pole_mlp_shuffled(preset: Preset = "laptop") -> Stages:
    """The baseline trained under shuffling: is permutation invariance just a matter of training?

    sensorium train cart-pole-mlp-shuffled
    published: nothing; the paper leaves the question open
    """
    return {"evolve": feed_forward(preset, FeedForwardAgent(5), "shuffle")}


CART_POLE = Recipe(
    "cart-pole",
    cart_pole,
    "328, 400 and 457 shuffled (seeds 0, 1, 2); paper 472 +- 426 (1,000 episodes, table 1)",
    {"tiny": 0.1, "laptop": 60, "paper": 4000},
)
CART_POLE_CLONE = Recipe(
    "cart-pole-clone",
    cart_pole_clone,
    "551, 551 and 519 shuffled (seeds 0, 1, 2); paper 472 +- 426 (1,000 episodes, table 1)",
    {"tiny": 0.1, "laptop": 18, "paper": 70},
)
CART_POLE_ASCEND = Recipe(
    "cart-pole-ascend",
    cart_pole_ascend,
    "434 +- 344 shuffled after 2,350 updates (seed 0, 1,000 episodes); not in the paper",
    {"tiny": 0.1, "laptop": 7, "paper": 7},
)
CART_POLE_MLP = Recipe(
    "cart-pole-mlp",
    cart_pole_mlp,
    "639 +- 423 (seed 0); paper 593 +- 433 (1,000 episodes, table 1)",
    {"tiny": 0.1, "laptop": 2, "paper": 60},
)
CART_POLE_MLP_10 = Recipe(
    "cart-pole-mlp-10",
    cart_pole_mlp_10,
    "644 +- 425 (seed 0); paper 593 +- 433 (1,000 episodes, table 1)",
    {"tiny": 0.1, "laptop": 2, "paper": 60},
)
CART_POLE_MLP_SHUFFLED = Recipe(
    "cart-pole-mlp-shuffled",
    cart_pole_mlp_shuffled,
    "135 +- 171 shuffled (seed 0); not in the paper",
    {"tiny": 0.1, "laptop": 2, "paper": 60},
)
