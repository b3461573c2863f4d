"""Sensorium: AttentionNeuron, World Models, Proto-RL and RND. Eight functions are the main API, which the command line uses.

>>> import sensorium
>>> agent = sensorium.load("zoo/cart-pole-clone")
>>> result = sensorium.evaluate("zoo/cart-pole-clone", episodes=100, senses="shuffle")
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sensorium.envs.register import register
from sensorium.registry import fill

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sensorium.core.env import World
    from sensorium.core.policy import Policy
    from sensorium.core.rollout import Rollout
    from sensorium.core.stage import Stage
    from sensorium.policies.actions import Units

__version__ = "0.2.0"
__all__ = ["clone", "evaluate", "load", "play", "policy", "senses", "train", "world"]

register()
fill()


def __getattr__(name: str) -> Any:
    """`sensorium.gym`, `sensorium.nn` and `sensorium.sb3`, imported when they are first used."""
    if name in ("gym", "nn", "sb3"):
        return import_module(f"sensorium.{name}")
    raise AttributeError(f"module 'sensorium' has no attribute '{name}'")


def load(folder: str | Path, device: str = "cpu") -> Policy:
    """The trained policy of a run folder, a stage folder or a zoo agent.

    Errors: core.errors.Usage where the folder holds none, core.errors.Failure where its files are damaged.
    """
    from sensorium.core import checkpoint

    return checkpoint.policy(folder, device)


def world(name: str, senses: str = "", **fields: Any) -> World:
    """A world by name ("cart-pole", "gym:Hopper-v5"), with its fields as arguments and a senses specification (as for `evaluate --senses`).

    For gym:ID, `kwargs` are the environment's own arguments, e.g. world("gym:LunarLander-v3", kwargs={"continuous": True}).
    Errors: core.errors.Usage for an unknown name, field or specification.
    """
    from sensorium.envs import worlds
    from sensorium.envs.wrappers import sensed

    return sensed(worlds.world(name, **fields), senses)


def policy(
    source: Any, world: World | None = None, *, deterministic: bool = True, units: Units | None = None,
    arrays: Literal["torch", "numpy"] | None = None, normalise: Any = None,
) -> Policy:  # fmt: skip
    """The Policy of a function on batches of observations, a torch module, a Stable-Baselines3 model, or an ONNX file (path or bytes).

    `world` is the one that it acts in. The options are those of `sensorium.policies.policy`. Errors: core.errors.Usage, core.errors.Failure.
    """
    from sensorium.policies import policy as adapted

    return adapted(source, world, deterministic=deterministic, units=units, arrays=arrays, normalise=normalise)


def play(world: World, policy: Policy, episodes: int = 1, seed: int = 0, keep: Collection[str] = (), device: str = "cpu") -> Rollout:
    """Play episodes; returns their returns and lengths [episodes] and the values named in `keep`, time first.

    `keep` may name observations [T, episodes, ...], actions [T, episodes, actions], rewards [T, episodes] and memory.
    """
    from sensorium.core.env import closing
    from sensorium.core.rollout import play as rollout
    from sensorium.core.seeding import row_seeds

    with closing(world) as env:
        return rollout(env, policy, row_seeds(seed, episodes, device), keep)


def evaluate(
    agent: str | Path | Policy, episodes: int = 100, seed: int = 0, senses: str | None = None, world: str | World | None = None,
    device: str = "cpu", on: str = "here",
) -> dict[str, Any]:  # fmt: skip
    """Mean, sd, median, IQM, 95 % interval and all returns of a trained agent: its folder, or any Policy with its world.

    By default `senses` and `world` are those of training; `senses` "" means none, `world` may be a World, a name or "dream". `on` is the
    place where batches of episodes in simulators are played, as for `train`; the result is the same everywhere.
    Errors: core.errors.Usage for wrong arguments, or a world that does not fit the agent.
    """
    from sensorium.core import card, checkpoint, jobs
    from sensorium.core.errors import Usage
    from sensorium.core.evaluate import evaluate as scores
    from sensorium.core.stage import Sensed
    from sensorium.envs.wrappers import wrapped

    if episodes < 1:
        raise Usage(f"--episodes cannot be {episodes}; at least 1")
    if isinstance(agent, (str, Path)):
        path = checkpoint.agent(agent)
        stage, recipe = checkpoint.stage(path), card.read(path).get("recipe", "")
        place, policy = _world_and_policy(path, world, device)
    else:
        stage, recipe, policy = None, "", agent
        place = _world(world)
        if place is None:
            raise Usage("a policy without a folder needs a world to be evaluated in")
    if senses is None:
        senses = next((part.senses for part in (stage, place) if isinstance(part, Sensed) and part.senses), "")
    treated, policy = wrapped(place, policy, senses)
    if device == "cuda" and on not in ("", "here"):
        raise Usage("a policy on a GPU is evaluated in this process; give on='here'")
    with jobs.on(on):
        result = scores(treated, policy, episodes, seed, device)
    return {"recipe": recipe, **result, "seed": seed, "senses": senses, "world": place.spec.name}


def senses(world: World, policy: Policy, episodes: int = 100, seed: int = 0, device: str = "cpu") -> dict[str, Any]:
    """The senses suite: the returns of a policy under every treatment of its observations, paired by seed with untreated episodes.

    The result is the JSON document of `sensorium senses`. Two of them are compared by `sensorium.robustness.compare`. Errors:
    core.errors.Usage for a world without treatments, or a policy that does not fit.
    """
    from sensorium.robustness import examine

    return examine(world, policy, episodes, seed, device)


def _world(world: str | World | None) -> World | None:
    """A World, or the one of a name; None for none."""
    from sensorium.envs import worlds

    return worlds.world(world) if isinstance(world, str) and world else world or None  # type: ignore[return-value]


def _world_and_policy(path: Path, world: str | World | None, device: str) -> tuple[World, Policy]:
    """The given or named world, by default that of the agent's stage, and the agent's policy in it."""
    from sensorium.core import checkpoint
    from sensorium.core.env import require_fit
    from sensorium.core.errors import Usage
    from sensorium.core.stage import Dreaming
    from sensorium.envs.wrappers import Calibrated

    if world == "dream":
        stage, state = checkpoint.restored(path, device)
        if not isinstance(stage, Dreaming):
            raise Usage(f"{path} has no dream: it has no world model with a memory")
        with checkpoint.fitting(path):
            return stage.in_dream(state)
    policy, trained = checkpoint.policy(path, device), checkpoint.stage(path).world  # type: ignore[attr-defined]
    place = _world(world)
    if place is None:
        return trained, policy
    if isinstance(trained, Calibrated):
        place = trained.applied_to(place)
    require_fit(trained.spec, place.spec)
    return place, policy


def train(
    recipe: str, preset: str = "laptop", out: str | Path | None = None, seed: int = 0, device: str = "cpu", on: str = "",
    stages: dict[str, Stage] | None = None, tensorboard: bool = False, **flags: Any,
) -> Path:  # fmt: skip
    """Run every stage of a recipe in a folder, resuming an earlier call; returns the run's folder.

    `flags` are the recipe's arguments; `stages` replaces the recipe's stages; `tensorboard` also writes event files. Errors: as `core.run.run`.
    """
    from sensorium import registry
    from sensorium.core import jobs
    from sensorium.core.run import run

    folder = Path(out) if out else Path("runs") / recipe
    sink = None
    if tensorboard:
        from sensorium.viz.tensorboard import require
        from sensorium.viz.tensorboard import tensorboard as sink

        require()
    place = on or ("here" if device == "cuda" else "")
    named: Iterable[tuple[str, Stage]] = (stages or registry.recipe(recipe).stages(preset, **flags)).items()
    todo = list(enumerate(named, 1))
    about = {"recipe": recipe, "preset": preset, "sensorium": __version__}
    with jobs.on(place):
        for number, (name, stage) in todo:
            run(stage, folder / f"{number}-{name}", seed, device=device, about=about, last=number == len(todo), sink=sink)
    return folder


def clone(world: World | str, teacher: Policy | str | Path, out: str | Path, preset: str = "laptop", seed: int = 0, **flags: Any) -> Path:
    """Clone a teacher, an agent's folder or any Policy, into a permutation-invariant agent; returns the run's folder.

    A Policy gets the observations of `world`. `flags` are those of the recipe `clone`. The same call resumes. Errors: as `train`.
    """
    from sensorium.core.run import run
    from sensorium.envs import worlds
    from sensorium.imitation.external import External

    place = worlds.world(world) if isinstance(world, str) else world
    folder = Path(out)
    if not isinstance(teacher, (str, Path)):
        External.given[folder.name] = teacher
        run(External(place, folder.name), folder / "teacher", seed)
        teacher = folder / "teacher"
    return train("clone", preset, folder, seed, teacher=str(teacher), **flags)
