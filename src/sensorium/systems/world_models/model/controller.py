"""C, and the policies made of V, M and C. P is the paper (Ha & Schmidhuber 2018)."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from sensorium.core.errors import Usage
from sensorium.core.seeding import fold, normal
from sensorium.nets.flat import Layout
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.model.memory import MDNRNN
from sensorium.systems.world_models.model.vision import Seeing

Features = Literal["z", "z-hidden", "zh", "zch"]
HIDDEN = 40
"""units of the hidden layer of "z-hidden" (P section 4.3)"""


@dataclass(frozen=True)
class Linear:
    """C: tanh of a linear map of features of V and M (P section 2.3); "z-hidden" adds a hidden layer of 40 units."""

    features: Features = "zh"
    """inputs: z; z with a hidden layer; z and h; z, c and h"""
    latents: int = 32
    hidden: int = 256
    """units of M"""
    actions: int = 3
    bias: bool = True
    car: bool = True
    """whether the actions are steering in [-1, 1], gas and brake in [0, 1]"""
    discrete: bool = False
    """whether the action is a choice: the one-hot vector of the largest output"""

    def __post_init__(self) -> None:
        if self.features not in ("z", "z-hidden", "zh", "zch"):
            raise Usage(f"features cannot be '{self.features}'; allowed: z, z-hidden, zh, zch")

    @property
    def width(self) -> int:
        return self.latents + {"z": 0, "z-hidden": 0, "zh": 1, "zch": 2}[self.features] * self.hidden

    @property
    def layout(self) -> Layout:
        last = HIDDEN if self.features == "z-hidden" else self.width
        first = (("hidden", (HIDDEN, self.width)), ("hidden_bias", (HIDDEN,))) if self.features == "z-hidden" else ()
        return Layout((*first, ("weight", (self.actions, last)), *((("bias", (self.actions,)),) if self.bias else ())))

    def act(
        self, tensors: dict[str, Tensor], z: Float[Tensor, "rows z"], hidden: Float[Tensor, "rows h"], cell: Float[Tensor, "rows h"]
    ) -> Float[Tensor, "rows a"]:
        """Actions. The first dimension of each tensor in `tensors` is rows, or 1 if all rows share the parameters."""
        parts = {"z": [z], "z-hidden": [z], "zh": [z, hidden], "zch": [z, cell, hidden]}[self.features]
        x = torch.cat(parts, 1) if len(parts) > 1 else z
        if self.features == "z-hidden":
            x = torch.tanh((tensors["hidden"] * x[:, None]).sum(-1) + tensors["hidden_bias"])
        drive = (tensors["weight"] * x[:, None]).sum(-1)
        drive = torch.tanh(drive + tensors["bias"] if self.bias else drive)
        if self.discrete:
            return one_hot(drive.argmax(1), self.actions).to(drive.dtype)
        return eq.car_action(drive) if self.car else drive

    @property
    def uses_memory(self) -> bool:
        """Whether the features include the state of M."""
        return self.features in ("zh", "zch")


class WorldModelPolicy:
    """V, M and C as one Policy from frames to actions. Its memory is (row seeds, hidden, cell, z, action).

    C reads z of this frame and M's state before it (P section 2.4). M is updated with z and the action at the next call of `act`, so that
    it gets the action that was executed, see `with_action`.
    """

    def __init__(
        self, vision: Seeing, memory: MDNRNN | None, controller: Linear, vectors: Float[Tensor, "*members n"], sample_z: bool = True
    ):
        self.vision, self.memory, self.controller, self.sample_z = vision, memory, controller, sample_z
        self.vectors = vectors.view(-1, vectors.shape[-1])
        self.tensors = controller.layout.split(self.vectors)

    @property
    def members(self) -> int:
        return len(self.vectors)

    def take(self, members: Int[Tensor, "some"]) -> "WorldModelPolicy":
        return WorldModelPolicy(self.vision, self.memory, self.controller, self.vectors[members], self.sample_z)

    def deterministic(self) -> "WorldModelPolicy":
        """The policy with the mean of z instead of a sample, for example as a teacher."""
        return WorldModelPolicy(self.vision, self.memory, self.controller, self.vectors, sample_z=False)

    def begin(self, seeds: Int[Tensor, "rows"]) -> Any:
        blank = torch.zeros(len(seeds), self.memory.hidden if self.memory else 1, device=seeds.device)
        z, action = (torch.zeros(len(seeds), n, device=seeds.device) for n in (self.vision.latents, self.controller.actions))
        return fold(seeds, "z"), blank, blank.clone(), z, action

    def with_action(self, memory: Any, action: Float[Tensor, "rows a"]) -> Any:
        """The memory after another action was executed instead of the policy's own."""
        return (*memory[:-1], action)

    def act(self, obs: Tensor, memory: Any, t: int | Tensor) -> tuple[Tensor, Any]:
        seeds, hidden, cell, z, action = memory
        with torch.no_grad():
            if self.memory is not None:
                time = torch.as_tensor(t, device=hidden.device).expand(len(hidden))
                states = self.memory.step(z, action, (time == 1).to(hidden.dtype), hidden, cell)
                # before the first frame M has no input
                hidden, cell = (torch.where((time > 0)[:, None], new, old) for new, old in zip(states, (hidden, cell), strict=True))
            mu, log_variance = self.vision.posterior(obs)
            z = eq.latent(mu, log_variance, normal(seeds, t, self.vision.latents)) if self.sample_z else mu.float()
            action = self.controller.act(self.tensors, z, hidden, cell)
        return action, (seeds, hidden, cell, z, action)


class LatentPolicy:
    """C alone, for worlds whose observation is (z, c, h): a dream, or the real world encoded by V and M."""

    def __init__(self, controller: Linear, vectors: Float[Tensor, "*members n"]):
        self.controller, self.vectors = controller, vectors.view(-1, vectors.shape[-1])
        self.tensors = controller.layout.split(self.vectors)

    @property
    def members(self) -> int:
        return len(self.vectors)

    def take(self, members: Int[Tensor, "some"]) -> "LatentPolicy":
        return LatentPolicy(self.controller, self.vectors[members])

    def begin(self, seeds: Int[Tensor, "rows"]) -> tuple[()]:
        return ()

    def act(self, obs: Float[Tensor, "rows zch"], memory: tuple[()], t: int | Tensor) -> tuple[Tensor, tuple[()]]:
        c = self.controller
        z, cell, hidden = obs.split([c.latents, c.hidden, c.hidden], 1)
        return c.act(self.tensors, z, hidden, cell), memory
