"""World models of any world: V sees images or is the identity on vectors, M predicts z, reward and end, C acts."""

import os
from dataclasses import replace

from sensorium.core.env import Resizable, World
from sensorium.core.errors import Usage
from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import Folder
from sensorium.data import offline
from sensorium.envs import worlds
from sensorium.envs.wrappers import shortened
from sensorium.systems.world_models.behaviour import HeldActions
from sensorium.systems.world_models.model import Linear
from sensorium.systems.world_models.recipes import tiny
from sensorium.systems.world_models.stages import Collect, Controller, Identity, Memory, Vision

SIDE, LATENTS, HIDDEN = 64, 32, 256


def seen(task: str) -> World:
    """A named world with images of 64 x 64 pixels or vectors. Errors: core.errors.Usage for other observations."""
    world = worlds.world(task)
    if world.spec.kind == "image" and world.spec.observation != (SIDE, SIDE, 3) and isinstance(world, Resizable):
        world = world.with_pixels(SIDE)
    if world.spec.kind != "vector" and world.spec.observation != (SIDE, SIDE, 3):
        raise Usage(f"{task} observes {world.spec.kind} {world.spec.observation}; allowed: vectors, and images of {SIDE} x {SIDE} x 3")
    return world


def world_model(
    preset: Preset = "laptop", task: str = "gym:Pendulum-v1", dream: bool = True, temperature: float = 1.0, data: str = ""
) -> Stages:
    """V, M and C for any world with images or a vector of sensors. M predicts reward and end; C evolves in the dream, or in the world.

    sensorium train world-model.gym:CarRacing-v3              # --dream False: C evolves in the world
    sensorium train world-model.gym:Pendulum-v1 --world.pixels 64
    sensorium train world-model.gym:Pendulum-v1 --data minari:NAME      # from recorded episodes; or a folder of .npz files
    published: none; the paper has CarRacing and TakeCover
    """
    world = seen(task)
    spec = world.spec
    player = HeldActions(actions=spec.action, discrete=spec.discrete)
    collect, episodes = Collect(world, player, steps=32), Folder("../1-collect")
    vision = Identity(episodes) if spec.kind == "vector" else Vision(episodes, latents=LATENTS, fitted=True, steps=100)
    latents = spec.observation[0] if spec.kind == "vector" else LATENTS
    memory = Memory(restart=True, reward=True, sequences="streams", hidden=HIDDEN, batch=64, length=100, updates=50, steps=60)
    controller = Linear("zh", latents, HIDDEN, spec.action, car=False, discrete=spec.discrete)
    evolve = Controller(world, controller=controller, dream=dream, temperature=temperature, steps=100, evaluate_every=10, block=0)
    if not dream:
        evolve = Controller(world, controller=controller, episodes=2, steps=50, evaluate_every=10, block=16)
    if preset == "paper":
        collect = Collect(world, player, steps=625)
    if data:
        collect = recorded(collect, data, 2 if preset == "tiny" else 16)
    stages: Stages = {"collect": collect, "vision": vision, "memory": memory, "controller": evolve}
    if preset != "tiny":
        return stages
    small = tiny(stages, shortened(world, 30))
    return {**small, "collect": collect} if data else small


def recorded(collect: Collect, data: str, rows: int) -> Collect:
    """The stage with offline episodes, `rows` in a shard. Errors: core.errors.Usage where there are fewer."""
    episodes = offline.count(data)
    if episodes < rows:
        raise Usage(f"{data} has {episodes} episodes; at least {rows} are needed")
    where = {"minari": data.removeprefix(offline.MINARI)} if data.startswith(offline.MINARI) else {"data": Folder(os.path.abspath(data))}
    return replace(collect, rows=rows, steps=-(-episodes // rows), **where)


WORLD_MODEL = Recipe("world-model", world_model, "for any world; not measured", {"tiny": 0.5, "laptop": 90, "paper": 600})
