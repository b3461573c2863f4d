"""Worlds by name: ours, and Gymnasium's as gym:ID."""

import importlib
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sensorium.core.errors import Usage, nearest

if TYPE_CHECKING:
    from sensorium.core.env import World

WORLDS = {
    "cart-pole": "sensorium.envs.cart_pole:CartPole",
    "toy": "sensorium.envs.toy:Toy",
    "car-racing": "sensorium.envs.car_racing:CarRacing",
    "car-patches": "sensorium.envs.car_racing:CarPatches",
    "car-frames": "sensorium.envs.car_racing:CarFrames",
    "pong": "sensorium.envs.pong:Pong",
    "pong-memory": "sensorium.envs.pong:PongMemory",
    "ant": "sensorium.envs.ant:Ant",
    "ant-v5": "sensorium.envs.ant:AntV5",
    "take-cover": "sensorium.envs.take_cover:TakeCover",
    "pixel-cart-pole": "sensorium.envs.pixel_cart_pole:PixelCartPole",
    "control": "sensorium.envs.control:Control",
    "gymnasium": "sensorium.envs.gymnasium:Gymnasium",
}
"""worlds by name"""

GYM = "gym:"
"""prefix of the ids of Gymnasium's registry, where a world is named"""


def world(name: str, **settings: Any) -> "World":
    """A world by name, or by Gymnasium's id as gym:ID, with its settings. Errors: core.errors.Usage.

    The command line appends settings to a name, as JSON after a question mark.
    """
    name, _, text = name.partition("?")
    settings = {**json.loads(text or "{}"), **settings}
    if name.startswith(GYM):
        from sensorium.envs.gymnasium import named

        return named(name.removeprefix(GYM), **settings)
    if name not in WORLDS:
        raise Usage(f"{nearest(name, list(WORLDS), 'world')}; gym:ID names a Gymnasium environment")
    module, _, attribute = WORLDS[name].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    try:
        return kind(**settings)
    except TypeError:
        allowed = [field.name for field in fields(kind)]
        raise Usage(nearest(next(key for key in settings if key not in allowed), allowed, f"setting of {name}")) from None
