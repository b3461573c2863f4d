"""dm_control environments as a batch of simulators; rows are distributed over threads, each with its own renderer."""

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.core.errors import Usage
from sensorium.envs.host import extra
from sensorium.envs.renderer import Renderer, choose, prepare

VIDEO = 240
"""height and width of images for videos"""


def load(task: str, random: np.random.RandomState) -> Any:
    """A dm_control environment with the random state `random` and no time limit."""
    choose()
    extra("dm_control", "control")
    from dm_control import suite

    known = {"_".join(pair): pair for pair in suite.ALL_TASKS}
    if task not in known:
        from sensorium.envs import urlb

        return urlb.load(task, random)
    domain, name = known[task]
    return suite.load(domain, name, task_kwargs={"random": random, "time_limit": float("inf")})


def flat(observation: dict[str, Any]) -> np.ndarray:
    """A dm_control observation as one vector."""
    return np.concatenate([np.ravel(part) for part in observation.values()]).astype(np.float32)


class Row:
    """One dm_control environment."""

    def __init__(self, task: str, repeat: int):
        self.random, self.repeat = np.random.RandomState(0), repeat
        self.env = load(task, self.random)
        bounds = self.env.action_spec()
        self.low, self.span = bounds.minimum, (bounds.maximum - bounds.minimum) / 2

    def begin(self, seed: int) -> None:
        self.random.seed(seed)
        self.state = flat(self.env.reset().observation)

    def step(self, action: np.ndarray) -> tuple[float, bool]:
        """Sum of rewards over the repetitions, and whether the episode ended."""
        reward, ended = 0.0, False
        for _ in range(self.repeat):
            result = self.env.step(self.low + (action.astype(np.float64) + 1) * self.span)
            reward += result.reward or 0.0
            ended = bool(result.last())
            if ended:
                break
        self.state = flat(result.observation)
        return reward, ended


class ControlPool:
    """dm_control environments, one per row, distributed over threads; each thread renders its rows with its own OpenGL context."""

    def __init__(self, task: str, repeat: int, camera: int | str, fast: bool, size: int):
        """`size`: height and width of images; 0: states."""
        self.task, self.repeat, self.size = task, repeat, size
        self.rows: list[Row] = []
        count = max(torch.get_num_threads(), 1)
        # an OpenGL context is bound to the thread that created it
        self.threads = [ThreadPoolExecutor(1) for _ in range(count)]
        self.renderers = [Renderer(size, camera, fast) for _ in range(count)]
        self.large = Renderer(VIDEO, camera, False)
        self.closing = weakref.finalize(self, shut, self.threads, [*self.renderers, self.large])

    def begin(self, seeds: list[int]) -> Tensor:
        while len(self.rows) < len(seeds):
            self.rows.append(Row(self.task, self.repeat))
        self.active = len(seeds)
        if self.size:
            # sequentially, see `Renderer.ready`
            for thread, renderer in zip(self.threads, self.renderers, strict=True):
                thread.submit(renderer.ready, self.rows[0].env.physics).result()

        def one(number: int, renderer: Renderer) -> np.ndarray:
            self.rows[number].begin(seeds[number])
            return self.observation(number, renderer)

        return torch.from_numpy(np.stack(self.each(one)))

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        reward, ended = np.zeros(self.active), np.zeros(self.active, dtype=bool)

        def one(number: int, renderer: Renderer) -> np.ndarray:
            if live[number]:
                reward[number], ended[number] = self.rows[number].step(action[number])
            return self.observation(number, renderer)

        return torch.from_numpy(np.stack(self.each(one))), reward, ended

    def observation(self, number: int, renderer: Renderer) -> np.ndarray:
        """The observation of a row: its image, channels first, or its state."""
        row = self.rows[number]
        return renderer.draw(row.env.physics).transpose(2, 0, 1) if self.size else row.state

    def each(self, work: Callable[[int, Renderer], Any]) -> list[Any]:
        """Results of `work(row, renderer)` for all rows, in order; each runs in its row's thread."""
        count = len(self.threads)

        def share(first: int) -> list[Any]:
            return [work(number, self.renderers[first]) for number in range(first, self.active, count)]

        parts = [thread.submit(share, first) for first, thread in enumerate(self.threads)]
        results = [part.result() for part in parts]
        return [results[i % count][i // count] for i in range(self.active)]

    def states(self) -> np.ndarray:
        return np.stack([row.state for row in self.rows[: self.active]])

    def picture(self, row: int) -> np.ndarray:
        prepare()
        return self.threads[0].submit(self.large.draw, self.rows[row].env.physics).result()

    def segments(self, row: int) -> list[tuple[float, ...]]:
        """The shapes of a row as capsules, see `core.env.Articulated`. Errors: core.errors.Usage for bodies with meshes."""
        return capsules(self.rows[row].env.physics)

    def close(self) -> None:
        self.closing()


PLANE, SPHERE, MESH = 0, 2, 7
"""MuJoCo's types of geoms"""


def capsules(physics: Any) -> list[tuple[float, ...]]:
    """The visible geoms of a dm_control physics as capsules: each along its longest axis. Errors: core.errors.Usage for meshes."""
    model, data, found = physics.model, physics.data, []
    for i in range(model.ngeom):
        kind, size = int(model.geom_type[i]), np.array(model.geom_size[i])
        if kind == MESH:
            raise Usage("these bodies have meshes, which are no capsules")
        if kind == PLANE or model.geom_rgba[i, 3] == 0:
            continue
        rotation, centre = np.array(data.geom_xmat[i]).reshape(3, 3), np.array(data.geom_xpos[i])
        if kind == SPHERE:
            axis, radius, half = 0, size[0], 0.0
        elif kind in (3, 5):  # capsule, cylinder: along z
            axis, radius, half = 2, size[0], size[1]
        else:  # ellipsoid, box
            axis = int(size.argmax())
            radius = float(np.delete(size, axis).mean())
            half = max(0.0, size[axis] - radius)
        ends = centre - half * rotation[:, axis], centre + half * rotation[:, axis]
        found.append(tuple(float(value) for value in (*ends[0], *ends[1], radius)))
    return found


def shut(threads: list[ThreadPoolExecutor], renderers: list[Renderer]) -> None:
    """Free each OpenGL context in its own thread; elsewhere that crashes the process. The last context belongs to the first thread."""
    for thread, renderer in zip([*threads, threads[0]], renderers, strict=True):
        with suppress(RuntimeError):  # at interpreter shutdown there are no threads, and nothing to free
            thread.submit(renderer.close).result()
    for thread in threads:
        thread.shutdown()
