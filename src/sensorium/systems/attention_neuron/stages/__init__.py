"""What learns: `Evolve` searches an agent's parameters by playing, `Clone` teaches it what another agent does."""

from sensorium.systems.attention_neuron.stages.clone import Clone
from sensorium.systems.attention_neuron.stages.evolve import Evolve

__all__ = ["Clone", "Evolve"]
