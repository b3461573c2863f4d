"""`sensorium export --to web`: what is written, what is refused, and that the page's numbers are those of Python."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sensorium import cli
from sensorium.core import checkpoint, zoo
from sensorium.core.errors import Failure, Usage
from sensorium.core.run import run
from sensorium.envs.cart_pole import CartPole
from sensorium.es.evolve import Evolve
from sensorium.systems.attention_neuron.model.sensory import SensoryAgent
from sensorium.web import export as web
from sensorium.web.agents import Agent
from sensorium.web.exports import networks
from sensorium.web.scenes import latent
from sensorium.web.scenes.latent import Latent
from tests import web_fixtures
from tests.conftest import needs, trained


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_cart_pole_is_a_small_folder_without_the_runtime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page"
    assert cli.main(["export", str(zoo.FOLDER / "cart-pole-clone"), "--to", "web", "--out", str(out)]) == 0
    assert "any file server shows it" in capsys.readouterr().err
    assert size(out) < 3_000_000
    assert not list(out.rglob("ort*"))
    html = (out / "index.html").read_text()
    assert 'data-export="scenes.json"' in html
    [agent] = json.loads((out / "scenes.json").read_text())["agents"]
    [scene] = agent["scenes"]
    data = json.loads((out / scene["data"]).read_text())
    assert len(data["agent"]["weight_ih"]) == 32
    assert len(data["baseline"]) == 2
    assert data["world"] == {"hard": True, "horizon": 1000}
    assert cli.main(["export", str(zoo.FOLDER / "cart-pole-clone"), "--to", "web", "--out", str(out)]) == 2


@pytest.mark.parametrize(
    ("name", "latents", "hidden", "keys"),
    [("take-cover", 64, 512, {"left", "right"}), ("car-racing", 32, 256, {"left", "right", "up", "down"})],
)
def test_dreams_are_exported_with_networks_that_equal_torch(name: str, latents: int, hidden: int, keys: set[str], tmp_path: Path) -> None:
    needs(["onnx"])
    out = tmp_path / "page"
    lines = web.export(zoo.FOLDER / name, out)
    # the comparison with torch is part of the export and fails above 1e-4
    difference = float(lines[0].rpartition("torch ")[2].split()[0])
    assert 0 < difference <= networks.TOLERANCE == 1e-4
    assert size(out) < 25_000_000
    [agent] = json.loads((out / "scenes.json").read_text())["agents"]
    assert [scene["kind"] for scene in agent["scenes"]] == ["dream", "latent"]
    data = json.loads((out / "dream.json").read_text())
    assert (data["latents"], data["hidden"]) == (latents, hidden)
    assert set(data["steering"]) == keys
    assert all(len(move["action"]) == len(data["actions"]) == len(data["low"]) for move in data["steering"].values())
    assert {len(row) for part in data["starts"].values() for row in part} == {latents}
    assert all((out / path).exists() for path in data["networks"].values())
    # weights of the zoo are in half precision already, so they are stored as such
    assert sum((out / path).stat().st_size for path in data["networks"].values()) < 12_000_000


def test_the_export_of_a_dream_with_dropout_says_that_the_page_has_none(tmp_path: Path) -> None:
    needs(["onnx"])
    shutil.copytree(trained("take-cover"), tmp_path / "run")
    card = checkpoint.agent(tmp_path / "run") / "card.json"
    facts = json.loads(card.read_text())
    for dropout, notes in ((0.0, 0), (0.1, 1)):
        facts["stage"]["dropout"] = dropout
        card.write_text(json.dumps(facts))
        lines = web.export(tmp_path / "run", tmp_path / f"page {dropout}")
        assert sum("the page's dream has no dropout; C was evolved with 0.1" in line for line in lines) == notes


def test_exported_frames_and_codes_are_those_of_the_live_scene(tmp_path: Path) -> None:
    needs(["onnx", "envpool"])
    out = tmp_path / "page"
    web.export(zoo.FOLDER / "car-racing", out)
    data = json.loads((out / "latent.json").read_text())
    strip = np.asarray(Image.open(out / data["frames"]))
    frames = np.stack(np.split(strip, len(data["mu"]), 1))
    live = Latent(Agent("car-racing", zoo.FOLDER / "car-racing"), [], 0)
    stage, mu = live.stage, torch.tensor(data["mu"])
    assert torch.allclose(stage.encode(torch.from_numpy(frames))[0], mu, atol=1e-3)
    for frame, z in zip(frames, mu, strict=True):
        [at] = [i for i, own in enumerate(live.space.frames.numpy()) if (own == frame).all()][:1]
        assert torch.allclose(live.space.mu[at], z, atol=1e-5)
    sliders = [control for control in live.controls() if control["kind"] == "range"]
    assert [(f"z {one['dimension']}", one["label"]) for one in data["sliders"]] == [(one["name"], one["label"]) for one in sliders]
    assert data["explanation"] == live.explanation
    # the decoder is stored once
    assert data["decoder"] == json.loads((out / "dream.json").read_text())["networks"]["decoder"]


def test_without_its_world_a_dream_is_exported_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(["onnx"])

    def missing(*_: object) -> None:
        raise Usage("EnvPool is missing")

    monkeypatch.setattr(latent, "recorded", missing)
    lines = web.export(zoo.FOLDER / "take-cover", tmp_path / "page")
    assert any("without the scene of latent dimensions" in line and "EnvPool is missing" in line for line in lines)
    [agent] = json.loads((tmp_path / "page" / "scenes.json").read_text())["agents"]
    assert [scene["kind"] for scene in agent["scenes"]] == ["dream"]


def test_an_ablation_is_exported_with_its_world(tmp_path: Path) -> None:
    agent = SensoryAgent(pooling="mean", recurrent=False)
    run(Evolve(CartPole(hard=False, horizon=200), agent, steps=0, compile=False), tmp_path / "run", 0)
    web.export(tmp_path / "run", tmp_path / "page")
    data = json.loads((tmp_path / "page" / "senses.json").read_text())
    assert data["world"] == {"hard": False, "horizon": 200}
    assert data["agent"]["pooling"] == "mean"
    assert "weight_hh" not in data["agent"]


@pytest.mark.parametrize("name", ["ant-clone", "pong-clone", "cart-pole-mlp", "car-patches-clone"])
def test_other_agents_are_refused_in_one_sentence_that_names_play(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        Usage, match=f"cannot run in a browser alone: a page has no simulators; it can run .*; `sensorium play .*{name}` shows it"
    ) as error:
        web.export(zoo.FOLDER / name, tmp_path / "page")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "page").exists()


def test_weights_are_halved_only_where_that_changes_nothing() -> None:
    needs(["onnx"])
    torch.manual_seed(0)
    exact, rough = nn.Linear(64, 64), nn.Linear(64, 64)
    with torch.no_grad():
        for part in exact.parameters():
            part.copy_(part.half().float())
        rough.weight.mul_(10)
    inputs = {"x": torch.randn(networks.ROWS, 64)}
    small, exactly = networks.onnx_file("exact", exact, inputs, ["y"])
    large, closely = networks.onnx_file("rough", rough, inputs, ["y"])
    assert len(small) < 0.75 * len(large)
    assert max(exactly, closely) <= networks.TOLERANCE


def test_a_network_that_differs_from_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    needs(["onnx"])
    monkeypatch.setattr(networks, "TOLERANCE", -1.0)
    with pytest.raises(Failure, match="the network layer cannot be exported: ONNX differs from torch by"):
        networks.onnx_file("layer", nn.Linear(2, 2), {"x": torch.zeros(networks.ROWS, 2)}, ["y"])


def test_the_numbers_that_the_page_is_tested_against_are_ours() -> None:
    """web/test compares 200 steps of world and agent, random numbers and mixtures in TypeScript with this file."""
    kept, ours = json.loads(web_fixtures.FILE.read_text()), json.loads(json.dumps(web_fixtures.fixtures()))

    def same(a: object, b: object) -> None:
        if isinstance(a, dict) and isinstance(b, dict):
            assert a.keys() == b.keys()
            for key in a:
                same(a[key], b[key])
        elif isinstance(a, list) and isinstance(b, list):
            assert len(a) == len(b)
            for one, other in zip(a, b, strict=True):
                same(one, other)
        else:
            assert a == pytest.approx(b, abs=1e-5)

    same(kept, ours)


def test_a_network_whose_outputs_are_nan_is_refused():
    needs(["onnx"])

    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * float("inf") * 0

    with pytest.raises(Failure, match="differs from torch by nan"):
        networks.onnx_file("broken", Broken(), {"x": torch.rand(16, 3)}, ["y"])
