"""Checkpoint: a stage's folder. Safe files only, written under a draft name and renamed, the last two kept, each with its checksum."""

import errno
import hashlib
import json
import os
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
from sensorium.core.errors import Failure, Usage
from sensorium.core.migrations import state_name
from sensorium.core.policy import Policy
from sensorium.core.stage import Stage, State, placed

KEPT = 2
"""checkpoints that a folder keeps"""

ZOO = Path(__file__).resolve().parents[3] / "zoo"
"""the trained agents that ship with the checkout"""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the file system says into one sentence."""
    try:
        yield
    except OSError as error:
        reason = {errno.ENOSPC: "the disk is full", errno.EROFS: "it is read-only", errno.EACCES: "it is read-only for you"}
        why = reason.get(error.errno or 0, error.strerror)
        raise Failure(f"cannot write to {folder}: {why}; what was there before is intact") from error


def write(path: Path, data: bytes) -> None:
    """Put a file in place whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        with open(draft, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Put a JSON document in place whole or not at all."""
    write(path, (json.dumps(value, indent=1) + "\n").encode())


def save(folder: Path, step: int, state: State) -> None:
    """Write the state after `step` steps and forget all but the last two."""
    name = f"step-{step:08d}.safetensors"
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
    """The checkpoints that latest.json names, oldest first; where it is missing or damaged, those that lie in the folder."""
    try:
        entries = json.loads((folder / "latest.json").read_text())["checkpoints"]
        return [{"step": int(e["step"]), "file": os.path.basename(e["file"]), "sha256": str(e["sha256"])} for e in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found = sorted(folder.glob("step-*.safetensors"))
        if found:
            print(f"sensorium: {folder / 'latest.json'} is missing or damaged; looking for checkpoints beside it", file=sys.stderr)
        return [{"step": int(p.stem[5:]), "file": p.name, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in found]


def load(folder: Path, device: str = "cpu") -> tuple[int, State] | None:
    """Step and state of the newest checkpoint that is whole; a damaged one is named and the one before it used. None: there is none."""
    entries = _entries(folder)
    for entry in reversed(entries):
        path = folder / entry["file"]
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise ValueError("its checksum is wrong")
            # copied: how a tensor lies in memory must not depend on whether it was just read
            state = {state_name(name): tensor.to(device).clone() for name, tensor in load_tensors(data).items()}
            return entry["step"], state
        except (OSError, ValueError, SafetensorError) as error:
            why = "it is missing" if isinstance(error, FileNotFoundError) else str(error)
            print(f"sensorium: {path} is damaged ({why}); using the checkpoint before it", file=sys.stderr)
    if entries:
        raise Failure(f"no checkpoint in {folder} is whole; delete the folder to begin this stage anew")
    return None


def checksum(folder: Path) -> str | None:
    """The SHA-256 of the newest checkpoint, as it was written."""
    entries = _entries(folder)
    return entries[-1]["sha256"] if entries else None


def step_of(folder: Path) -> int | None:
    """The step of the newest checkpoint, unread."""
    entries = _entries(folder)
    return entries[-1]["step"] if entries else None


def stages_of(folder: Path) -> list[Path]:
    """The stage folders of a run folder in order: 1-collect, 2-vision, ..."""
    numbered = [(path.name.partition("-")[0], path) for path in folder.iterdir() if path.is_dir() and "-" in path.name]
    return [path for number, path in sorted((int(n), p) for n, p in numbered if n.isdigit()) if (path / "card.json").exists()]


def agent(folder: str | Path) -> Path:
    """The stage folder meant by a run folder, a stage folder or a zoo agent: itself, or its last finished stage."""
    folder = Path(folder)
    if not folder.is_dir():
        raise Usage(f"no folder {folder}; give a run, a stage or a zoo agent (`sensorium list` shows the zoo)")
    if (folder / "card.json").exists():
        return folder
    stages = stages_of(folder)
    finished = [path for path in stages if (step_of(path) or 0) >= cards.read(path)["stage"]["steps"]]
    if finished:
        return finished[-1]
    seeds = sorted(path.name for path in folder.glob("seed-*"))
    if seeds:
        raise Usage(f"{folder} holds several runs; choose one: {', '.join(str(folder / name) for name in seeds)}")
    if stages:
        raise Usage(f"no stage of {folder} has finished yet; name one to take it as it is: {stages[-1]}")
    raise Usage(f"{folder} holds no agent (no card.json)")


def shipped() -> dict[str, Path]:
    """The zoo's agents by name. What is there of a run whose agent is still to be trained is left out: it plays in no world."""
    folders = sorted(path for path in ZOO.iterdir() if path.is_dir()) if ZOO.is_dir() else []
    return {path.name: path for path in folders if "world" in cards.read(agent(path))["stage"]}


def stage(folder: str | Path) -> Stage:
    """The stage whose card lies in a folder."""
    return cards.build(cards.read(Path(folder))["stage"])


def restored(folder: str | Path, device: str = "cpu") -> tuple[Stage, State]:
    """The stage of any agent, with the folders that it names found, and its newest state."""
    path = agent(folder)
    loaded = load(path, device)
    if loaded is None:
        raise Failure(f"{path} holds no checkpoint yet")
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in loaded[1].items()}
    return placed(stage(path), path), state


def policy(folder: str | Path, device: str = "cpu") -> Policy:
    """Open any agent: the policy of a run, of a stage or from the zoo."""
    stage, state = restored(folder, device)
    return stage.policy(state)


def publish(folder: Path, out: Path, results: dict[str, Any] | None = None, rows: int = 300) -> None:
    """Write a finished stage as the zoo keeps it: what its policy reads, in half precision, and a thinned learning curve."""
    loaded, learner, facts = load(folder), stage(folder), cards.read(folder)
    if loaded is None:
        raise Failure(f"{folder} holds no checkpoint yet")
    step, state = loaded
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: state[name] for name in learner.learned}
    write_json(out / "card.json", {**facts, "results": {**facts.get("results", {}), **(results or {})}})
    save(out, step, {name: t.to(torch.float16) if t.is_floating_point() else t for name, t in tensors.items()})
    for name in ("metrics.jsonl", "times.jsonl"):
        lines = (folder / name).read_text().splitlines() if (folder / name).exists() else []
        every = -(-len(lines) // rows) or 1
        write(out / name, "".join(line + "\n" for i, line in enumerate(lines) if (i + 1) % every == 0 or i == len(lines) - 1).encode())
