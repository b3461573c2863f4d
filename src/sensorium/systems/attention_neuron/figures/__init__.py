"""The report pages of AttentionNeuron (`sensorium report`), for readers who do not know the paper; one module per kind of task."""

from pathlib import Path

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.stage import InWorld
from sensorium.envs.car_racing import CarPatches
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.pong import Pong
from sensorium.viz.report import Page


def sections(folder: Path) -> Page:
    """The report page of a run, a stage or a zoo agent. Errors: core.errors.Usage if there is none for it."""
    from sensorium.systems.attention_neuron.figures import bodies, cart_pole, patches

    stage = checkpoint.stage(checkpoint.agent(folder))
    if not isinstance(stage, InWorld):
        raise Usage(f"{folder} holds demonstrations, which have nothing to show; name the run, or its clone")
    world = stage.world
    if isinstance(world, CartPole):
        return cart_pole.sections(folder)
    if isinstance(world, (CarPatches, Pong)):
        return patches.sections(folder)
    if world.spec.kind == "vector":
        return bodies.sections(folder)
    raise Usage(f"there is no page for agents of {world.spec.name}; `sensorium evaluate {folder}` has their scores")
