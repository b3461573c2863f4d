"""What learns: `Evolve` searches an agent's parameters by playing; `Dagger` and `Clone` teach it what another agent does, at once or from what
`Teach` recorded; `Ascend` climbs the return along its gradient; `ActorCritic` makes teachers, `Script` is one."""

from sensorium.systems.attention_neuron.stages.actor_critic import ActorCritic
from sensorium.systems.attention_neuron.stages.ascend import Ascend
from sensorium.systems.attention_neuron.stages.clone import Clone
from sensorium.systems.attention_neuron.stages.dagger import Dagger
from sensorium.systems.attention_neuron.stages.evolve import Evolve
from sensorium.systems.attention_neuron.stages.script import Script
from sensorium.systems.attention_neuron.stages.teach import Teach

__all__ = ["ActorCritic", "Ascend", "Clone", "Dagger", "Evolve", "Script", "Teach"]
