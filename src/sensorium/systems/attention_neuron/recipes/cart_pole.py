"""Recipes that reproduce the paper's cart-pole numbers (Tang & Ha 2021, table 1)."""

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
"""a stage of evolution that runs in seconds, not compiled, for tests"""

SMALL: dict[str, Any] = {
    "world": CartPole(horizon=60), "agent": SensoryAgent(), "rows": 16, "window": 5, "windows": 4, "steps": 4, "checkpoint_every": 2, "evaluate_every": 2,
    "evaluation_episodes": 8, "compile": False,
}  # fmt: skip
"""the same for stages that train by gradient"""


def cart_pole(preset: Preset = "laptop") -> Stages:
    """The permutation-invariant agent, by evolution as in the paper.

    sensorium train cart-pole                    # laptop: PGPE, one hour on one core
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
    """Evolve a baseline, clone it into a permutation-invariant agent (DAgger), then train the clone by the gradient of its return.

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
    """The permutation-invariant agent from random parameters, by the gradient of its return through the differentiable world.

    sensorium train cart-pole-ascend
    sensorium train cart-pole-ascend --ascend.agent.pooling mean     # ablation of attention; also hears-action, recurrent
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
    """A feed-forward network for cart-pole, by evolution."""
    if preset == "tiny":
        return replace(TINY, agent=agent, senses=senses)
    if preset == "paper":
        return Evolve(CartPole(), agent, senses=senses, search=CMA(population=256, sigma=0.1), steps=2000)
    return Evolve(CartPole(), agent, senses=senses, search=PGPE(sigma=0.1, learning_rate=0.05), steps=600)


def cart_pole_mlp(preset: Preset = "laptop") -> Stages:
    """The baseline: a feed-forward network with one hidden layer of 16 units and five inputs.

    sensorium train cart-pole-mlp
    published: 593 +- 433 over 1,000 episodes, 38 +- 120 shuffled (table 1)
    """
    return {"evolve": feed_forward(preset, FeedForwardAgent(5))}


def cart_pole_mlp_10(preset: Preset = "laptop") -> Stages:
    """The baseline with ten inputs: each of the five observations twice.

    sensorium train cart-pole-mlp-10
    published: 593 +- 433 over 1,000 episodes; 137 +- 242 when five of its ten inputs are noise (table 1)
    """
    return {"evolve": feed_forward(preset, FeedForwardAgent(10), "duplicate")}


def cart_pole_mlp_shuffled(preset: Preset = "laptop") -> Stages:
    """The baseline trained with shuffled inputs, as a control for permutation invariance.

    sensorium train cart-pole-mlp-shuffled
    published: none; the paper does not test this
    """
    return {"evolve": feed_forward(preset, FeedForwardAgent(5), "shuffle")}


CART_POLE = Recipe("cart-pole", cart_pole, "328, 400 and 457 shuffled (seeds 0, 1, 2); paper 472 +- 426 (1,000 episodes, table 1)", {"tiny": 0.1, "laptop": 60, "paper": 4000})  # fmt: skip
CART_POLE_CLONE = Recipe("cart-pole-clone", cart_pole_clone, "551, 551 and 519 shuffled (seeds 0, 1, 2); paper 472 +- 426 (1,000 episodes, table 1)", {"tiny": 0.1, "laptop": 18, "paper": 70})  # fmt: skip
CART_POLE_ASCEND = Recipe("cart-pole-ascend", cart_pole_ascend, "434 +- 344 shuffled after 2,350 updates (seed 0, 1,000 episodes); not in the paper", {"tiny": 0.1, "laptop": 7, "paper": 7})  # fmt: skip
CART_POLE_MLP = Recipe("cart-pole-mlp", cart_pole_mlp, "639 +- 423 (seed 0); paper 593 +- 433 (1,000 episodes, table 1)", {"tiny": 0.1, "laptop": 2, "paper": 60})  # fmt: skip
CART_POLE_MLP_10 = Recipe("cart-pole-mlp-10", cart_pole_mlp_10, "644 +- 425 (seed 0); paper 593 +- 433 (1,000 episodes, table 1)", {"tiny": 0.1, "laptop": 2, "paper": 60})  # fmt: skip
CART_POLE_MLP_SHUFFLED = Recipe("cart-pole-mlp-shuffled", cart_pole_mlp_shuffled, "135 +- 171 shuffled (seed 0); not in the paper", {"tiny": 0.1, "laptop": 2, "paper": 60})  # fmt: skip
