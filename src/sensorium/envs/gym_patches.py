"""GymPatches: a Gymnasium environment's images as grey patches, for agents that do not depend on the order of the patches."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from sensorium.core.env import EnvSpec, World
from sensorium.core.errors import Usage
from sensorium.envs import patches
from sensorium.envs.gymnasium import Gymnasium, GymnasiumEnv
from sensorium.envs.host import HostEnv
from sensorium.envs.normalised import Normalised

LARGEST, USUAL = 96, 84
"""largest side of images that are cut as they are, as CarRacing's, and the side to which others are resized, as Atari's"""


@dataclass(frozen=True)
class GymPatches:
    """The images of a Gymnasium environment as grey patches of 6 x 6 pixels from the last four frames.

    Teachers may observe the environment's own vector, under rendered images, or the images themselves. Errors: core.errors.Usage for a
    world without images, images whose sides 6 does not divide, and treatments that need to know the background.
    """

    world: Gymnasium
    senses: str = ""
    """senses specification for images, as for `evaluate --senses`"""

    def __post_init__(self) -> None:
        if any(isinstance(treatment, patches.Background) for treatment in self.treatments):
            raise Usage(f"background is for car-patches and pong; which pixels of {self.world.spec.name} are background is not known")

    @property
    def student(self) -> "GymPatches":
        """The world of a student of an agent of this one: without its treatments."""
        return replace(self, senses="")

    @property
    def treatments(self) -> tuple[patches.Treatment, ...]:
        return patches.parse(self.senses)

    @property
    def spec(self) -> EnvSpec:
        inner = self.world.spec
        if inner.kind != "image" or inner.observation[0] % patches.SIDE or inner.observation[1] % patches.SIDE:
            raise Usage(
                f"{inner.name} observes {inner.kind}s {inner.observation}; patches need images whose sides are multiples of 6: give pixels 84"
            )
        n = patches.patches_of(inner.observation[0] * inner.observation[1] // patches.SIDE**2, self.treatments)
        return replace(inner, observation=(n, patches.STACK, patches.SIDE**2), kind="patches", rows=32)

    def open(self) -> patches.PatchEnv:
        return patches.PatchEnv(self)

    def frames(self) -> HostEnv:
        return self.world.open()

    def offers(self, world: World) -> bool:
        inner = world.world if isinstance(world, Normalised) else world
        if not isinstance(inner, Gymnasium) or (inner.id, inner.kwargs, inner.repeat) != (
            self.world.id,
            self.world.kwargs,
            self.world.repeat,
        ):
            return False
        return inner.spec.observation == self.world.spec.observation or (inner.spec.kind == "vector" and self.world.renders)

    def shown(self, env: HostEnv, frames: Tensor, world: World) -> Tensor:
        if world.spec.kind != "vector":
            return frames
        assert isinstance(env, GymnasiumEnv)
        states = env.states()
        return world.normalise(states) if isinstance(world, Normalised) else states

    def grey(self, frames: UInt8[Tensor, "rows height width 3"]) -> UInt8[Tensor, "rows height width"]:
        return patches.luma(frames)

    def ground(self, frames: UInt8[Tensor, "rows height width 3"]) -> Bool[Tensor, "rows height width"]:
        """No pixels: backgrounds are refused."""
        return torch.zeros(frames.shape[:3], dtype=torch.bool, device=frames.device)


def as_patches(world: Gymnasium) -> GymPatches:
    """The world's images as patches: as they are where their sides fit, else resized to 84 x 84. Errors: core.errors.Usage for vectors."""
    single = replace(world, stack=0)
    height, width = single.spec.observation[:2] if single.spec.kind == "image" else (USUAL, USUAL)
    fits = height % patches.SIDE == 0 and width % patches.SIDE == 0 and max(height, width) <= LARGEST
    return GymPatches(single if fits else single.with_pixels(USUAL))
