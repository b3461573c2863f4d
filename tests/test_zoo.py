"""Agents by name: the index of the zoo, and fetching from stores that are right, lie, stall or break off."""

import gc
import json
import re
import shutil
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import sensorium
from sensorium import cli
from sensorium.core import checkpoint, zoo
from sensorium.core.errors import Failure, Usage

pytestmark = pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

AGENT = "cart-pole-mlp"


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> Path:
    """A folder with one agent and its index, beside an empty zoo at hand and an empty cache."""
    shutil.copytree(zoo.CHECKOUT / AGENT, tmp_path / "store" / "far")
    (tmp_path / "store" / "index.json").write_text(json.dumps(zoo.index(tmp_path / "store")))
    (tmp_path / "hand").mkdir()
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "hand")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(zoo.STORE, raising=False)
    return tmp_path / "store"


class Handler(SimpleHTTPRequestHandler):
    """Serves the store; for checkpoints it does what its server's `mode` says."""

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(self.path)  # type: ignore[attr-defined]
        mode = server.mode if self.path.endswith(".safetensors") else ""  # type: ignore[attr-defined]
        if not mode:
            return super().do_GET()
        data = Path(self.translate_path(self.path)).read_bytes()
        once, first = mode.startswith("once "), server.requests.count(self.path) == 1  # type: ignore[attr-defined]
        if once and not first:
            return super().do_GET()
        self.send_response(500 if mode.endswith("fails") else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if mode.endswith("lies"):
            self.wfile.write(bytes(len(data)))
        elif mode.endswith("breaks off"):
            self.wfile.write(data[: len(data) // 2])
        elif mode.endswith("stalls"):
            self.wfile.write(data[:100])
            server.released.wait(10)  # type: ignore[attr-defined]
        self.close_connection = True

    def log_message(self, *arguments) -> None:
        """Tests are silent."""


@pytest.fixture
def server(store: Path, monkeypatch) -> Iterator[ThreadingHTTPServer]:
    """The store over HTTP on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(store))) as server:
        server.mode, server.requests, server.released = "", [], threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(zoo.STORE, f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(zoo, "SECONDS", 0.5)
        yield server
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
    # fsspec leaves the connection of a request that fails to the garbage collector, where aiohttp warns of it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("cache/sensorium/zoo/*/*"))


def test_the_index_is_that_of_the_zoo():
    """`python -m sensorium.core.zoo zoo` writes it anew."""
    assert json.loads((zoo.CHECKOUT / "index.json").read_text()) == zoo.index(zoo.CHECKOUT)


def test_the_wheel_has_every_agent_under_a_megabyte():
    project = (zoo.CHECKOUT.parent / "pyproject.toml").read_text()
    named = re.findall(r'"zoo/([^"]+)" = "sensorium/zoo/', project)
    sizes = {
        agent.name: sum(
            f.stat().st_size for name in (agent.name, *zoo.needs(agent)) for f in (zoo.CHECKOUT / name).rglob("*") if f.is_file()
        )
        for agent in zoo.CHECKOUT.iterdir()
        if agent.is_dir()
    }
    assert sorted(named) == sorted(name for name, size in sizes.items() if size < 1_000_000)
    assert sum(sizes[name] for name in named) < 5_000_000


def test_an_agent_is_fetched_once_and_plays_as_it_does_at_home(store, server, tmp_path, capsys):
    far = sensorium.evaluate("zoo/far", episodes=4)
    assert far["returns"] == sensorium.evaluate(zoo.CHECKOUT / AGENT, episodes=4)["returns"]
    assert "fetching zoo/far" in capsys.readouterr().err
    asked = len(server.requests)  # type: ignore[attr-defined]
    assert sensorium.evaluate("zoo/far/1-evolve", episodes=4)["returns"] == far["returns"]
    assert len(server.requests) == asked  # type: ignore[attr-defined]
    assert cached(tmp_path) == ["far"]


def test_a_folder_is_a_store_too(store, tmp_path, monkeypatch):
    monkeypatch.setenv(zoo.STORE, str(store))
    assert checkpoint.agent("zoo/far").name == "1-evolve"
    monkeypatch.setenv(zoo.STORE, f"file://{store}")
    assert checkpoint.agent("zoo/far").name == "1-evolve"


def test_an_agent_is_fetched_with_those_that_it_needs(store, server, tmp_path, monkeypatch):
    """A second agent of the world model whose V and M are in another agent's folder."""
    shutil.copytree(zoo.CHECKOUT / "take-cover", store / "first")
    shutil.copytree(zoo.CHECKOUT / "take-cover" / "4-controller", store / "second" / "4-controller")
    card = store / "second" / "4-controller" / "card.json"
    card.write_text(card.read_text().replace("../2-vision", "../../first/2-vision").replace("../3-memory", "../../first/3-memory"))
    (store / "index.json").write_text(json.dumps(zoo.index(store)))
    assert zoo.index(store)["agents"]["second"]["needs"] == ["first"]
    world, policy = checkpoint.restored("zoo/second")[0].in_dream(checkpoint.restored("zoo/second")[1])
    assert cached(tmp_path) == ["first", "second"]
    home = checkpoint.restored(zoo.CHECKOUT / "take-cover")
    there = home[0].in_dream(home[1])
    found = [sensorium.evaluate(agent, episodes=2, world=place)["returns"] for place, agent in ((world, policy), there)]
    assert found[0] == found[1]
    asked = len(server.requests)  # type: ignore[attr-defined]
    assert checkpoint.agent("zoo/first").name == "4-controller"
    assert len(server.requests) == asked  # type: ignore[attr-defined]


def test_the_report_of_an_agent_elsewhere_goes_to_the_current_folder(store, tmp_path, monkeypatch, capsys):
    """Not into the cache or the installed package; with --out where it says."""
    monkeypatch.setattr("sensorium.systems.attention_neuron.figures.cart_pole.EPISODES", 4)
    monkeypatch.setenv(zoo.STORE, str(store))
    monkeypatch.chdir(tmp_path)
    for arguments, folder in (([], tmp_path), (["--out", "pages/far"], tmp_path / "pages" / "far")):
        assert cli.main(["report", "zoo/far", *arguments]) == 0
        assert (tmp_path / capsys.readouterr().out.strip()).resolve() == folder / "report.html"
    assert not list(tmp_path.glob("cache/**/report.html"))


@pytest.mark.parametrize("mode", ["once lies", "once breaks off", "once stalls", "once fails"])
def test_one_bad_answer_is_asked_again(store, server, tmp_path, mode):
    server.mode = mode
    assert sensorium.evaluate("zoo/far", episodes=1)["episodes"] == 1
    assert cached(tmp_path) == ["far"]


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [("lies", "does not match the checksum"), ("breaks off", "Payload|checksum"), ("stalls", "Timeout|no answer"), ("fails", "500")],
)
def test_a_store_that_stays_bad_is_one_sentence_and_leaves_nothing(store, server, tmp_path, mode, sentence):
    server.mode = mode
    with pytest.raises(Failure, match=sentence) as caught:
        checkpoint.agent("zoo/far")
    assert "\n" not in str(caught.value)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("index", [
    "", "[]", "[" * 100_000, '{"agents": 3}', '{"agents": {"far": {}}}', '{"agents": {"far": {"files": {"a": {"bytes": "x", "sha256": 1}}}}}',
    '{"agents": {"far": {"files": {"../../x": {"bytes": 1, "sha256": ""}}}}}', '{"agents": {"far": {"files": {"/etc/x": {"bytes": 1, "sha256": ""}}}}}',
    '{"agents": {"..": {"files": {}}}}', '{"agents": {"far": {"files": {}, "needs": ["near"]}}}', '{"agents": {"far": {"files": {}, "needs": 3}}}',
])  # fmt: skip
def test_a_damaged_or_hostile_index_is_one_sentence(store, tmp_path, monkeypatch, index):
    monkeypatch.setenv(zoo.STORE, str(store))
    (store / "index.json").write_text(index)
    with pytest.raises(Failure, match=r"index\.json"):
        checkpoint.agent("zoo/far")
    assert cached(tmp_path) == []


def test_unknown_agents_and_stores(store, tmp_path, monkeypatch):
    with pytest.raises(Usage, match=zoo.STORE):
        checkpoint.agent("zoo/far")
    monkeypatch.setenv(zoo.STORE, str(store))
    with pytest.raises(Usage, match="far"):
        checkpoint.agent("zoo/fat")
    monkeypatch.setenv(zoo.STORE, str(tmp_path / "nowhere"))
    with pytest.raises(Failure, match=zoo.STORE):
        checkpoint.agent("zoo/far")
    monkeypatch.setenv(zoo.STORE, "s3://bucket/zoo")
    with pytest.raises(Usage, match="s3fs"):
        checkpoint.agent("zoo/far")
    with pytest.raises(Usage, match="no folder"):
        checkpoint.agent(tmp_path / "zoo" / ".." / "x")
