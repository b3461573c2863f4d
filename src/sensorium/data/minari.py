"""Export of recorded episodes as a Minari dataset."""

import math
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.core import checkpoint
from sensorium.core.errors import Failure, Usage
from sensorium.core.log import Bar
from sensorium.core.stage import Recording
from sensorium.data.episodes import Episodes, damaged

PLACE = "MINARI_DATASETS_PATH"
GROUP = 16
"""episodes in memory at a time"""


def recorded(folder: str | Path) -> Path:
    """The stage folder with recorded episodes: `folder` itself, or the only such stage of a run. Errors: core.errors.Usage."""
    folder = Path(folder)
    if not folder.is_dir():
        raise Usage(f"no folder {folder}; give a run or a stage that has recorded episodes")
    found = [path for path in (folder, *checkpoint.stages_of(folder)) if any(path.glob("shard-*.npz"))]
    if len(found) == 1:
        return found[0]
    if found:
        raise Usage(f"several stages of {folder} have recorded episodes; choose one: {', '.join(map(str, found))}")
    raise Usage(f"{folder} holds no recorded episodes; stages such as collect and teach record them")


def buffers(episodes: Episodes, bar: Bar) -> Iterator[list[Any]]:
    """Groups of episodes as Minari's buffers. Minari needs one more observation than actions; the last one is not recorded, so the one
    before it is repeated."""
    from minari.data_collector import EpisodeBuffer

    for first in range(0, len(episodes), GROUP):
        group = []
        for number in range(first, min(first + GROUP, len(episodes))):
            episode = episodes[number]
            ends = np.zeros(len(episode), dtype=bool)
            ends[-1] = True
            observations: Any = np.concatenate([episode.frames, episode.frames[-1:]])
            terminations, truncations = (ends & episode.terminated).tolist(), (ends & (not episode.terminated)).tolist()
            group.append(
                EpisodeBuffer(
                    observations=observations, actions=list(episode.actions), rewards=episode.rewards.tolist(), terminations=terminations, truncations=truncations
                )
            )  # fmt: skip
        yield group
        bar.update(min(first + GROUP, len(episodes)), {})


@contextmanager
def datasets_in(folder: Path) -> Iterator[None]:
    """Context in which Minari's dataset folder is `folder`."""
    before = os.environ.get(PLACE)
    os.environ[PLACE] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ[PLACE]
        if before is not None:
            os.environ[PLACE] = before


def export(folder: str | Path, out: str | Path) -> str:
    """Write the episodes of a run or a stage as a lossless Minari dataset in the folder `out`; returns the dataset's name.

    Errors: core.errors.Usage where nothing was recorded or the dataset exists, core.errors.Failure where a shard is damaged, the disk is
    too small or Minari is missing.
    """
    try:
        import minari
        from gymnasium.spaces import Box
    except ImportError as error:
        raise Failure(f"minari cannot be imported ({error}); pip install 'sensorium[minari]'") from None
    place, out = recorded(folder), Path(out)
    facts, stage = checkpoint.cards.read(place), checkpoint.stage(place)
    for _, what in damaged(place, checkpoint.step_of(place) or 0):
        raise Failure(f"{what}; rerun the command that trained {place} to record it again")
    if not isinstance(stage, Recording):
        raise Usage(f"{place} holds shards but is not a stage that records episodes")
    episodes, spec = Episodes(sorted(place.glob("shard-*.npz"))), stage.recorded_in.spec
    first = episodes[0].frames
    shape, kind = first.shape[1:], first.dtype
    name = f"sensorium/{spec.name}/{(facts.get('recipe') or place.name).partition('.')[0]}-seed{facts['seed']}-v0"
    if (out / name).exists():
        raise Usage(f"{out / name} exists; use another --out, or delete it")
    draft, bar = out / ".draft", Bar("minari", 0, len(episodes))
    with checkpoint.writing(out), datasets_in(draft):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        needed, free = int(episodes.lengths.sum()) * math.prod(shape) * kind.itemsize, shutil.disk_usage(out).free
        if needed > free:
            raise Failure(f"{len(episodes)} episodes take {needed / 1e9:.1f} GB as a Minari dataset, and {out} has {free / 1e9:.1f} GB")
        groups = buffers(episodes, bar)
        low, high = (0, 255) if kind == np.uint8 else (-np.inf, np.inf)
        with warnings.catch_warnings():
            # Minari warns that no author is given
            warnings.simplefilter("ignore", UserWarning)
            dataset = minari.create_dataset_from_buffers(
                name, next(groups), observation_space=Box(low, high, shape, kind.type),  # type: ignore[arg-type]
                action_space=Box(np.array(spec.low or (-1.0,) * spec.action, dtype=np.float32), 1.0, (spec.action,), np.float32),
                algorithm_name=facts["stage"]["is"], data_format="hdf5", jpeg_encoding=False,
                description=f"{len(episodes)} episodes of {spec.name}, recorded by Sensorium with {facts['stage']}, seed {facts['seed']}. "
                "The observation after an episode's last action was not recorded: the one before it is repeated.",
            )  # fmt: skip
        for group in groups:
            dataset.update_dataset_from_buffer(group)
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(draft / name, out / name)
        shutil.rmtree(draft)
    bar.close()
    return name
