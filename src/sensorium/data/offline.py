"""Offline episodes: a Minari dataset, or a folder of NPZ files, in a world's own observations and actions. Nothing in them is imported or run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.core.env import Recordable, World
from sensorium.core.errors import Failure, Usage
from sensorium.data.episodes import Episode

MINARI = "minari:"
"""prefix of the names of Minari's datasets"""
KEYS = ("observations", "actions", "rewards", "terminated")


class Recorded(NamedTuple):
    """One episode as it was recorded: T actions and rewards, T or T + 1 observations (arrays, or dicts of arrays)."""

    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool


def dataset(name: str) -> Any:
    """A local Minari dataset. Errors: core.errors.Usage where there is none, core.errors.Failure where it is damaged."""
    try:
        import minari
    except ImportError as error:
        raise Failure(f"minari cannot be imported ({error}); pip install 'sensorium[minari]'") from None
    try:
        return minari.load_dataset(name, download=False)
    except FileNotFoundError:
        local = ", ".join(minari.list_local_datasets()) or "none"
        raise Usage(f"no Minari dataset '{name}' on this machine (there: {local}); `minari download {name}` fetches it") from None
    except Exception as error:
        raise Failure(f"the Minari dataset {name} is damaged ({type(error).__name__}: {error})") from None


def files(folder: str) -> list[Path]:
    """The episodes of a folder, in the order of their names. Errors: core.errors.Usage where there are none."""
    found = sorted(Path(folder).glob("*.npz"))
    if not found:
        raise Usage(f"{folder} holds no episodes; it needs .npz files with the arrays {', '.join(KEYS)}")
    return found


def count(source: str) -> int:
    """The number of episodes of `minari:NAME` or a folder."""
    return int(dataset(source.removeprefix(MINARI)).total_episodes) if source.startswith(MINARI) else len(files(source))


def recorded(source: str, numbers: range) -> Iterator[Recorded]:
    """Some episodes of `minari:NAME` or a folder. Errors: core.errors.Failure for a damaged file."""
    if source.startswith(MINARI):
        for episode in dataset(source.removeprefix(MINARI)).iterate_episodes(list(numbers)):
            yield Recorded(episode.observations, np.asarray(episode.actions), np.asarray(episode.rewards), bool(episode.terminations[-1]))
        return
    for path in files(source)[numbers.start : numbers.stop]:
        try:
            with np.load(path, allow_pickle=False) as file:
                parts = [file[key] for key in KEYS]
        except Exception as error:
            raise Failure(f"{path} is no episode ({type(error).__name__}: {error}); it needs the arrays {', '.join(KEYS)}") from None
        yield Recorded(parts[0], parts[1], parts[2], bool(np.ravel(parts[3])[-1]))


def episodes(source: str, world: World, numbers: range) -> list[Episode]:
    """Some episodes as the world would have given them. Errors: core.errors.Usage where observations or actions do not fit."""
    spec, found = world.spec, []
    for number, part in zip(numbers, recorded(source, numbers), strict=True):
        steps = len(part.rewards)
        frames = [at(part.observations, t) for t in range(steps)]
        actions = list(part.actions[:steps])
        if isinstance(world, Recordable):
            frames, actions = [world.observed(frame) for frame in frames], [world.acted(action) for action in actions]
        observed, acted = np.stack(frames), np.stack(actions).astype(np.float32)
        if observed.shape[1:] != spec.observation or acted.shape != (steps, spec.action):
            raise Usage(
                f"episode {number} of {source} has observations {observed.shape[1:]} and actions {acted.shape[1:]}; "
                f"{spec.name} has {spec.observation} and ({spec.action},)"
            )
        if not (np.isfinite(observed).all() and np.isfinite(acted).all() and np.isfinite(part.rewards).all()):
            raise Failure(f"episode {number} of {source} has numbers that are not finite")
        kept = observed if observed.dtype == np.uint8 else observed.astype(np.float32)
        found.append(Episode(kept, acted, part.rewards.astype(np.float32), part.terminated))
    return found


def at(observations: Any, t: int) -> Any:
    """The observation of step t, of an array or of nested dicts and tuples of arrays."""
    if isinstance(observations, dict):
        return {key: at(value, t) for key, value in observations.items()}
    if isinstance(observations, tuple):
        return tuple(at(value, t) for value in observations)
    return observations[t]
