"""Tables of systems, worlds, strategies, learners and stages, as import paths. A new system is a folder and one line in SYSTEMS."""

import functools
import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.core.errors import Usage, nearest
from sensorium.envs.worlds import WORLDS

if TYPE_CHECKING:
    from sensorium.core.recipe import Recipe

SYSTEMS = {
    "attention-neuron": "sensorium.systems.attention_neuron",
    "world-models": "sensorium.systems.world_models",
    "proto-rl": "sensorium.systems.proto_rl",
    "rnd": "sensorium.systems.rnd",
}

WRAPPERS = {
    "sensed": "sensorium.envs.sensed:Sensed",
    "normalised": "sensorium.envs.normalised:Normalised",
    "gym-patches": "sensorium.envs.gym_patches:GymPatches",
}
"""worlds made of another world"""

STRATEGIES = {
    "pgpe": "sensorium.es.pgpe:PGPE",
    "cma": "sensorium.es.cma:CMA",
}

LEARNERS = {
    "sac": "sensorium.rl.sac:SAC",
    "ddpg": "sensorium.rl.ddpg:DDPG",
}

STAGES = {
    "evolve": "sensorium.es.evolve:Evolve",
    "demonstrate": "sensorium.imitation.demonstrate:Demonstrate",
    "clone": "sensorium.imitation.clone:Clone",
    "dagger": "sensorium.imitation.dagger:Dagger",
    "external": "sensorium.imitation.external:External",
    "scripted": "sensorium.imitation.scripted:Scripted",
    "onnx": "sensorium.policies.onnx:Onnx",
    "actor-critic": "sensorium.rl.actor_critic:ActorCritic",
    "short-horizon": "sensorium.rl.short_horizon:ShortHorizonActorCritic",
}
"""stages shared by all systems"""

POLICIES = {"attention-neuron/planner": "sensorium.imitation.pong_planner:Planner"}
"""scripted policies, by the names that cards have had since format 1"""

IMPORTS = {"onnx": "sensorium.policies.onnx:imported"}
"""kinds of files that belong to no system"""

ROOT = Path(__file__).resolve().parents[2]
"""root of the repository, which contains `bench`"""


def system(name: str) -> Any:
    """A system's package, which defines PARTS, RECIPES, TABLES, IMPORTS and REPORT as import paths."""
    return importlib.import_module(SYSTEMS[name])


def resolve(place: str) -> Any:
    """The object of a "module:attribute" path from one of our tables."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def fill() -> None:
    """Register in `core.card` every name that a card may contain."""
    from sensorium.core.card import NAMES

    NAMES.update({**WORLDS, **WRAPPERS, **STRATEGIES, **LEARNERS, **STAGES, **POLICIES})
    for name in SYSTEMS:
        NAMES.update({f"{name}/{part}": place for part, place in system(name).PARTS.items()})


def table(kind: str) -> dict[str, str]:
    """All systems' entries of one kind (RECIPES by bare name; TABLES and IMPORTS as system/name), after those of no system."""
    prefix = "{entry}" if kind == "RECIPES" else "{system}/{entry}"
    shared = IMPORTS if kind == "IMPORTS" else {}
    return shared | {
        prefix.format(system=name, entry=entry): place for name in SYSTEMS for entry, place in getattr(system(name), kind).items()
    }


def look_up(kind: str, name: str, what: str) -> Any:
    """An entry by name. Errors: core.errors.Usage with the nearest names."""
    known = table(kind)
    if name not in known:
        raise Usage(nearest(name, list(known), what))
    return resolve(known[name])


def recipe(name: str) -> "Recipe":
    """A recipe by name, with its task after a dot: proto-pixels.pendulum_swingup. Errors: core.errors.Usage."""
    bare, _, task = name.partition(".")
    found = look_up("RECIPES", bare, "recipe")
    if not task:
        return found
    if "task" not in found.arguments:
        raise Usage(f"{bare} has no tasks; train it as {bare}")
    return replace(found, name=name, build=functools.partial(found.build, task=task))


def system_of(recipe_name: str) -> str:
    """The system of a recipe; "" where there is none."""
    return next((name for name in SYSTEMS if recipe_name.partition(".")[0] in system(name).RECIPES), "")


def system_of_card(card: dict[str, Any]) -> str:
    """The system of an agent: that of its recipe, else of the first system-specific name in its stage."""

    def names(data: Any) -> Iterator[str]:
        if isinstance(data, dict):
            yield str(data.get("is", ""))
        for value in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
            yield from names(value)

    owners = (name.partition("/")[0] for name in names(card["stage"]) if "/" in name)
    recipe = card.get("recipe")
    return (system_of(recipe) if isinstance(recipe, str) else "") or next(owners, "")
