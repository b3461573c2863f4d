"""Stages in training order: `Collect` records episodes, `Vision` trains V (`Identity` for vectors), `Memory` trains M, `Controller` evolves C."""

from sensorium.systems.world_models.stages.collect import Collect
from sensorium.systems.world_models.stages.controller import Controller
from sensorium.systems.world_models.stages.identity import Identity
from sensorium.systems.world_models.stages.memory import Memory
from sensorium.systems.world_models.stages.vision import Vision

__all__ = ["Collect", "Controller", "Identity", "Memory", "Vision"]
