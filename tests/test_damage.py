"""Generated damage to every kind of file: never a traceback, and never wrong contents taken for right ones.

Each case is a function of its number. CI runs the first few hundred; SENSORIUM_DAMAGES=10000 sets how many are run.
"""

import json
import math
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest

from sensorium import cli, registry
from sensorium.core import checkpoint, zoo
from sensorium.core.errors import Failure, Usage
from sensorium.core.run import run
from sensorium.envs.toy import Toy
from sensorium.systems.attention_neuron.model import FeedForwardAgent
from tests.conftest import SHARED, trained

CASES = int(os.environ.get("SENSORIUM_DAMAGES", "400"))
STAGE = replace(registry.recipe("cart-pole-mlp").stages("tiny")["evolve"], world=Toy(), agent=FeedForwardAgent(3), steps=6)  # type: ignore[type-var]
VALUES: list[Any] = [
    None, True, -1, 0, 3, 1e9, 10**30, math.nan, math.inf, "", "x" * 5000, "toy", "os:system", "../../x", "/", "\0", [], {}, [[]], [None], {"is": "toy"}, {"is": None}, {"": 0},
]  # fmt: skip


def damaged_bytes(dice: random.Random, data: bytes) -> bytes:
    """The bytes of a file after something that happens to files."""
    place, other = sorted(dice.randrange(len(data) + 1) for _ in range(2))
    return dice.choice([
        lambda: data[:place], lambda: b"", lambda: data[:place] + data[other:], lambda: data + data[:place], lambda: bytes(len(data)),
        lambda: data[:place] + dice.randbytes(other - place) + data[other:], lambda: dice.randbytes(dice.randrange(1, 300)),
        lambda: data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :] if place < len(data) else b"\xff",
        lambda: b"[" * 5000, lambda: b'{"a":' * 5000, lambda: data.replace(b"0", b"1"),
        lambda: data.replace(b": 1", b": " + b"9" * 5000), lambda: data.replace(b": 1", b": " + b"[" * 700 + b"]" * 700), lambda: data.replace(b'"recipe": "cart-pole-mlp"', b'"recipe": 5'), lambda: data.replace(b"\n", b""),
    ])()  # fmt: skip


def damaged_json(dice: random.Random, value: Any) -> Any:
    """A JSON value with one of its nodes replaced, removed, renamed or added."""
    nodes: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            nodes.append((node, key))
            walk(node[key])

    value = json.loads(json.dumps(value))
    walk(value)
    if not nodes or dice.random() < 0.02:
        return dice.choice(VALUES)
    node, key = dice.choice(nodes)
    deed = dice.randrange(4)
    if deed == 0:
        del node[key]
    elif deed == 1 and isinstance(node, dict):
        node[dice.choice(["", "x", "is", "format", "steps", key * 2])] = node.pop(key)
    else:
        node[key] = dice.choice(VALUES)
    return value


def put(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def damage(dice: random.Random, path: Path) -> None:
    """Damage one file, or remove it."""
    if dice.random() < 0.03:
        return path.unlink()
    data = path.read_bytes()
    if path.suffix == ".json" and dice.random() < 0.7:
        return put(path, damaged_json(dice, json.loads(data)))
    path.write_bytes(damaged_bytes(dice, data))


@cache
def original(steps: int) -> Path:
    """A stage trained for `steps` of its 6 steps."""
    folder = Path(mkdtemp(dir=os.environ[SHARED])) / "run" / "1-evolve"
    run(replace(STAGE, steps=steps), folder, 0, about={"recipe": "cart-pole-mlp", "preset": "tiny"})
    return folder


def copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target)


def command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stdout of a command that ends with a code and, where it fails, one last line."""
    capsys.readouterr()
    code = cli.main(arguments)
    said = capsys.readouterr()
    assert code in (0, 1, 2)
    assert code == 0 or said.err.strip().splitlines()[-1].startswith("sensorium: ")
    return code, said.out


def evaluated(dice: random.Random, folder: Path, capsys: Any) -> None:
    """`evaluate` of a damaged agent: refused, or the returns of a whole checkpoint. A card's fields say what they say."""
    stage = copy(original(6), folder / "run" / "1-evolve")
    path = dice.choice([path for path in sorted(stage.iterdir()) if path.suffix in {".json", ".safetensors"}])
    damage(dice, path)
    code, out = command(["evaluate", str(stage.parent if dice.random() < 0.5 else stage), "--episodes", "2", "--json"], capsys)
    if code == 0 and path.name != "card.json":
        assert json.loads(out)["returns"] in whole_returns()


@cache
def whole_returns() -> tuple[list[float], ...]:
    """Returns at each of the kept checkpoints."""
    import sensorium

    return tuple(sensorium.evaluate(original(steps), episodes=2)["returns"] for steps in (4, 6))


def resumed(dice: random.Random, folder: Path, capsys: Any) -> None:
    """Training that goes on in a damaged folder: refused, or the run that it would have been."""
    stage = copy(original(4), folder / "run" / "1-evolve")
    path = dice.choice([path for path in sorted(stage.iterdir()) if path.name != ".lock"])
    damage(dice, path)
    try:
        run(STAGE, stage, 0, about={"recipe": "cart-pole-mlp", "preset": "tiny"})
    except (Failure, Usage):
        return
    assert final(stage) == final(original(6))


def final(folder: Path) -> bytes:
    return (folder / "step-00000006.safetensors").read_bytes()


def reported(dice: random.Random, folder: Path, capsys: Any) -> None:
    """A report of damaged logs."""
    stage = copy(original(6), folder / "run" / "1-evolve")
    damage(dice, stage / dice.choice(["metrics.jsonl", "times.jsonl", "card.json", "latest.json"]))
    command(["report", str(stage.parent)], capsys)


def shards(dice: random.Random, folder: Path, capsys: Any) -> None:
    """A stage that learns from a damaged shard: what it learns is what the whole one teaches, for the shard is made anew."""
    source = trained("iterate", "vision")
    for name in ("1-collect", "2-vision"):
        copy(source / name, folder / "run" / name)
    path = dice.choice(sorted((folder / "run" / "1-collect").glob("shard-*")))
    damage(dice, path)
    shutil.rmtree(folder / "run" / "2-vision")
    stage = registry.recipe("iterate").stages("tiny")["vision"]
    try:
        run(stage, folder / "run" / "2-vision", 0, last=False)
    except (Failure, Usage):
        return
    step = checkpoint.step_of(source / "2-vision")
    name = f"step-{step:08d}.safetensors"
    assert (folder / "run" / "2-vision" / name).read_bytes() == (source / "2-vision" / name).read_bytes()


def indexed(dice: random.Random, folder: Path, capsys: Any) -> None:
    """A damaged store: an agent that is fetched from it is the right one."""
    store = folder / "store"
    copy(original(6).parent, store / "far")
    if not (store / "index.json").exists():
        put(store / "index.json", zoo.index(store))
    files = [store / "index.json", *(path for path in sorted((store / "far" / "1-evolve").iterdir()) if path.name != ".lock")]
    path = files[0] if dice.random() < 0.7 else dice.choice(files)
    kept = path.read_bytes()
    damage(dice, path)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "FOLDER", folder / "none")
        patch.setenv(zoo.STORE, str(store))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        code, out = command(["evaluate", "zoo/far", "--episodes", "2", "--json"], capsys)
    path.write_bytes(kept)
    if code == 0:
        assert json.loads(out)["returns"] in whole_returns()


def imported(dice: random.Random, folder: Path, capsys: Any) -> None:
    """A damaged file of weights: refused, or numbers that are finite."""
    path = folder / "weights.npz"
    np.savez(path, params=np.linspace(-1, 1, 913, dtype=np.float32))
    damage(dice, path)
    command(["import", "attention-neuron/cart-pole", str(path), "--out", str(folder / "imported")], capsys)


KINDS: dict[str, tuple[Callable[[random.Random, Path, Any], None], int]] = {
    "evaluated": (evaluated, 40), "resumed": (resumed, 25), "indexed": (indexed, 20), "imported": (imported, 10), "shards": (shards, 4), "reported": (reported, 1),
}  # fmt: skip
"""kind of case -> what it does, and its share in percent"""


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_a_sentence_or_makes_no_difference(kind, tmp_path, capsys):
    for number in range(max(1, CASES * KINDS[kind][1] // 100)):
        dice = random.Random(f"{kind} {number}")
        folder = tmp_path / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            KINDS[kind][0](dice, folder, capsys)
        except BaseException:
            print(f"{kind} {number}")
            raise
