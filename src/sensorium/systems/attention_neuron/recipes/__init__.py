"""Recipes that reproduce the paper's numbers (Tang & Ha 2021), one module per task; `clone` is for all tasks."""

from sensorium.systems.attention_neuron.recipes.ant import ANT, ANT_CLONE, ANT_TEACHER
from sensorium.systems.attention_neuron.recipes.anywhere import NEURONS, NEURONS_MLP
from sensorium.systems.attention_neuron.recipes.cart_pole import (
    CART_POLE,
    CART_POLE_ASCEND,
    CART_POLE_CLONE,
    CART_POLE_MLP,
    CART_POLE_MLP_10,
    CART_POLE_MLP_SHUFFLED,
)
from sensorium.systems.attention_neuron.recipes.clone import CLONE
from sensorium.systems.attention_neuron.recipes.vision import CAR_PATCHES, CAR_PATCHES_CLONE, PONG_CLONE

__all__ = [
    "ANT", "ANT_CLONE", "ANT_TEACHER", "CART_POLE", "CART_POLE_ASCEND", "CART_POLE_CLONE", "CART_POLE_MLP", "CART_POLE_MLP_10", "CART_POLE_MLP_SHUFFLED", "CAR_PATCHES",
    "CAR_PATCHES_CLONE", "CLONE", "NEURONS", "NEURONS_MLP", "PONG_CLONE",
]  # fmt: skip
