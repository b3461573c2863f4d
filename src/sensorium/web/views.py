"""Pictures of worlds: a cart with its pole, bodies of capsules, rendered images, or the observed image itself."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sensorium.core.env import Articulated, Cart, Env, EnvSpec, Pictured, Resizable, Step, World, closing
from sensorium.core.errors import Failure, Usage
from sensorium.envs import cart_pole
from sensorium.envs.wrappers import Wrapping
from sensorium.web.scenes.scene import Panel, panel

SIDE = 300
"""height and width of rendered images"""
LARGEST = 400
"""pixels of the longer side of a picture that is sent"""


class View(Protocol):
    """The picture of the first row of an Env."""

    def panel(self, name: str, label: str) -> Panel:
        """The declaration of its panel."""
        ...

    def value(self) -> Any:
        """The panel's value in the present state."""
        ...

    def image(self) -> np.ndarray:
        """The present state as an image, uint8 [height, width, 3]."""
        ...


@runtime_checkable
class Pushable(Protocol):
    """A view of a body that a visitor can push."""

    def forced(self, action: Tensor, newtons: float = 0.0) -> None:
        """Show the force of a visitor, or that of an action [1, 1] where there is none."""
        ...

    def push(self, newtons: float) -> None:
        """Add a force during the next step."""
        ...

    def reach(self, x: float) -> float:
        """Metres from the body to the pointer at a share x of the panel's width."""
        ...


@runtime_checkable
class InTorch(Protocol):
    """An Env that holds the state of a world in torch; `ended` [rows] are rows whose episode has ended."""

    world: Any
    state: Any
    ended: Tensor


@runtime_checkable
class Layered(Protocol):
    """An Env around another one."""

    env: Any


@dataclass(frozen=True)
class Rendered:
    """A world with its own vector observations whose Env also renders."""

    world: Any

    @property
    def spec(self) -> EnvSpec:
        return self.world.spec

    def open(self) -> "RenderedEnv":
        return RenderedEnv(self.world, self.world.with_pixels(SIDE).open())


class RenderedEnv:
    """An Env of `Rendered`: the inner Env observes images and provides states."""

    def __init__(self, world: World, env: Any):
        self.spec, self.inner = world.spec, env

    def reset(self, seeds: Tensor) -> Tensor:
        self.images = self.inner.reset(seeds)
        return self.inner.states()

    def step(self, action: Tensor) -> Step:
        step = self.inner.step(action)
        self.images = step.obs
        return step._replace(obs=self.inner.states())

    def picture(self, row: int = 0) -> np.ndarray:
        """The rendered image of one row."""
        return self.images[row].numpy()

    def close(self) -> None:
        self.inner.close()


def rendering(world: World) -> World:
    """The world whose Env renders, where it can; else the world itself."""
    if isinstance(world, Wrapping):
        return replace(world, world=rendering(world.world))  # type: ignore[type-var]
    if not isinstance(world, Resizable) or world.spec.kind != "vector":
        return world
    try:
        with closing(Rendered(world)) as env:
            env.reset(torch.zeros(1, dtype=torch.int64))
    except (Usage, Failure):
        return world
    return Rendered(world)


def opened(world: World, seeds: Tensor) -> tuple[Env, Tensor, View | None]:
    """An Env of a world, its first observation, and its view where there is one."""
    env = rendering(world).open()
    try:
        obs = env.reset(seeds)
        for candidate in views(env):
            with suppress(Usage, Failure):
                candidate.value()
                return env, obs, candidate
    except BaseException:
        env.close()
        raise
    return env, obs, None


def views(env: Any) -> Iterator[View]:
    """The views that an Env may have, the best one first; the value of one that it does not have raises core.errors."""
    kind = env.spec.kind
    if isinstance(env, InTorch) and isinstance(env.world, Cart):
        yield CartView(env, env.world)
    if isinstance(env, Articulated):
        yield BodiesView(env)
    if isinstance(env, Pictured):
        yield PictureView(env.picture)
    observed: Any = env
    if kind == "image":
        yield PictureView(lambda: observed.obs[0].cpu().numpy())
    if kind == "frames":
        yield PictureView(lambda: observed.obs[0, -3:].permute(1, 2, 0).cpu().numpy())
    if isinstance(env, Layered):
        yield from views(env.env)


class CartView:
    """A cart with its pole, drawn by the page."""

    def __init__(self, env: InTorch, world: Cart):
        self.env, self.world, self.force = env, world, 0.0

    def panel(self, name: str, label: str) -> Panel:
        limit, length = self.world.limits
        return panel(name, label, "cart-pole", limit=limit, length=length, pointer=True)

    def value(self) -> dict[str, Any]:
        x, theta = self.world.pose(self.env.state)
        # the page's angles are clockwise
        return {"x": x, "theta": -theta, "push": self.force, "over": bool(self.env.ended[0])}

    def forced(self, action: Tensor, newtons: float = 0.0) -> None:
        self.force = newtons or cart_pole.FORCE * float(action[0, 0])

    def push(self, newtons: float) -> None:
        self.env.state = self.world.pushed(self.env.state, newtons)

    def reach(self, x: float) -> float:
        # the page shows the track on 88 % of its width
        return (x - 0.5) * self.world.limits[0] / 0.44 - self.world.pose(self.env.state)[0]

    def image(self) -> np.ndarray:
        return cart_pole.draw(*self.world.pose(self.env.state))


class BodiesView:
    """Bodies of capsules, drawn by the page."""

    def __init__(self, env: Articulated):
        self.env = env

    def panel(self, name: str, label: str) -> Panel:
        return panel(name, label, "bodies")

    def value(self) -> dict[str, Any]:
        segments = [[round(value, 4) for value in capsule] for capsule in self.env.segments()]
        return {"segments": segments, "center": segments[0][:2]}

    def image(self) -> np.ndarray:
        """An oblique projection, for thumbnails."""
        width, height, scale = 320, 240, 90.0
        picture = Image.new("RGB", (width, height), cart_pole.PAPER)
        pen = ImageDraw.Draw(picture)
        capsules = self.env.segments()
        x0, y0 = capsules[0][:2]

        def place(x: float, y: float, z: float) -> tuple[float, float]:
            return width / 2 + scale * (x - x0 + 0.35 * (y - y0)), height * 0.72 - scale * (z + 0.35 * (y - y0))

        for i in range(-4, 5):
            shift = math.floor(x0) - x0 + i
            pen.line([place(x0 + shift, y0 - 1.5, 0), place(x0 + shift, y0 + 1.5, 0)], fill=cart_pole.RAIL)
        for *ends, radius in sorted(capsules, key=lambda capsule: -capsule[1]):
            a, b, r = place(*ends[:3]), place(*ends[3:]), radius * scale
            pen.line([a, b], fill=cart_pole.CART, width=max(1, round(2 * r)))
            for x, y in (a, b):
                pen.ellipse([x - r, y - r, x + r, y + r], fill=cart_pole.CART)
        return np.asarray(picture)


class PictureView:
    """Images that a simulator or the observation provides."""

    def __init__(self, picture: Any):
        self.picture = picture

    def panel(self, name: str, label: str) -> Panel:
        return panel(name, label, "picture", width=SIDE, height=SIDE)

    def value(self) -> np.ndarray:
        return limited(self.picture())

    image = value


def limited(image: np.ndarray) -> np.ndarray:
    """An image with every n-th pixel, so that its sides have at most `LARGEST` pixels."""
    every = -(-max(image.shape[:2]) // LARGEST)
    return np.ascontiguousarray(image[::every, ::every])
