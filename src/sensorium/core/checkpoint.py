"""Checkpoints in a stage's folder: safetensors files with checksums, written atomically; the last two are kept."""

import errno
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from sensorium.core import card as cards
from sensorium.core import zoo
from sensorium.core.errors import Failure, Usage
from sensorium.core.migrations import state_name
from sensorium.core.policy import Policy
from sensorium.core.stage import Stage, State, placed

KEPT = 2
"""number of checkpoints kept in a folder"""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Convert an OSError while writing to `folder` into a one-line core.errors.Failure."""
    try:
        yield
    except OSError as error:
        reason = {errno.ENOSPC: "the disk is full", errno.EROFS: "it is read-only", errno.EACCES: "permission denied"}
        why = reason.get(error.errno or 0, error.strerror)
        raise Failure(f"cannot write to {folder}: {why}; existing files are intact") from error


def write(path: Path, data: bytes) -> None:
    """Write a file atomically: to a draft, whose name differs between processes and machines, synced, then renamed."""
    draft = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.draft")
    try:
        with open(draft, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def remove_drafts(folder: Path) -> None:
    """Delete what killed processes have not finished writing."""
    for draft in folder.glob("*.draft"):
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write(path, (json.dumps(value, indent=1) + "\n").encode())


def file_name(step: int) -> str:
    """The file of the checkpoint after `step` steps."""
    return f"step-{step:08d}.safetensors"


def save(folder: Path, step: int, state: State) -> None:
    """Write the state after `step` steps and delete all but the last two checkpoints."""
    name = file_name(step)
    data = save_tensors({key: tensor.detach().cpu().contiguous() for key, tensor in state.items()})
    entry = {"step": step, "file": name, "sha256": hashlib.sha256(data).hexdigest()}
    entries = [*[old for old in _entries(folder) if old["step"] < step][1 - KEPT :], entry]
    with writing(folder):
        write(folder / name, data)
        write_json(folder / "latest.json", {"step": step, "checkpoints": entries})
        for old in folder.glob("step-*.safetensors*"):
            if old.name not in {kept["file"] for kept in entries}:
                old.unlink()


def _entries(folder: Path) -> list[dict[str, Any]]:
    """The checkpoints listed in latest.json, oldest first; those found in the folder where it is missing or damaged."""
    try:
        entries = json.loads((folder / "latest.json").read_text())["checkpoints"]
        found = [{"step": e["step"], "file": file_name(e["step"]), "sha256": e["sha256"]} for e in entries]
        if not found or any(
            e["file"] != entry["file"] or not isinstance(e["sha256"], str) for e, entry in zip(found, entries, strict=True)
        ):
            raise ValueError
        return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found = sorted(folder.glob("step-*.safetensors"))
        if found:
            print(f"sensorium: {folder / 'latest.json'} is missing or damaged; using the checkpoint files in its folder", file=sys.stderr)
        found = [path for path in found if path.stem[5:].isdigit()]
        return [{"step": int(p.stem[5:]), "file": p.name, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in found]


def load(folder: Path, device: str = "cpu") -> tuple[int, State] | None:
    """Step and state of the newest intact checkpoint, None if the folder has none. Each damaged one is reported and skipped.

    Errors: core.errors.Failure where all checkpoints are damaged.
    """
    entries = _entries(folder)
    for entry in reversed(entries):
        path = folder / entry["file"]
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise ValueError("wrong checksum")
            # cloned, so that memory alignment does not depend on whether the state was just loaded
            state = {state_name(name): tensor.to(device).clone() for name, tensor in load_tensors(data).items()}
            return entry["step"], state
        except (OSError, ValueError, SafetensorError) as error:
            why = "missing" if isinstance(error, FileNotFoundError) else str(error)
            print(f"sensorium: {path} is damaged ({why}); trying the previous checkpoint", file=sys.stderr)
    if entries:
        raise Failure(f"all checkpoints in {folder} are damaged; delete the folder to restart this stage")
    return None


def checksum(folder: Path) -> str | None:
    """The recorded SHA-256 of the newest checkpoint, None if there is none."""
    entries = _entries(folder)
    return entries[-1]["sha256"] if entries else None


def step_of(folder: Path) -> int | None:
    """The step of the newest checkpoint, from latest.json; None if there is none."""
    entries = _entries(folder)
    return entries[-1]["step"] if entries else None


def stages_of(folder: Path) -> list[Path]:
    """The stage folders of a run folder in order: 1-collect, 2-vision, ..."""
    numbered = [(path.name.partition("-")[0], path) for path in folder.iterdir() if path.is_dir() and "-" in path.name]
    return [path for number, path in sorted((int(n), p) for n, p in numbered if n.isdigit()) if (path / "card.json").exists()]


def agent(folder: str | Path) -> Path:
    """The stage folder for a stage folder (itself), a run folder or a zoo agent (its last finished stage).

    Errors: core.errors.Usage where the folder is missing, holds no agent or several runs, or has no finished stage.
    """
    folder = zoo.located(Path(folder))
    if not folder.is_dir():
        raise Usage(f"no folder {folder}; give a run, a stage or a zoo agent (`sensorium list` shows the zoo)")
    if (folder / "card.json").exists():
        return folder
    stages = stages_of(folder)
    finished = [path for path in stages if (step_of(path) or 0) >= stage(path).steps]
    if finished:
        return finished[-1]
    seeds = sorted(path.name for path in folder.glob("seed-*"))
    if seeds:
        raise Usage(f"{folder} holds several runs; choose one: {', '.join(str(folder / name) for name in seeds)}")
    if stages:
        raise Usage(f"no stage of {folder} has finished yet; to use an unfinished stage give its folder, e.g. {stages[-1]}")
    raise Usage(f"{folder} holds no agent (no card.json)")


def shipped() -> dict[str, Path]:
    """The zoo's agents by name: the folders whose last finished stage has a world."""
    folders = sorted(path for path in zoo.FOLDER.glob("*") if path.is_dir())
    return {path.name: path for path in folders if "world" in cards.read(agent(path))["stage"]}


def stage(folder: str | Path) -> Stage:
    """The stage described by a folder's card."""
    return cards.build(cards.read(Path(folder))["stage"])


def restored(folder: str | Path, device: str = "cpu") -> tuple[Stage, State]:
    """The stage of any agent, its folders as absolute paths, and its newest state in float32. Errors: as `agent` and `load`."""
    path = agent(folder)
    loaded = load(path, device)
    if loaded is None:
        raise Failure(f"{path} has no checkpoint yet")
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in loaded[1].items()}
    return placed(stage(path), path), state


def policy(folder: str | Path, device: str = "cpu") -> Policy:
    """The trained policy of a run folder, a stage folder or a zoo agent."""
    stage, state = restored(folder, device)
    with fitting(folder):
        return stage.policy(state)


@contextmanager
def fitting(folder: str | Path) -> Iterator[None]:
    """Within, what a card's stage cannot make of its checkpoint is one sentence."""
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, ArithmeticError) as error:
        raise Failure(
            f"the card of {folder} does not fit its checkpoint: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error


def publish(folder: Path, out: Path, results: dict[str, Any] | None = None, rows: int = 300) -> None:
    """Write a finished stage in the zoo's form: its `learned` tensors in float16, and at most about `rows` rows of each log."""
    loaded, learner, facts = load(folder), stage(folder), cards.read(folder)
    if loaded is None:
        raise Failure(f"{folder} has no checkpoint yet")
    step, state = loaded
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: state[name] for name in learner.learned}
    write_json(out / "card.json", {**facts, "results": {**facts.get("results", {}), **(results or {})}})
    save(out, step, {name: t.to(torch.float16) if t.is_floating_point() else t for name, t in tensors.items()})
    for name in ("metrics.jsonl", "times.jsonl"):
        lines = (folder / name).read_text().splitlines() if (folder / name).exists() else []
        every = -(-len(lines) // rows) or 1
        write(out / name, "".join(line + "\n" for i, line in enumerate(lines) if (i + 1) % every == 0 or i == len(lines) - 1).encode())
