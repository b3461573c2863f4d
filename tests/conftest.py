"""What tests share: names for cards, the authors' weights where they are at hand, and every tiny stage of the registry."""

import os
from pathlib import Path

import pytest
import torch

from sensorium import registry
from sensorium.core.run import run
from sensorium.core.stage import Stage

registry.fill()
torch.set_num_threads(2)

REFERENCE = Path(os.environ.get("SENSORIUM_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


@pytest.fixture
def authors_cart_pole() -> Path:
    """The authors' published cart-pole weights; not part of the project."""
    path = REFERENCE / "attention_neuron" / "cartpole_pi.npz"
    if not path.exists():
        pytest.skip(f"the authors' weights are not at {path} (SENSORIUM_REFERENCE names another folder)")
    return path


def tiny_stages() -> list[tuple[str, str]]:
    """(recipe, stage) for every stage of every recipe."""
    return [(name, stage) for name in registry.table("RECIPES") for stage in registry.recipe(name).stages("tiny")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tiny" in metafunc.fixturenames:
        found = tiny_stages()
        metafunc.parametrize("tiny", found, ids=[f"{recipe}/{stage}" for recipe, stage in found])


def with_predecessors(tiny: tuple[str, str], folder: Path) -> tuple[Stage, Path]:
    """A tiny stage and the folder that it is to run in, the stages before it trained."""
    recipe, wanted = tiny
    for number, (name, stage) in enumerate(registry.recipe(recipe).stages("tiny").items(), 1):
        place = folder / f"{number}-{name}"
        if name == wanted:
            return stage, place
        run(stage, place, 0, last=False)
    raise KeyError(wanted)
