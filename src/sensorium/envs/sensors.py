"""Treatments of vector observations (`senses`): functions of the row's seed, for any world, in any order.

parse("shuffle:every=100,noise:5")     the comma list of `--senses`, applied in order

`drop` and `blank` are persistent failures of a share of the sensors, as studied in "When Sensors Fail" (Vogt-Lowell et al. 2026, arXiv
2603.04648, abstract). There failures follow a stochastic process; here they last for the whole episode.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from sensorium.core.errors import Usage, nearest
from sensorium.core.seeding import fold, normal, uniform

NOISE_SD = 0.1
"""standard deviation of the noise channels (Tang & Ha 2021, section 4.1)"""
NORMAL_LIMIT = 6.0
"""bound of normal numbers: `core.seeding.normal` has 24 random bits, so its largest value is sqrt(-2 ln 2^-24) = 5.77"""

Index = Int[Tensor, "rows channels"]


@runtime_checkable
class Sense(Protocol):
    """One treatment of a row's channels, a function of the row's seed and of t, the number of steps taken."""

    name: ClassVar[str]
    every: int

    def channels(self, n: int) -> int:
        """The number of channels after the treatment of n channels."""
        ...

    def layout(self, seeds: Int[Tensor, "rows"], t: int | Tensor, n: int) -> Index | None:
        """The channel in each slot from step t on, or the channels that fail; None for treatments without a layout."""
        ...

    def limits(self, bounds: Shaped[Tensor, "2 n"]) -> Tensor:
        """The lower and upper bounds of the channels after the treatment of channels with these bounds."""
        ...


@runtime_checkable
class Immediate(Sense, Protocol):
    """A Sense of the current observation alone."""

    def apply(self, obs: Float[Tensor, "rows n"], layout: Index | None, seeds: Int[Tensor, "rows"], t: int | Tensor) -> Tensor:
        """The treated observation at step t."""
        ...


@runtime_checkable
class Historical(Sense, Protocol):
    """A Sense that depends on earlier observations of the episode."""

    def history(self, rows: int, n: int, device: torch.device) -> Tensor:
        """A blank history, rows first; its contents do not matter, since step 0 fills it."""
        ...

    def recall(
        self, obs: Float[Tensor, "rows n"], layout: Index | None, history: Float[Tensor, "rows *past"], t: int | Tensor
    ) -> tuple[Float[Tensor, "rows n"], Float[Tensor, "rows *past"]]:
        """The treated observation at step t, and the history that includes it."""
        ...


Treatment = Immediate | Historical


class Reordering:
    """A treatment that only reorders or selects channels."""

    every: int = 0

    def channels(self, n: int) -> int:
        return n

    def apply(self, obs: Tensor, layout: Tensor | None, seeds: Tensor, t: int | Tensor) -> Tensor:
        assert layout is not None
        return obs.gather(1, layout)

    def limits(self, bounds: Tensor) -> Tensor:
        # a slot may hold any channel
        return torch.stack([bounds[0].amin(), bounds[1].amax()])[:, None].expand(2, self.channels(bounds.shape[1]))


@dataclass(frozen=True)
class Shuffle(Reordering):
    """A random permutation of the channels from the start of the episode, and a new one every `every` steps."""

    name: ClassVar[str] = "shuffle"
    every: int = 0
    """steps between two permutations; 0: one for the whole episode"""
    forget: bool = False
    """whether the agent's memory is reset at each new permutation (in the paper it stays with its slot)"""
    late: bool = False
    """whether the channels are in order until step `every`, so that the episode equals an untreated one up to then"""

    def layout(self, seeds: Tensor, t: int | Tensor, n: int) -> Tensor:
        epoch = torch.as_tensor(t, device=seeds.device) // self.every if self.every else 0
        order = uniform(fold(seeds, "shuffle"), epoch, n).argsort(1)
        if self.late:
            order = torch.where(torch.as_tensor(epoch).reshape(-1, 1) == 0, torch.arange(n, device=seeds.device), order)
        return order


@dataclass(frozen=True)
class Swap(Reordering):
    """`count` random swaps of two channels, in sequence; later ones may undo earlier ones."""

    name: ClassVar[str] = "swap"
    count: int = 1

    def layout(self, seeds: Tensor, t: int | Tensor, n: int) -> Tensor:
        order = torch.arange(n, device=seeds.device).expand(len(seeds), n).clone()
        draws = uniform(fold(seeds, "swap"), 0, 2 * self.count)
        rows = torch.arange(len(seeds), device=seeds.device)
        for k in range(self.count):
            first = (draws[:, 2 * k] * n).long()
            other = (first + 1 + (draws[:, 2 * k + 1] * (n - 1)).long()) % n
            a, b = order[rows, first], order[rows, other]
            order[rows, first], order[rows, other] = b, a
        return order


@dataclass(frozen=True)
class Drop(Reordering):
    """A share of the channels, rounded, is removed for the episode; the others keep their order."""

    name: ClassVar[str] = "drop"
    share: float = 0.0

    def channels(self, n: int) -> int:
        dropped = round(n * self.share)
        if not 0 < dropped < n:
            raise Usage(f"drop:{self.share:g} of {n} channels drops {dropped}; it has to drop at least one and keep at least one")
        return n - dropped

    def layout(self, seeds: Tensor, t: int | Tensor, n: int) -> Tensor:
        return uniform(fold(seeds, "drop"), 0, n).argsort(1)[:, : self.channels(n)].sort(1).values


@dataclass(frozen=True)
class Noise:
    """Additional channels of noise, N(0, 0.1^2), new at each step, after the real ones."""

    name: ClassVar[str] = "noise"
    count: int = 1
    every: int = 0

    def channels(self, n: int) -> int:
        return n + self.count

    def layout(self, seeds: Tensor, t: int | Tensor, n: int) -> None:
        return None

    def apply(self, obs: Tensor, layout: Tensor | None, seeds: Tensor, t: int | Tensor) -> Tensor:
        return torch.cat([obs.mT, NOISE_SD * normal(fold(seeds, "noise"), t, self.count).mT]).mT

    def limits(self, bounds: Tensor) -> Tensor:
        return torch.cat([bounds, torch.tensor([[-NORMAL_LIMIT * NOISE_SD], [NORMAL_LIMIT * NOISE_SD]]).expand(2, self.count)], 1)


@dataclass(frozen=True)
class Duplicate:
    """The whole observation twice."""

    name: ClassVar[str] = "duplicate"
    every: int = 0

    def channels(self, n: int) -> int:
        return 2 * n

    def layout(self, seeds: Tensor, t: int | Tensor, n: int) -> None:
        return None

    def apply(self, obs: Tensor, layout: Tensor | None, seeds: Tensor, t: int | Tensor) -> Tensor:
        return torch.cat([obs.mT, obs.mT]).mT

    def limits(self, bounds: Tensor) -> Tensor:
        return torch.cat([bounds, bounds], 1)


class _InPlace:
    """A treatment that alters values; the channels keep their number and places."""

    every: int = 0

    def channels(self, n: int) -> int:
        return n

    def layout(self, seeds: Tensor, t: int | Tensor, n: int) -> Tensor | None:
        return None

    def limits(self, bounds: Tensor) -> Tensor:
        return bounds


class _Faulty(_InPlace):
    """A fault of `count` random channels for the episode. They are the same in every kind of fault, and a larger count adds channels."""

    name: ClassVar[str]
    count: int

    def channels(self, n: int) -> int:
        if self.count > n:
            raise Usage(f"{self.name}:{self.count} needs at least {self.count} channels; there are {n}")
        return n

    def layout(self, seeds: Tensor, t: int | Tensor, n: int) -> Tensor:
        return uniform(fold(seeds, "fault"), 0, n).argsort(1)[:, : self.count]


@dataclass(frozen=True)
class Blank(_Faulty):
    """`count` random channels are 0 for the episode: the fault of `drop` for agents with a fixed number of inputs."""

    name: ClassVar[str] = "blank"
    count: int = 1

    def apply(self, obs: Tensor, layout: Tensor | None, seeds: Tensor, t: int | Tensor) -> Tensor:
        assert layout is not None
        return obs.scatter(1, layout, 0.0)

    def limits(self, bounds: Tensor) -> Tensor:
        return torch.stack([bounds[0].clamp(max=0), bounds[1].clamp(min=0)])


@dataclass(frozen=True)
class Freeze(_Faulty):
    """`count` random channels keep their first value for the episode."""

    name: ClassVar[str] = "freeze"
    count: int = 1

    def history(self, rows: int, n: int, device: torch.device) -> Tensor:
        return torch.zeros(rows, self.count, device=device)

    def recall(self, obs: Tensor, layout: Tensor | None, history: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        assert layout is not None
        held = torch.where(_first(t, obs), obs.gather(1, layout), history)
        return obs.scatter(1, layout, held), held


@dataclass(frozen=True)
class Delay(_InPlace):
    """All channels `count` steps late; until then the first observation."""

    name: ClassVar[str] = "delay"
    count: int = 1

    def history(self, rows: int, n: int, device: torch.device) -> Tensor:
        return torch.zeros(rows, self.count, n, device=device)

    def recall(self, obs: Tensor, layout: Tensor | None, history: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        past = torch.where(_first(t, obs)[..., None], obs[:, None], history)
        return past[:, 0], torch.cat([past[:, 1:], obs[:, None]], 1)


@dataclass(frozen=True)
class Scale(_Faulty):
    """One random channel is multiplied by `factor` for the episode."""

    name: ClassVar[str] = "scale"
    count: ClassVar[int] = 1
    factor: float = 1.0

    def apply(self, obs: Tensor, layout: Tensor | None, seeds: Tensor, t: int | Tensor) -> Tensor:
        assert layout is not None
        return obs.scatter(1, layout, self.factor * obs.gather(1, layout))

    def limits(self, bounds: Tensor) -> Tensor:
        # 0 times an infinite bound is 0
        scaled = torch.cat([bounds, (self.factor * bounds).nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf)])
        return torch.stack([scaled.amin(0), scaled.amax(0)])


@dataclass(frozen=True)
class Gaussian(_InPlace):
    """Noise is added to all channels, N(0, sd^2), new at each step; `sd` is in the units of the observation, as those of `Noise` are."""

    name: ClassVar[str] = "gaussian"
    sd: float = 0.0

    def apply(self, obs: Tensor, layout: Tensor | None, seeds: Tensor, t: int | Tensor) -> Tensor:
        return obs + self.sd * normal(fold(seeds, "gaussian"), t, obs.shape[1])

    def limits(self, bounds: Tensor) -> Tensor:
        return bounds + self.sd * torch.tensor([[-NORMAL_LIMIT], [NORMAL_LIMIT]])


def _first(t: int | Tensor, obs: Tensor) -> Bool[Tensor, "#rows 1"]:
    """Whether step t is the first one; t is one number or one per row."""
    return torch.as_tensor(t, device=obs.device).reshape(-1, 1) == 0


GRAMMAR = (
    "shuffle, shuffle:every=100, shuffle:every=100:forget, shuffle:every=100:late, swap:3, noise:5, duplicate, drop:0.3, blank:1, freeze:1, "
    "delay:3, scale:2, gaussian:0.1"
)
COUNTED = {"swap": Swap, "noise": Noise, "blank": Blank, "freeze": Freeze, "delay": Delay}
"""treatments with a count of at least 1"""
MEASURED = {
    "drop": (Drop, lambda share: 0 <= share < 1),
    "scale": (Scale, math.isfinite),
    "gaussian": (Gaussian, lambda sd: 0 < sd < math.inf),
}
"""treatments with a number, and the numbers that are allowed"""


def parse(spec: str) -> tuple[Treatment, ...]:
    """The treatments of a comma list, in order. Errors: core.errors.Usage."""
    return tuple(_parse_one(part.strip()) for part in spec.split(",") if part.strip())


def shuffle_of(options: list[str]) -> Shuffle | None:
    """The Shuffle of options such as ["every=100", "forget"]; None where they are not allowed. Errors: ValueError for no number."""
    values = {key: value for key, _, value in (option.partition("=") for option in options)}
    every = int(values.pop("every", 0))
    if every < 0 or (values and not every) or any(values.values()) or not set(values) <= {"forget", "late"}:
        return None
    return Shuffle(every, "forget" in values, "late" in values)


def _parse_one(text: str) -> Any:
    name, *options = text.split(":")
    try:
        if name == "shuffle" and (found := shuffle_of(options)):
            return found
        if name in COUNTED and len(options) == 1 and (count := int(options[0])) >= 1:
            return COUNTED[name](count)
        if name in MEASURED and len(options) == 1 and MEASURED[name][1](number := float(options[0])):
            return MEASURED[name][0](number)
        if name == "duplicate" and not options:
            return Duplicate()
    except ValueError:
        pass
    if name not in (known := ["shuffle", "duplicate", *COUNTED, *MEASURED]):
        raise Usage(nearest(name, known, "treatment of the senses") + f" (allowed: {GRAMMAR})")
    raise Usage(f"--senses cannot read '{text}'; allowed: {GRAMMAR}")
