"""Treatments of vector observations (`senses`): functions of the row's seed, for any world, in any order.

parse("shuffle:every=100,noise:5")     the comma list of `--senses`, applied in order
Sensed(world, "shuffle")               a world with treated observations
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from sensorium.core.env import Env, EnvSpec, Step, TorchEnv, TorchWorld, World
from sensorium.core.errors import Usage, nearest
from sensorium.core.seeding import fold, normal, uniform

NOISE_SD = 0.1
"""standard deviation of the noise channels (Tang & Ha 2021, section 4.1)"""
NOISE_LIMIT = 6 * NOISE_SD
"""bound of the noise: `core.seeding.normal` has 24 random bits, so its largest value is sqrt(-2 ln 2^-24) = 5.77"""

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
        """The channel in each slot from step t on; None for treatments without a layout."""
        ...

    def apply(self, obs: Float[Tensor, "rows n"], layout: Index | None, seeds: Int[Tensor, "rows"], t: int | Tensor) -> Tensor:
        """The treated observation at step t."""
        ...

    def limits(self, bounds: Shaped[Tensor, "2 n"]) -> Tensor:
        """The lower and upper bounds of the channels after the treatment of channels with these bounds."""
        ...


class _Reordering:
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
class Shuffle(_Reordering):
    """A random permutation of the channels from the start of the episode, and a new one every `every` steps."""

    name: ClassVar[str] = "shuffle"
    every: int = 0
    """steps between two permutations; 0: one for the whole episode"""
    forget: bool = False
    """whether the agent's memory is reset at each new permutation (in the paper it stays with its slot)"""

    def layout(self, seeds: Tensor, t: int | Tensor, n: int) -> Tensor:
        epoch = torch.as_tensor(t) // self.every if self.every else 0
        return uniform(fold(seeds, "shuffle"), epoch, n).argsort(1)


@dataclass(frozen=True)
class Swap(_Reordering):
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
class Drop(_Reordering):
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
        return torch.cat([bounds, torch.tensor([[-NOISE_LIMIT], [NOISE_LIMIT]]).expand(2, self.count)], 1)


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


GRAMMAR = "shuffle, shuffle:every=100, shuffle:every=100:forget, swap:3, noise:5, duplicate, drop:0.3"


def parse(spec: str) -> tuple[Sense, ...]:
    """The treatments of a comma list, in order. Errors: core.errors.Usage."""
    return tuple(_parse_one(part.strip()) for part in spec.split(",") if part.strip())


def _parse_one(text: str) -> Any:
    name, *options = text.split(":")
    try:
        if name == "shuffle":
            values = {key: value for key, _, value in (option.partition("=") for option in options)}
            every, forget = int(values.get("every", 0)), values.get("forget", "")
            if set(values) <= {"every", "forget"} and every >= 0 and not forget and (every or "forget" not in values):
                return Shuffle(every, "forget" in values)
        elif name in ("swap", "noise") and len(options) == 1 and (count := int(options[0])) >= 1:
            return Swap(count) if name == "swap" else Noise(count)
        elif name == "drop" and len(options) == 1 and 0 <= (share := float(options[0])) < 1:
            return Drop(share)
        elif name == "duplicate" and not options:
            return Duplicate()
        elif name not in ("shuffle", "swap", "noise", "drop", "duplicate"):
            raise Usage(
                nearest(name, ["shuffle", "swap", "noise", "duplicate", "drop"], "treatment of the senses") + f" (allowed: {GRAMMAR})"
            )
    except ValueError:
        pass
    raise Usage(f"--senses cannot read '{text}'; allowed: {GRAMMAR}")


@dataclass(frozen=True)
class Sensed:
    """A world with treated observations; its dynamics and rewards are unchanged."""

    world: World
    senses: str = ""

    @property
    def treatments(self) -> tuple[Sense, ...]:
        return parse(self.senses)

    @property
    def spec(self) -> EnvSpec:
        spec, n = self.world.spec, self.world.spec.observation[0]
        names = list(spec.sensors)
        for sense in self.treatments:
            n = sense.channels(n)
            if isinstance(sense, Noise):
                names += [f"noise {i + 1}" for i in range(sense.count)]
            elif isinstance(sense, Duplicate):
                names += [f"{name} again" for name in names]
            else:
                names = [f"slot {i + 1}" for i in range(n)]
        return replace(spec, observation=(n,), sensors=tuple(names))

    def open(self) -> Env:
        return TorchEnv(self) if isinstance(self.world, TorchWorld) else SensedEnv(self.world.open(), self)

    # treatments: layouts are drawn at reset and redrawn when they are due

    def own(self, seeds: Int[Tensor, "rows"]) -> tuple[Tensor, ...]:
        """The seeds of each treatment."""
        return tuple(fold(seeds, "sense", i) for i in range(len(self.treatments)))

    def layouts(self, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The initial layout of each treatment; an empty tensor for treatments without one."""
        n, found = self.world.spec.observation[0], []
        for sense, seeds in zip(self.treatments, own, strict=True):
            layout = sense.layout(seeds, 0, n)
            found.append(torch.zeros(len(seeds), 0, dtype=torch.int64, device=seeds.device) if layout is None else layout)
            n = sense.channels(n)
        return tuple(found)

    def redrawn(self, layouts: tuple[Tensor, ...], own: tuple[Tensor, ...], t: int | Tensor) -> tuple[Tensor, ...]:
        """The layouts at step t."""
        n, found = self.world.spec.observation[0], []
        for sense, layout, seeds in zip(self.treatments, layouts, own, strict=True):
            if sense.every:
                due = (torch.as_tensor(t, device=seeds.device) % sense.every == 0).reshape(-1, 1)
                # a compiled step draws at every t; an eager one only when a layout is due
                if torch.compiler.is_compiling() or bool(due.any()):
                    new = sense.layout(seeds, t, n)
                    layout = torch.where(due, new, layout) if new is not None else layout
            found.append(layout)
            n = sense.channels(n)
        return tuple(found)

    def alter(self, obs: Float[Tensor, "rows n"], layouts: tuple[Tensor, ...], own: tuple[Tensor, ...], t: int | Tensor) -> Tensor:
        """The treated observation at step t."""
        for sense, layout, seeds in zip(self.treatments, layouts, own, strict=True):
            obs = sense.apply(obs, layout, seeds, t)
        return obs

    # TorchWorld methods: the state is (inner state, seeds of the treatments, layouts, observation)

    def initial(self, seeds: Int[Tensor, "rows"]) -> tuple[Any, ...]:
        inner, own = self.world.initial(seeds), self.own(seeds)  # type: ignore[attr-defined]
        layouts = self.layouts(own)
        return inner, own, layouts, self.alter(self.world.observe(inner), layouts, own, 0)  # type: ignore[attr-defined]

    def observe(self, state: tuple[Any, ...]) -> Tensor:
        return state[3]

    def transition(self, state: tuple[Any, ...], action: Tensor, t: int | Tensor) -> tuple[tuple[Any, ...], Step]:
        inner, own, layouts, _ = state
        inner, step = self.world.transition(inner, action, t)  # type: ignore[attr-defined]
        layouts = self.redrawn(layouts, own, t + 1)
        obs = self.alter(step.obs, layouts, own, t + 1)
        return (inner, own, layouts, obs), step._replace(obs=obs)


class SensedEnv:
    """An Env with treated observations, for worlds that are not TorchWorlds."""

    def __init__(self, env: Env, sensed: Sensed):
        self.env, self.sensed, self.spec = env, sensed, sensed.spec

    def reset(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        self.own, self.t = self.sensed.own(seeds), 0
        self.layouts = self.sensed.layouts(self.own)
        self.ended = torch.zeros_like(seeds, dtype=torch.bool)
        self.obs = self.sensed.alter(self.env.reset(seeds), self.layouts, self.own, 0)
        return self.obs

    def step(self, action: Tensor) -> Step:
        step = self.env.step(action)
        self.t += 1
        self.layouts = self.sensed.redrawn(self.layouts, self.own, self.t)
        obs = self.sensed.alter(step.obs, self.layouts, self.own, self.t)
        self.obs = torch.where(self.ended[:, None], self.obs, obs)
        self.ended = self.ended | step.terminated | step.truncated
        return step._replace(obs=self.obs)

    def close(self) -> None:
        self.env.close()
