"""The training loop of every stage: seed, step, log, save, resume. It is independent of the algorithm."""

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
from sensorium.core import checkpoint, jobs
from sensorium.core.errors import Failure, Interrupted, Usage
from sensorium.core.log import Bar, Log, Sink, tell
from sensorium.core.machine import facts, keeping, repeatable
from sensorium.core.seeding import Seeds
from sensorium.core.stage import Closable, Live, Stage, State, placed, unplaced


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Context that holds an exclusive lock on the folder. Errors: core.errors.Failure where another process has it."""
    with checkpoint.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another process is using {folder}; wait for it, or use another --out") from None
        yield


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""signals that stop a run: Ctrl-C, a scheduler, a closed terminal"""


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Context in which the first of the signals STOPS is appended to the yielded list; a second one has its usual effect.

    A signal that was ignored before (SIGHUP under nohup) stays ignored.
    """
    requests: list[int] = []

    def once(number: int, frame: Any) -> None:
        requests.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        tell("sensorium: finishing this step and saving (Ctrl-C again to stop at the last checkpoint)")

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
    """The folder's card with the new stage. Only the last stage's `steps` may grow; another machine is a warning.

    A setting that a card of an earlier version lacks has its default there: the default of a new setting is what was done without it.
    Errors: core.errors.Usage where the card has other settings or another seed.
    """
    old = cards.read(folder)
    settings = {"stage": cards.plain(cards.build(old.get("stage"))), "seed": old.get("seed")}
    for field, there, here in cards.differences(settings, {part: card[part] for part in settings}):
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
        print(
            f"sensorium: {folder} was started on another machine ({list_}): the run continues, but results are not bit-identical",
            file=sys.stderr,
        )
    return {**old, "stage": card["stage"]}


def run(
    stage: Stage, folder: Path, seed: int = 0, *, device: str = "cpu", about: dict[str, Any] | None = None, last: bool = True,
    sink: Callable[[Path, int], Sink] | None = None,
) -> State:  # fmt: skip
    """Train a stage in its folder up to its last step, resuming from the newest checkpoint; returns its state.

    The state after step n is a function of the stage, the seed and n: a run that was killed and resumed equals an uninterrupted one.
    `sink(folder, step)` opens a sink for the metrics of the steps after `step`.
    Errors: core.errors.Usage where the folder holds another run, core.errors.Failure for a metric that is not finite,
    core.errors.Interrupted after a signal.
    """
    name, stage = folder.name.partition("-")[2] or folder.name, unplaced(stage, folder)
    repeatable(device)
    card = {"format": cards.FORMAT, "stage": cards.plain(stage), "seed": seed, **(about or {}), "machine": facts(device)}
    with locked(folder):
        checkpoint.remove_drafts(folder)
        if (folder / "card.json").exists():
            card = agree(folder, card, last)
        here, restored = placed(stage, folder), checkpoint.load(folder, device)
        if restored is None:
            step, state = 0, {key: tensor.to(device) for key, tensor in here.init(Seeds(seed, name, 0)).items()}
        else:
            step, state = restored
            print(f"resumed {name} at step {step}", file=sys.stderr)
        # opened before the card is written: a failure leaves no card that would reject corrected settings
        with keeping(card.get("implementations", {})) as chosen:
            live = here.open(state) if step < stage.steps else None
        if chosen:
            card["implementations"] = chosen
            tell(f"{name}: " + ", ".join(f"{subject} {which}" for subject, which in chosen.items()))
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
                with jobs.coming_from(jobs.Origin(folder=str(folder), step=step + 1)):
                    metrics = stage.step(state, live, Seeds(seed, name, step + 1))
                wrong = [key for key, value in metrics.items() if not math.isfinite(value)]
                if wrong:
                    raise Failure(f"{name} step {step + 1}: {wrong[0]} is {metrics[wrong[0]]}; the last checkpoint in {folder} precedes it")
                step += 1
                log.add(step, metrics)
                bar.update(step, metrics, live.utilisation if isinstance(live, jobs.Utilised) else None)
                if step % stage.checkpoint_every == 0 or step == stage.steps or requests:
                    log.sync()
                    checkpoint.save(folder, step, state)
                if requests:
                    raise Interrupted(f"stopped at step {step} of {stage.steps}, saved in {folder}; the same command resumes", requests[0])
            if requests:
                raise Interrupted(f"stopped after the last step, saved in {folder}; the same command resumes", requests[0])
    finally:
        bar.close()
        log.close()
