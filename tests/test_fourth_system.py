"""A new system needs only its folder and one line in the registry."""

import json
import sys
from pathlib import Path

import pytest

from sensorium import cli, registry

SYSTEM = {
    "__init__.py": """
        PARTS = {"guess": "dummy_system.stages:Guess"}
        RECIPES = {"guess": "dummy_system.stages:GUESS"}
        TABLES, IMPORTS, REPORT = {}, {}, ""
    """,
    "stages.py": """
        from dataclasses import dataclass
        import torch
        from sensorium.core.recipe import Recipe
        from sensorium.envs.toy import Toy
        from sensorium.systems.attention_neuron.model import FeedForwardAgent

        @dataclass(frozen=True)
        class Guess:
            learned = ("mean",)
            world: Toy = Toy()
            agent: FeedForwardAgent = FeedForwardAgent(3)
            steps: int = 3
            checkpoint_every: int = 1

            def init(self, seeds):
                return {"mean": torch.zeros(self.agent.layout.size)}

            def open(self, state):
                return None

            def step(self, state, live, seeds):
                state["mean"] = state["mean"] + seeds.step
                return {"score/mean": float(seeds.step)}

            def policy(self, state):
                return self.agent.policy(state["mean"])

        GUESS = Recipe("guess", lambda preset="laptop": {"guess": Guess()}, "nothing", {"laptop": 0.01})
    """,
}


@pytest.fixture
def fourth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import textwrap

    folder = tmp_path / "dummy_system"
    folder.mkdir()
    for name, text in SYSTEM.items():
        (folder / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.SYSTEMS, "guessing", "dummy_system")  # the one line
    registry.fill()
    yield
    for name in [name for name in sys.modules if name.startswith("dummy_system")]:
        del sys.modules[name]


def test_the_command_line_supports_a_new_system(fourth, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = str(tmp_path / "run")
    assert cli.main(["train", "guess", "--out", out, "--guess.steps", "2"]) == 0
    assert cli.main(["train", "guess", "--out", out, "--guess.steps", "4"]) == 0
    assert "resumed guess at step 2" in capsys.readouterr().err
    assert cli.main(["evaluate", out, "--episodes", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["recipe"], result["episodes"], result["world"]) == ("guess", 5, "toy")
    assert cli.main(["list", "--json"]) == 0
    assert "guess" in [recipe["name"] for recipe in json.loads(capsys.readouterr().out)["recipes"]]
