"""Files of earlier formats load, evaluate and report as before: `formats/N` holds files written in format N."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import sensorium
from sensorium import cli
from sensorium.core import card as cards
from sensorium.core import checkpoint, zoo
from sensorium.core.card import build
from sensorium.core.errors import Failure, Usage
from sensorium.core.machine import facts
from sensorium.core.migrations import FORMAT, migrated, renamed
from sensorium.core.run import run
from sensorium.doctor import EXTRAS

ROOT = Path(__file__).parents[1]
ONE = ROOT / "tests" / "formats" / "1"
EXPECTED = json.loads((ONE / "expected.json").read_text())
AGENTS = EXPECTED["agents"]


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A copy of the fixtures of format 1, since reports are written to the same folder."""
    return Path(shutil.copytree(ONE, tmp_path / "1"))


def needs(agent: str) -> None:
    for extra in AGENTS[agent]["extras"]:
        if not find_spec(EXTRAS[extra]):
            pytest.skip(f"needs the extra {extra}")


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_of_format_1_has_the_same_scores(agent):
    needs(agent)
    expected, result = AGENTS[agent], sensorium.evaluate(ONE / agent, 4, world=AGENTS[agent]["world"])
    assert result["returns"] == pytest.approx(expected["returns"], abs=2e-3)
    same = facts()
    if all(same[name] == value for name, value in EXPECTED["machine"].items()):
        assert result["mean"] == expected["mean"]


@pytest.mark.slow
@pytest.mark.parametrize("run_name", ["ant-clone", "cart-pole-mlp", "proto-states.walker_run"])
def test_a_run_of_format_1_is_reported(run_name, one, monkeypatch, short_cart_poles):
    monkeypatch.setattr("sensorium.systems.attention_neuron.figures.cart_pole.EPISODES", 30)
    needs(run_name)
    assert cli.main(["report", str(one / run_name)]) == 0
    assert (one / run_name / "report.html").stat().st_size > 10_000


def test_a_run_of_format_1_resumes(one, capsys):
    folder = one / "cart-pole-mlp" / "1-evolve"
    stage = checkpoint.stage(folder)
    stage = type(stage)(**{**vars(stage), "steps": stage.steps + 2})
    run(stage, folder, cards.read(folder)["seed"])
    assert "resumed evolve at step 4" in capsys.readouterr().err
    assert checkpoint.step_of(folder) == 6
    assert json.loads((folder / "card.json").read_text())["format"] == FORMAT


@pytest.mark.parametrize("path", sorted((ONE / "cards").glob("*.json")), ids=lambda path: path.stem)
def test_every_card_of_format_1_is_a_valid_stage(path):
    """The zoo's cards as written by 0.1.0 migrate to its current cards, of agents that have not been trained again."""
    card = json.loads(path.read_text())
    today = migrated(card)
    assert (card["format"], today["format"]) == (1, FORMAT)
    # fields added later have their defaults
    changed = [name for name, there, _ in cards.differences(today["stage"], cards.plain(build(today["stage"]))) if there is not None]
    assert changed == []
    places = (root.joinpath(*path.stem.split("--"), "card.json") for root in (zoo.FOLDER, ROOT / "docs" / "cards"))
    kept = json.loads(next(place for place in places if place.exists()).read_text())
    if kept["sensorium"] == card["sensorium"]:
        assert kept["stage"] == today["stage"]


def test_names_and_fields_are_renamed_at_every_depth():
    old = {"is": "a", "x": {"is": "b", "x": [{"is": "a", "y": 1}]}, "y": 2}
    new = renamed(old, {"a": "c"}, {"c": {"y": "z"}, "b": {"x": "w"}})
    assert new == {"is": "c", "x": {"is": "b", "w": [{"is": "c", "z": 1}]}, "z": 2}


@pytest.mark.parametrize("number", [0, FORMAT + 1, "1", None, True])
def test_a_card_of_an_unknown_format_is_an_error(number, one):
    folder = one / "cart-pole-mlp" / "1-evolve"
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "format": number}))
    with pytest.raises((Failure, Usage), match="is not a card that this version of Sensorium reads"):
        checkpoint.stage(folder)
