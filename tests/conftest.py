"""Shared fixtures: card names, the authors' weights where available, and every tiny stage of the registry."""

import fcntl
import functools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from sensorium import registry
from sensorium.core import checkpoint
from sensorium.core.jobs import on
from sensorium.core.machine import load_triton
from sensorium.core.rollout import tick
from sensorium.core.run import run
from sensorium.core.stage import Stage
from sensorium.doctor import EXTRAS
from sensorium.envs.cart_pole import CartPole

# before any test imports a library that loads OpenGL
load_triton()

# parallel test processes and the commands that they start share the cores; waiting OpenMP threads occupy a core
THREADS = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
torch.set_num_threads(THREADS)
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    os.environ["OMP_NUM_THREADS"] = str(THREADS)

REFERENCE = Path(os.environ.get("SENSORIUM_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))

SHARED = "SENSORIUM_TESTS"
"""environment variable with the folder shared by all tests"""


def needs(extras: Iterable[str]) -> None:
    """Skip a test whose extras have no wheel for this Python, with the reason."""
    for extra in extras:
        pytest.importorskip(EXTRAS[extra], reason=f"extra '{extra}' is not installed (Python {sys.version_info[0]}.{sys.version_info[1]})")


@pytest.fixture
def authors_cart_pole() -> Path:
    """The authors' published cart-pole weights; not part of the project."""
    path = REFERENCE / "attention_neuron" / "cartpole_pi.npz"
    if not path.exists():
        pytest.skip(f"the authors' weights are not at {path} (SENSORIUM_REFERENCE names another folder)")
    return path


def tiny_stages() -> list[tuple[str, str]]:
    """(recipe, stage) for every stage of every recipe, without equal first stages of other recipes and third rounds of a loop."""
    found: dict[tuple[Stage, ...], tuple[str, str]] = {}
    for name in registry.table("RECIPES"):
        # Python 3.13 has no dm_control
        if not all(find_spec(EXTRAS[extra]) for extra in registry.recipe(name).extras):
            continue
        stages = registry.recipe(name).stages("tiny")
        for number, stage in enumerate(stages, 1):
            if not re.search(r"-[3-9]$", stage):
                found.setdefault(tuple(stages.values())[:number], (name, stage))
    return list(found.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tiny" in metafunc.fixturenames:
        found = tiny_stages()
        metafunc.parametrize("tiny", found, ids=[f"{recipe}/{stage}" for recipe, stage in found])


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    """Run jobs in this process by default: worker processes take seconds to start."""
    with on("here"):
        yield


@pytest.fixture(autouse=True)
def eager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of world and policy are not compiled, which takes up to a minute each, but in tests marked `compiled`."""
    if not request.node.get_closest_marker("compiled"):
        monkeypatch.setattr("sensorium.core.rollout._compiled_tick", [tick])


@pytest.fixture
def short_cart_poles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of every cart-pole have at most 200 of 1,000 steps, for tests of pages and documents: a step takes about a millisecond."""
    whole = CartPole.__init__
    monkeypatch.setattr(CartPole, "__init__", lambda self, hard=True, horizon=1000: whole(self, hard, min(horizon, 200)))


def pytest_configure(config: pytest.Config) -> None:
    """Create one shared folder for all parallel test processes, which inherit its name."""
    if not hasattr(config, "workerinput"):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="sensorium-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[SHARED], ignore_errors=True)


@functools.cache
def trained(recipe: str, until: str | None = None) -> Path:
    """A tiny recipe trained from seed 0 up to a stage, or to its end. Each stage is trained once and shared: tests must not change it."""
    folder, stages = Path(os.environ[SHARED]) / recipe, list(registry.recipe(recipe).stages("tiny").items())
    folder.mkdir(exist_ok=True)
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for number, (name, stage) in enumerate(stages, 1):
            place = folder / f"{number}-{name}"
            if not (place / "card.json").exists() or checkpoint.step_of(place) < stage.steps:
                run(stage, place, 0, last=number == len(stages))
            if name == until:
                break
    return folder


def with_predecessors(tiny: tuple[str, str], folder: Path) -> tuple[Stage, Path]:
    """A tiny stage and its folder to run in, with the trained earlier stages as siblings."""
    recipe, wanted = tiny
    stages = registry.recipe(recipe).stages("tiny")
    names = list(stages)
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names[: names.index(wanted)], 1):
        (folder / f"{number}-{name}").symlink_to(trained(recipe, name) / f"{number}-{name}")
    return stages[wanted], folder / f"{names.index(wanted) + 1}-{wanted}"


def finished(tiny: tuple[str, str]) -> tuple[Stage, Path]:
    """A tiny stage and a private copy of its folder, trained from seed 0, at the same depth, since cards have relative paths."""
    stage, own = with_predecessors(tiny, Path(tempfile.mkdtemp(dir=os.environ[SHARED])))
    shutil.copytree(trained(*tiny) / own.name, own)
    return stage, own
