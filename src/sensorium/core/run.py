"""run: the one loop. Seed, step, log, save, resume; it knows no algorithm."""

import fcntl
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sensorium.core import card as cards
from sensorium.core import checkpoint
from sensorium.core.errors import Failure, Interrupted, Usage
from sensorium.core.log import Bar, Log, Sink
from sensorium.core.machine import facts, repeatable
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Closable, Live, Stage, State, placed, unplaced


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process a folder."""
    with checkpoint.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another process is at work in {folder}; wait for it, or use another --out") from None
        yield


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""signals that ask a run to stop: Ctrl-C, a scheduler, a closed terminal"""


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Within, the first of the signals STOPS is only recorded in the list that is yielded; a second one has its usual effect.

    A signal that the caller ignores (SIGHUP under nohup) stays ignored.
    """
    requests: list[int] = []

    def once(number: int, frame: Any) -> None:
        requests.append(number)
        print("sensorium: finishing this step and saving (Ctrl-C again to leave with the last checkpoint)", file=sys.stderr)
        for each, handler in before.items():
            signal.signal(each, handler)

    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {number: signal.getsignal(number) for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, once)
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def agree(folder: Path, card: dict[str, Any], last: bool) -> dict[str, Any]:
    """The folder's card, brought up to date. Another run's is refused; only the last stage's `steps` may grow; another machine is a warning."""
    old = cards.read(folder)
    for part in ("stage", "seed"):
        for field, there, here in cards.differences({part: old.get(part)}, {part: card[part]}):
            grows = field == "stage.steps" and last and isinstance(there, int) and here >= there
            if not grows:
                name = field.removeprefix("stage.")
                raise Usage(
                    f"{folder} holds a run with other settings ({name}: {there} there, {here} here); "
                    "use another --out, or the same settings to resume"
                )
    changed = cards.differences(old.get("machine"), card["machine"])
    if changed:
        list_ = ", ".join(f"{field} {there} -> {here}" for field, there, here in changed)
        print(f"sensorium: {folder} was begun elsewhere ({list_}): the run goes on, but not to the bit", file=sys.stderr)
    return {**old, "stage": card["stage"]}


def run(
    stage: Stage, folder: Path, seed: int = 0, *, device: str = "cpu", about: dict[str, Any] | None = None, last: bool = True,
    sink: Callable[[Path, int], Sink] | None = None,
) -> State:  # fmt: skip
    """Bring a stage to its last step in its folder, from wherever it was, and return its state.

    The state after step n is a function of the stage, the seed and n: a run that was killed and resumed equals one that was not.
    `sink(folder, step)` opens what also gets the metrics of the steps after `step`.
    """
    name, stage = folder.name.partition("-")[2] or folder.name, unplaced(stage, folder)
    repeatable(device)
    card = {"format": cards.FORMAT, "stage": cards.plain(stage), "seed": seed, **(about or {}), "machine": facts(device)}
    with locked(folder):
        if (folder / "card.json").exists():
            card = agree(folder, card, last)
        here, restored = placed(stage, folder), checkpoint.load(folder, device)
        if restored is None:
            step, state = 0, {key: tensor.to(device) for key, tensor in here.init(Seeds(seed, name, 0)).items()}
        else:
            step, state = restored
            print(f"resumed {name} at step {step}", file=sys.stderr)
        # what cannot be opened leaves no card behind that would refuse the mended settings
        live = here.open(state) if step < stage.steps else None
        try:
            with checkpoint.writing(folder):
                checkpoint.write_json(folder / "card.json", card)
            if restored is None:
                checkpoint.save(folder, 0, state)
            if step < stage.steps:
                _loop(here, live, name, folder, seed, step, state, sink and sink(folder, step))
        finally:
            if isinstance(live, Closable):
                live.close()
    return state


def _loop(stage: Stage, live: Live, name: str, folder: Path, seed: int, step: int, state: State, sink: Sink | None) -> None:
    log = Log(folder, step, sink)
    bar = Bar(name, step, stage.steps)
    try:
        with stop_requests() as requests:
            while step < stage.steps:
                metrics = stage.step(state, live, Seeds(seed, name, step + 1))
                wrong = [key for key, value in metrics.items() if not math.isfinite(value)]
                if wrong:
                    raise Failure(
                        f"{name} step {step + 1}: {wrong[0]} is {metrics[wrong[0]]}; the last checkpoint in {folder} is from before"
                    )
                step += 1
                log.add(step, metrics)
                bar.update(step, metrics)
                if step % stage.checkpoint_every == 0 or step == stage.steps or requests:
                    log.sync()
                    checkpoint.save(folder, step, state)
                if requests:
                    raise Interrupted(
                        f"stopped at step {step} of {stage.steps}, saved in {folder}; the same command goes on from there", requests[0]
                    )
    finally:
        bar.close()
        log.close()
