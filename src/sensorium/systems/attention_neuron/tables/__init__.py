"""The paper's tables as data, and the measurement of each cell; one module per kind of task."""

from sensorium.systems.attention_neuron.tables.ant import ant
from sensorium.systems.attention_neuron.tables.cart_pole import cart_pole, cart_pole_probe, cart_pole_reshuffle
from sensorium.systems.attention_neuron.tables.vision import car_racing, pong, reshuffle

__all__ = ["ant", "car_racing", "cart_pole", "cart_pole_probe", "cart_pole_reshuffle", "pong", "reshuffle"]
