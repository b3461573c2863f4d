"""dm_control's environments as a batch of simulators: rows dealt to threads, each of which draws its own."""

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.envs.host import extra
from sensorium.envs.renderer import Renderer, choose, prepare

VIDEO = 240
"""lines and columns of pictures for people"""


def load(task: str, random: np.random.RandomState) -> Any:
    """A dm_control environment that draws from `random` and knows no time limit."""
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
        """Reward of all repetitions, and whether the task ended the episode."""
        reward, ended = 0.0, False
        for _ in range(self.repeat):
            told = self.env.step(self.low + (action.astype(np.float64) + 1) * self.span)
            reward += told.reward or 0.0
            ended = bool(told.last())
            if ended:
                break
        self.state = flat(told.observation)
        return reward, ended


class ControlPool:
    """dm_control environments, a row each, dealt to threads; each thread draws its rows with a context of its own."""

    def __init__(self, task: str, repeat: int, camera: int | str, fast: bool, size: int):
        """`size` lines and columns of a picture; 0 shows states."""
        self.task, self.repeat, self.size = task, repeat, size
        self.rows: list[Row] = []
        count = max(torch.get_num_threads(), 1)
        # a context of OpenGL belongs to the thread that made it
        self.threads = [ThreadPoolExecutor(1) for _ in range(count)]
        self.painters = [Renderer(size, camera, fast) for _ in range(count)]
        self.large = Renderer(VIDEO, camera, False)
        self.closing = weakref.finalize(self, shut, self.threads, [*self.painters, self.large])

    def begin(self, seeds: list[int]) -> Tensor:
        while len(self.rows) < len(seeds):
            self.rows.append(Row(self.task, self.repeat))
        self.active = len(seeds)
        if self.size:
            # one after another: see `Renderer.ready`
            for thread, paint in zip(self.threads, self.painters, strict=True):
                thread.submit(paint.ready, self.rows[0].env.physics).result()

        def one(number: int, paint: Renderer) -> np.ndarray:
            self.rows[number].begin(seeds[number])
            return self.seen(number, paint)

        return torch.from_numpy(np.stack(self.each(one)))

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        reward, ended = np.zeros(self.active), np.zeros(self.active, dtype=bool)

        def one(number: int, paint: Renderer) -> np.ndarray:
            if live[number]:
                reward[number], ended[number] = self.rows[number].step(action[number])
            return self.seen(number, paint)

        return torch.from_numpy(np.stack(self.each(one))), reward, ended

    def seen(self, number: int, paint: Renderer) -> np.ndarray:
        """What a row shows: its picture, colours first, or its state."""
        row = self.rows[number]
        return paint.draw(row.env.physics).transpose(2, 0, 1) if self.size else row.state

    def each(self, work: Callable[[int, Renderer], Any]) -> list[Any]:
        """Work on every row by number, in its thread."""
        count = len(self.threads)

        def share(first: int) -> list[Any]:
            return [work(number, self.painters[first]) for number in range(first, self.active, count)]

        parts = [thread.submit(share, first) for first, thread in enumerate(self.threads)]
        dealt = [part.result() for part in parts]
        return [dealt[i % count][i // count] for i in range(self.active)]

    def states(self) -> np.ndarray:
        return np.stack([row.state for row in self.rows[: self.active]])

    def picture(self, row: int) -> np.ndarray:
        prepare()
        return self.threads[0].submit(self.large.draw, self.rows[row].env.physics).result()

    def close(self) -> None:
        self.closing()


def shut(threads: list[ThreadPoolExecutor], painters: list[Renderer]) -> None:
    """Free contexts where they were made, whoever forgot them: elsewhere that ends the process. The last one lives in the first thread."""
    for thread, paint in zip([*threads, threads[0]], painters, strict=True):
        with suppress(RuntimeError):  # at the very end there are no threads any more, nor is there anything to free
            thread.submit(paint.close).result()
    for thread in threads:
        thread.shutdown()
