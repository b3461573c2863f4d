"""All scenes by name, in the order in which they are offered."""

from sensorium.web.scenes.any import AnyAgent
from sensorium.web.scenes.dream import Dream
from sensorium.web.scenes.exploration import Exploration
from sensorium.web.scenes.eyes import Eyes
from sensorium.web.scenes.latent import Latent
from sensorium.web.scenes.scene import Scene
from sensorium.web.scenes.senses import Senses

SCENES: dict[str, type[Scene]] = {scene.name: scene for scene in (Senses, Eyes, Dream, Latent, Exploration, AnyAgent)}
