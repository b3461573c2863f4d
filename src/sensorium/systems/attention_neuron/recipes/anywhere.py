"""Recipes for any world with a vector of sensors: evolution of the permutation-invariant agent, and of a feed-forward network."""

import functools
from dataclasses import replace
from typing import Any

from sensorium.core.env import TorchWorld, World
from sensorium.core.errors import Usage
from sensorium.core.policy import Uniform
from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.envs import worlds
from sensorium.envs.normalised import fitted
from sensorium.es.cma import CMA
from sensorium.es.evolve import Evolve
from sensorium.es.pgpe import PGPE
from sensorium.nets.agent import Agent
from sensorium.systems.attention_neuron.model import FeedForwardAgent
from sensorium.systems.attention_neuron.recipes.clone import neurons_for

FITTING = 16
"""episodes of random actions that measure the sensors' means and standard deviations"""


@functools.lru_cache
def sensors(task: str, normalise: bool) -> World:
    """A named world with a vector of sensors, normalised where asked for. Errors: core.errors.Usage for other observations."""
    world = worlds.world(task)
    if world.spec.kind != "vector":
        raise Usage(f"{task} observes {world.spec.kind}s {world.spec.observation}; allowed: worlds with a vector of sensors")
    return fitted(world, Uniform(world.spec.action), FITTING) if normalise else world


def evolved(world: World, agent: Agent, preset: Preset, strategy: str) -> Stages:
    """One stage of evolution; for simulators in jobs of 8 members, and with one episode per candidate."""
    simulator = not isinstance(world, TorchWorld)
    if strategy not in ("pgpe", "cma"):
        raise Usage(f"strategy cannot be '{strategy}'; allowed: pgpe, cma")
    search: Any = (
        PGPE(population=64, sigma=0.1, optimizer="clipup", learning_rate=0.5, max_speed=0.4) if strategy == "pgpe" else CMA(64, 0.1)
    )
    stage = Evolve(
        world, agent, search, episodes=1 if simulator else 16, ema_decay=0.9, init_scale=1.0, block=8 if simulator else 0, steps=300, checkpoint_every=5,
        evaluation_episodes=32,
    )  # fmt: skip
    if preset == "paper":
        # as the paper evolves its agents: CMA-ES, population 256, 16 episodes
        stage = replace(stage, search=CMA(population=256, sigma=0.1), episodes=16, steps=12_000)
    if preset == "tiny":
        stage = replace(
            stage, search=replace(search, population=4), episodes=1, block=2 * simulator, steps=4, checkpoint_every=2, evaluate_every=2,
            evaluation_episodes=2, compile=False,
        )  # fmt: skip
    return {"evolve": stage}


def neurons(preset: Preset = "laptop", task: str = "gym:Pendulum-v1", strategy: str = "pgpe", normalise: bool = True) -> Stages:
    """The permutation-invariant agent, by evolution, in any world with a vector of sensors.

    sensorium train neurons.gym:Hopper-v5        # --strategy cma; --normalise False: the sensors as they are
    published: none; the paper has cart-pole and Ant
    """
    world = sensors(task, normalise)
    return evolved(world, neurons_for(world.spec), preset, strategy)


def neurons_mlp(preset: Preset = "laptop", task: str = "gym:Pendulum-v1", strategy: str = "pgpe", normalise: bool = True) -> Stages:
    """The baseline of `neurons`: a feed-forward network of 32 and 32 units, as the paper's for Ant, in the same world.

    sensorium train neurons-mlp.gym:Hopper-v5
    published: none
    """
    world = sensors(task, normalise)
    spec = world.spec
    return evolved(world, FeedForwardAgent(spec.observation[0], spec.action, (32, 32)), preset, strategy)


NEURONS = Recipe("neurons", neurons, "for any world; not measured", {"tiny": 0.1, "laptop": 60, "paper": 20_000})
NEURONS_MLP = Recipe("neurons-mlp", neurons_mlp, "for any world; not measured", {"tiny": 0.1, "laptop": 60, "paper": 20_000})
