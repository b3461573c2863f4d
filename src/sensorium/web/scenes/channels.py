"""The channels of a vector observation as a visitor changes them: order, copies, noise, failures."""

from collections import deque

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.seeding import row_seeds
from sensorium.envs.sensors import Gaussian, Noise, Shuffle

SHOWN = 32
"""largest number of channels that have names, switches and places of their own on the page"""


def labels(names: tuple[str, ...], n: int) -> list[str]:
    """The names of n sensors: the world's, or numbers."""
    return list(names) if len(names) == n else [f"sensor {i + 1}" for i in range(n)]


class Channels:
    """Sensors, their copies and channels of noise, in an order that a visitor changes. `items` are their names, `order` the one at each input."""

    def __init__(self, names: list[str], seed: int):
        self.names, self.seeds, self.draws = names, row_seeds(seed, 1), 0
        self.working = [True] * len(names)
        self.noise, self.duplicate, self.sd, self.delay = 0, False, 0.0, 0
        self.past: deque[Tensor] = deque()
        self.order = list(range(len(names)))

    @property
    def items(self) -> list[str]:
        """The names of all channels."""
        copies = [f"{name} again" for name in self.names] if self.duplicate else []
        return [*self.names, *copies, *(f"noise {i + 1}" for i in range(self.noise))]

    @property
    def inputs(self) -> list[str]:
        """The name of the channel at each input."""
        items = self.items
        return [items[item] for item in self.order]

    def shuffle(self) -> None:
        """A new random order."""
        self.draws += 1
        n = len(self.order)
        layout = Shuffle(every=1).layout(self.seeds, self.draws, n)
        self.order = layout[0].tolist()

    def sort(self) -> None:
        """The first order."""
        self.order = sorted(self.order)

    def extend(self, noise: int, duplicate: bool) -> None:
        """Another number of channels; those that stay keep their places."""
        before = self.inputs
        self.noise, self.duplicate = noise, duplicate
        after = self.items
        kept = [after.index(name) for name in before if name in after]
        self.order = [*kept, *(item for item in range(len(after)) if item not in kept)]

    def treated(self, obs: Float[Tensor, "1 n"], t: int) -> Float[Tensor, "1 m"]:
        """The observation as it arrives at the inputs."""
        obs = torch.where(torch.tensor(self.working), obs, 0.0)
        if self.sd:
            obs = Gaussian(self.sd).apply(obs, None, self.seeds, t)
        self.past.append(obs)
        while len(self.past) > self.delay + 1:
            self.past.popleft()
        obs = self.past[0]
        if self.duplicate:
            obs = torch.cat([obs, obs], 1)
        if self.noise:
            obs = Noise(self.noise).apply(obs, None, self.seeds, t)
        return obs[:, self.order]

    def forget(self) -> None:
        """Forget earlier observations, at the start of an episode."""
        self.past.clear()


def fitted(obs: Float[Tensor, "1 m"], n: int) -> Float[Tensor, "1 n"]:
    """The first n inputs, for a network with as many: further ones are not connected, missing ones are 0."""
    return torch.nn.functional.pad(obs, (0, n - obs.shape[1]))
