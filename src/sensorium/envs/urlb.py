"""Tasks of the Unsupervised RL Benchmark (Laskin et al. 2021) that dm_control does not have, and manipulation's reach_duplo."""

import math
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from dm_control import composer
from dm_control.entities import props
from dm_control.manipulation import reach
from dm_control.manipulation.shared import arenas, constants, observations, robots, workspaces
from dm_control.rl import control
from dm_control.suite import common, quadruped, walker
from dm_control.utils.rewards import tolerance

HEIGHT, MARGIN = 1.2, 0.6
"""torso height in metres of a standing walker, and the margin of its reward below"""
SPIN = 5.0
"""angular momentum of a full flip"""
JUMP = 1.0
"""height in metres of a jumping quadruped's centre of mass"""
FLOOR = 10
"""floor size of the quadruped's tasks without locomotion"""
CORNER, LIFT = 0.09, 0.001
"""distance in metres of the brick from the table's centre along each axis, and its height above the table"""
WALKER_STEP, QUADRUPED_STEP = 0.025, 0.02
"""seconds of a control step"""


class Flip(walker.PlanarWalker):
    """Walker flip: angular momentum about the transverse axis, with the torso at standing height."""

    def __init__(self, random: np.random.RandomState):
        super().__init__(move_speed=0, random=random)

    def get_reward(self, physics: Any) -> float:
        standing = tolerance(physics.torso_height(), bounds=(HEIGHT, math.inf), margin=MARGIN)
        stand = (3 * standing + (1 + physics.torso_upright()) / 2) / 4
        momentum = physics.named.data.sensordata["torso_angular_momentum"][1]
        move = tolerance(momentum, bounds=(SPIN, math.inf), margin=SPIN, value_at_margin=0, sigmoid="linear")
        return float(stand * (5 * move + 1) / 6)


class Stand(quadruped.Move):
    """Quadruped stand: torso upright, from a random orientation."""

    def __init__(self, random: np.random.RandomState):
        super().__init__(desired_speed=0, random=random)

    def get_reward(self, physics: Any) -> float:
        return float(tolerance(physics.torso_upright(), bounds=(1, math.inf), margin=2, value_at_margin=0, sigmoid="linear"))


class Jump(Stand):
    """Quadruped jump: upright, with the centre of mass at 1 m."""

    def get_reward(self, physics: Any) -> float:
        height = physics.named.data.sensordata["center_of_mass"][2]
        up = tolerance(height, bounds=(JUMP, math.inf), margin=JUMP, value_at_margin=0.5, sigmoid="linear")
        return float(super().get_reward(physics) * up)


class Workspace(NamedTuple):
    """Bounding boxes of the target and the hand, and the arm's offset."""

    target_bbox: Any
    tcp_bbox: Any
    arm_offset: Any


def flip(random: np.random.RandomState) -> control.Environment:
    """The walker, with a sensor for its angular momentum."""
    xml, assets = walker.get_model_and_assets()
    model = ElementTree.fromstring(xml)
    sensors = model.find("sensor")
    assert sensors is not None
    ElementTree.SubElement(sensors, "subtreeangmom", name="torso_angular_momentum", body="torso")
    physics = walker.Physics.from_xml_string(ElementTree.tostring(model), assets)
    return control.Environment(physics, Flip(random), control_timestep=WALKER_STEP)


def four_legs(task: quadruped.Move) -> control.Environment:
    """The quadruped on a small floor."""
    physics = quadruped.Physics.from_xml_string(quadruped.make_model(floor_size=FLOOR), common.ASSETS)
    return control.Environment(physics, task, control_timestep=QUADRUPED_STEP)


def arm(target: workspaces.BoundingBox, random: np.random.RandomState) -> composer.Environment:
    """The Jaco arm over a table with a Duplo brick at a random position in a box; the brick's pose is part of the state."""
    settings = observations.PERFECT_FEATURES
    hand_box = workspaces.BoundingBox(lower=(-0.1, -0.1, 0.2), upper=(0.1, 0.1, 0.4))
    task = reach.Reach(
        arena=arenas.Standard(), arm=robots.make_arm(obs_settings=settings), hand=robots.make_hand(obs_settings=settings),
        prop=props.Duplo(observable_options=observations.make_options(settings, observations.FREEPROP_OBSERVABLES)), obs_settings=settings,
        workspace=Workspace(target, hand_box, robots.ARM_OFFSET), control_timestep=constants.CONTROL_TIMESTEP,
    )  # fmt: skip
    return composer.Environment(task, time_limit=math.inf, random_state=random)


def corner(task: str) -> workspaces.BoundingBox:
    """The brick's position: one of four corners, the same in every episode."""
    x = -CORNER if task.endswith("left") else CORNER
    y = CORNER if "top" in task else -CORNER
    return workspaces.BoundingBox(lower=(x, y, LIFT), upper=(x, y, LIFT))


def load(task: str, random: np.random.RandomState) -> Any:
    """An environment of a task with the random state `random` and no time limit."""
    if task == "walker_flip":
        return flip(random)
    if task.startswith("quadruped"):
        return four_legs(Stand(random) if task == "quadruped_stand" else Jump(random))
    if task == "reach_duplo":
        return arm(workspaces.BoundingBox(lower=(-0.1, -0.1, LIFT), upper=(0.1, 0.1, LIFT)), random)
    return arm(corner(task), random)
