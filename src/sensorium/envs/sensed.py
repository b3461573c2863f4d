"""Worlds with treated observations.

Sensed(world, "shuffle,noise:5")       the treatments of `envs.sensors`, in order
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.core.env import Env, EnvSpec, Step, TorchEnv, TorchWorld, World
from sensorium.core.seeding import fold
from sensorium.envs.sensors import Duplicate, Historical, Noise, Reordering, Treatment, parse


@dataclass(frozen=True)
class Sensed:
    """A world with treated observations; its dynamics and rewards are unchanged."""

    world: World
    senses: str = ""

    @property
    def treatments(self) -> tuple[Treatment, ...]:
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
            elif isinstance(sense, Reordering):
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

    def histories(self, own: tuple[Tensor, ...]) -> tuple[Any, ...]:
        """A blank history of each treatment; an empty tuple for treatments without one."""
        n, found = self.world.spec.observation[0], []
        for sense, seeds in zip(self.treatments, own, strict=True):
            found.append(sense.history(len(seeds), n, seeds.device) if isinstance(sense, Historical) else ())
            n = sense.channels(n)
        return tuple(found)

    def alter(
        self, obs: Float[Tensor, "rows n"], layouts: tuple[Tensor, ...], histories: tuple[Any, ...], own: tuple[Tensor, ...], t: int | Tensor
    ) -> tuple[Tensor, tuple[Any, ...]]:  # fmt: skip
        """The treated observation at step t, and the histories that include it."""
        after = []
        for sense, layout, history, seeds in zip(self.treatments, layouts, histories, own, strict=True):
            if isinstance(sense, Historical):
                obs, history = sense.recall(obs, layout, history, t)
            else:
                obs = sense.apply(obs, layout, seeds, t)
            after.append(history)
        return obs, tuple(after)

    # TorchWorld methods: the state is (inner state, seeds of the treatments, layouts, histories, observation)

    def initial(self, seeds: Int[Tensor, "rows"]) -> tuple[Any, ...]:
        inner, own = self.world.initial(seeds), self.own(seeds)  # type: ignore[attr-defined]
        layouts = self.layouts(own)
        obs, histories = self.alter(self.world.observe(inner), layouts, self.histories(own), own, 0)  # type: ignore[attr-defined]
        return inner, own, layouts, histories, obs

    def observe(self, state: tuple[Any, ...]) -> Tensor:
        return state[4]

    def transition(self, state: tuple[Any, ...], action: Tensor, t: int | Tensor) -> tuple[tuple[Any, ...], Step]:
        inner, own, layouts, histories, _ = state
        inner, step = self.world.transition(inner, action, t)  # type: ignore[attr-defined]
        layouts = self.redrawn(layouts, own, t + 1)
        obs, histories = self.alter(step.obs, layouts, histories, own, t + 1)
        return (inner, own, layouts, histories, obs), step._replace(obs=obs)


class SensedEnv:
    """An Env with treated observations, for worlds that are not TorchWorlds."""

    def __init__(self, env: Env, sensed: Sensed):
        self.env, self.sensed, self.spec = env, sensed, sensed.spec

    def reset(self, seeds: Int[Tensor, "rows"]) -> Tensor:
        self.own, self.t = self.sensed.own(seeds), 0
        self.layouts = self.sensed.layouts(self.own)
        self.ended = torch.zeros_like(seeds, dtype=torch.bool)
        self.obs = self._treated(self.env.reset(seeds), self.sensed.histories(self.own))
        return self.obs

    def step(self, action: Tensor) -> Step:
        step = self.env.step(action)
        self.t += 1
        self.layouts = self.sensed.redrawn(self.layouts, self.own, self.t)
        self.obs = torch.where(self.ended[:, None], self.obs, self._treated(step.obs, self.histories))
        self.ended = self.ended | step.terminated | step.truncated
        return step._replace(obs=self.obs)

    def _treated(self, obs: Tensor, histories: tuple[Any, ...]) -> Tensor:
        obs, self.histories = self.sensed.alter(obs, self.layouts, histories, self.own, self.t)
        return obs

    def close(self) -> None:
        self.env.close()
