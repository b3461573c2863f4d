"""The playground: each scene for each zoo agent, each control, and a server that hostile visitors cannot stop or make grow."""

import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State
from websockets.sync.client import connect

from sensorium.core import checkpoint, zoo
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Attentive
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs.cart_pole import DT, FORCE, CartPole
from sensorium.web import command, gallery, worker
from sensorium.web.agents import Agent, baseline
from sensorium.web.connection import Allowance
from sensorium.web.messages import AHEAD, LONGEST, frame, parsed
from sensorium.web.scenes.all import SCENES
from sensorium.web.scenes.channels import Channels, fitted
from sensorium.web.scenes.run import Run
from sensorium.web.scenes.scene import Scene, fitting
from sensorium.web.server import app, loopback, policy
from tests.conftest import needs

SMALL = ("cart-pole", "cart-pole-clone", "cart-pole-mlp")
"""agents whose scenes open at once"""
EXTRAS = {"ant": "bullet", "car": "envpool", "pong": "envpool", "take": "doom", "proto": "control", "rnd": "control", "scratch": "control"}
"""first part of an agent's name -> the extra of its world"""


def agent(name: str) -> Agent:
    return Agent(name, zoo.FOLDER / name)


def opened(name: str, scene: str, seed: int = 0) -> Scene:
    first = re.split("[-.]", name)[0]
    needs([EXTRAS[first]] if first in EXTRAS else [])
    torch.manual_seed(0)
    return SCENES[scene](agent(name), [], seed)


def offered() -> list[tuple[str, str]]:
    """(agent, scene) for each scene of each zoo agent."""
    return [(name, scene) for name in checkpoint.shipped() for scene, kind in SCENES.items() if kind.available(agent(name))]


# scenes


def check_values(scene: Scene, values: dict[str, Any], panels: dict[str, Any]) -> None:
    """Values are finite and have the declared shapes."""
    for name, value in values.items():
        panel = panels[name]
        kind = panel["kind"]
        if kind == "picture":
            assert value.dtype == np.uint8
            assert value.ndim == 3
            assert value.shape[2] == 3
        elif kind == "bars":
            assert len(value) == len(panel["items"])
            assert np.isfinite(value).all()
        elif kind == "matrix":
            assert np.shape(value) == (len(panel["rows"]), len(panel["columns"]))
            assert (np.abs(value) <= 1).all()
        elif kind == "curve":
            assert all(len(point) == 1 + len(panel["series"]) for point in value)
            assert all(np.isfinite(number) for point in value for number in point if number is not None)
        elif kind == "points":
            assert all(0 <= point[0] < len(panel["series"]) and len(point) == 3 for point in value)
            assert all(0 <= coordinate <= 1 for point in value for coordinate in point[1:])
        elif kind == "cart-pole":
            assert np.isfinite([value["x"], value["theta"]]).all()
        elif kind == "bodies":
            assert np.array(value["segments"]).shape[1] == 7
            assert np.isfinite(value["segments"]).all()
        else:
            assert isinstance(value, str)
            assert value


def declared(scene: Scene) -> dict[str, Any]:
    return {panel["name"]: panel for panel in scene.panels()}


def alternative(control: dict[str, Any]) -> Any:
    """Another value of a control."""
    kind, value = control["kind"], control.get("value")
    if kind == "range":
        return control["high"] if value < control["high"] else control["low"]
    if kind == "switch":
        return not value
    if kind == "choice":
        return control["options"][-1]["value"]
    return value[::-1]


@pytest.mark.parametrize(("name", "kind"), offered())
def test_each_scene_opens_for_each_agent_that_has_it_and_each_control_is_taken(name, kind):
    scene = opened(name, kind)
    try:
        with torch.no_grad():
            declaration = json.loads(json.dumps(scene.declaration(), allow_nan=False))
            assert declaration["rate"] >= 30
            assert len(declaration["explanation"]) > 30
            for _ in range(3):
                values = scene.advance()
                check_values(scene, values, declared(scene))
                frame(1, values, scene.reset)
            assert set(values) == set(declared(scene))
            for control in scene.controls():
                if control["kind"] == "button":
                    scene.press(control["name"])
                elif control["kind"] == "steering":
                    scene.keys(frozenset(control["keys"]))
                else:
                    new = fitting(control, alternative(control))
                    scene.set(control["name"], new)
                    now = {c["name"]: c for c in scene.controls()}[control["name"]]
                    assert now["value"] == pytest.approx(new), control["name"]
                check_values(scene, scene.advance(), declared(scene))
            scene.pointer(next(iter(declared(scene))), 0.1, 0.5, True)
            check_values(scene, scene.advance(), declared(scene))
            json.dumps(scene.notices, allow_nan=False)
    finally:
        scene.close()


def test_the_zoo_has_each_scene():
    assert {scene for _, scene in offered()} == set(SCENES)
    assert ("cart-pole", "senses") in offered()
    assert ("cart-pole-mlp", "senses") not in offered()


def test_untouched_the_agent_in_the_senses_scene_does_what_it_does_in_play():
    scene, steps = opened("cart-pole", "senses"), 60
    with torch.no_grad():
        for _ in range(steps // 2):
            scene.advance()
    reference = play(CartPole().open(), agent("cart-pole").policy, row_seeds(0, 1), keep=("rewards", "actions"))
    n = min(steps, int(reference.lengths[0]))
    run = scene.runs["agent"]
    assert run.t == n
    assert run.score == pytest.approx(float(reference.rewards[:n].sum()), rel=1e-4)
    assert float(run.action) == pytest.approx(float(reference.actions[n - 1]), abs=1e-5)


def test_a_shuffle_leaves_the_agent_and_disturbs_the_network():
    torch.manual_seed(0)
    scores = {"agent": [], "baseline": []}
    for seed in range(4):
        scene = opened("cart-pole-clone", "senses", 40 + seed)
        with torch.no_grad():
            for t in range(330):
                if t == 30:
                    scene.press("shuffle")
                scene.advance()
        for name, run in scene.runs.items():
            scores[name].append(run.recent.mean)
        scene.close()
    assert np.mean(scores["agent"]) > np.mean(scores["baseline"]) + 0.1


def test_channels_are_those_of_the_order_and_the_switches():
    channels = Channels(["a", "b", "c"], 0)
    obs = torch.tensor([[1.0, 2, 3]])
    assert channels.treated(obs, 0).tolist() == [[1, 2, 3]]
    channels.order = [2, 0, 1]
    assert channels.inputs == ["c", "a", "b"]
    assert channels.treated(obs, 0).tolist() == [[3, 1, 2]]
    channels.working[2] = False
    assert channels.treated(obs, 0).tolist() == [[0, 1, 2]]
    channels.extend(1, True)
    assert channels.inputs == ["c", "a", "b", "a again", "b again", "c again", "noise 1"]
    treated = channels.treated(obs, 7)
    assert treated[0, :6].tolist() == [0, 1, 2, 1, 2, 0]
    assert 0 < abs(float(treated[0, 6])) < 1
    assert fitted(treated, 3).tolist() == [[0, 1, 2]]
    assert fitted(treated, 9)[0, 7:].tolist() == [0, 0]
    channels.extend(0, False)
    assert channels.inputs == ["c", "a", "b"]
    channels.delay = 2
    channels.forget()
    delayed = [channels.treated(obs + t, t)[0, 1].item() for t in range(5)]
    assert delayed == [1, 1, 1, 2, 3]


def test_sensors_and_attention_belong_to_the_inputs_shown_while_paused():
    scene = opened("cart-pole", "senses")
    with torch.no_grad():
        scene.advance()
        scene.set("pause", True)
        before = dict(zip(scene.channels.inputs, scene.advance()["sensors"], strict=True))
        scene.press("shuffle")
        values = scene.advance()
        assert dict(zip(scene.channels.inputs, values["sensors"], strict=True)) == before
        scene.set("noise", 3)
        check_values(scene, scene.advance(), declared(scene))
    scene.close()


def test_shuffles_are_permutations_and_differ():
    channels = Channels([str(i) for i in range(8)], 0)
    found = set()
    for _ in range(20):
        channels.shuffle()
        assert sorted(channels.order) == list(range(8))
        found.add(tuple(channels.order))
    assert len(found) > 15
    channels.sort()
    assert channels.order == list(range(8))


def test_a_push_is_a_force():
    world, state = CartPole(), tuple(torch.tensor([value], dtype=torch.float64) for value in (0.1, 0.2, 0.3, 0.4))
    both, _ = world.transition(world.pushed(state, 4.0), torch.zeros(1, 1, dtype=torch.float64), 0)
    force, _ = world.transition(state, torch.full((1, 1), 4.0 / FORCE, dtype=torch.float64), 0)
    # a push is applied before the step, so that positions are one push ahead
    assert float(both[1]) == pytest.approx(float(force[1]), abs=2 * DT * DT * 20)
    assert float(both[3]) == pytest.approx(float(force[3]), abs=2 * DT * DT * 60)


def test_attention_has_the_weights_of_the_step():
    policy, seeds = agent("cart-pole").policy, row_seeds(3, 1)
    obs, memory = torch.randn(1, 5), policy.begin(seeds)
    _, after = policy.act(obs, memory, 0)
    torch.testing.assert_close(policy.attention(obs, memory), policy.weights(after[0]))


def test_the_baseline_is_a_network_of_the_same_world():
    found = baseline(agent("cart-pole"), [])
    assert found is not None
    assert found.world == agent("cart-pole").world
    assert not isinstance(found.policy, Attentive)
    own = baseline(agent("cart-pole-clone"), [])
    assert own is not None
    assert own.path.name == "1-baseline"


def test_hidden_patches_come_from_where_the_frame_says():
    needs(["envpool"])
    scene = opened("car-patches-clone", "eyes")
    with torch.no_grad():
        scene.set("occlude", 0.5)
        for _ in range(5):
            values = scene.advance()
    origins = scene.env.origins()[0]
    assert len(origins) == 128
    assert len(origins.unique()) == 128
    from sensorium.envs.patches import cut

    whole = cut(scene.env.world.grey(scene.env.raw))[0]
    torch.testing.assert_close(scene.env.obs[0, :, -1], whole[origins])
    assert (values["human"] == scene.env.raw[0].numpy()).all()
    scene.close()


def test_the_temperature_changes_the_dream_and_keys_steer():
    def dreamt(temperature: float, keys: frozenset[str] = frozenset()) -> torch.Tensor:
        scene = opened("take-cover", "dream", 3)
        try:
            scene.set("beside", False)
            scene.set("temperature", temperature)
            scene.keys(keys)
            with torch.no_grad():
                for _ in range(20):
                    scene.advance()
            if keys:
                assert not scene.driven
                assert float(scene.action) == (1.0 if "right" in keys else -1.0)
                scene.press("back")
                assert scene.wheel() is None
            return scene.obs
        finally:
            scene.close()

    warm, again, cold = dreamt(1.15), dreamt(1.15), dreamt(0.1)
    assert torch.equal(warm, again)
    assert not torch.allclose(warm, cold)
    assert not torch.allclose(dreamt(1.15, frozenset({"left"})), dreamt(1.15, frozenset({"right"})))


def test_sliders_are_the_informative_dimensions():
    needs(["envpool"])
    scene = opened("car-racing", "latent")
    mean, used = scene.space.sd, scene.space.used
    assert used == sorted(used, key=lambda i: float(mean[i]))
    assert max(float(mean[i]) for i in used) <= min(float(mean[i]) for i in range(len(mean)) if i not in used)
    with torch.no_grad():
        before = scene.advance()
        scene.set(f"z {used[0]}", 3.0 if float(scene.z[used[0]]) < 0 else -3.0)
        after = scene.advance()
    assert (before["reconstruction"] == after["reconstruction"]).all()
    assert np.abs(before["imagined"].astype(int) - after["imagined"]).mean() > 1
    scene.close()


def test_coverage_counts_cells():
    needs(["control"])
    scene = opened("proto-states.walker_run", "exploration")
    scene.set("speed", 10)
    with torch.no_grad():
        for _ in range(25):
            values = scene.advance()
    places = torch.stack(scene.places["explorer"])
    cells = np.unique(np.minimum((places.numpy() * 20).astype(int), 19), axis=0)
    assert values["coverage"][-1][1] == len(cells) == len(scene.visited["explorer"])
    assert len(scene.prototypes) == 256
    assert all(any(torch.equal(p, q) for q in places) for p in scene.prototypes[:5])
    scene.close()


def test_an_imported_onnx_policy_of_a_gymnasium_environment(tmp_path):
    needs(["box2d", "onnx"])
    import sensorium
    from sensorium.policies.onnx import imported
    from tests.test_policies import graph

    path, weights = tmp_path / "policy.onnx", np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    path.write_bytes(graph([("MatMul", "")], {"weights": weights}, 8, 4).SerializeToString())
    list(imported([path], tmp_path / "lunar", world=sensorium.world("gym:LunarLander-v3")))
    lander = Agent("lunar", tmp_path / "lunar")
    assert [name for name, kind in SCENES.items() if kind.available(lander)] == ["any"]
    scene = SCENES["any"](lander, [], 0)
    with torch.no_grad():
        first = scene.advance()
        scene.press("shuffle")
        scene.set("gaussian", 0.5)
        values = scene.advance()
    assert first["world"].shape == (300, 300, 3)
    assert first["world"].std() > 5
    assert len(values["sensors"]) == 8
    check_values(scene, values, declared(scene))
    scene.close()


@pytest.mark.slow
def test_a_ppo_of_stable_baselines3_plays_as_onnx_with_sensors_that_are_switched(tmp_path):
    needs(["sb3", "onnx", "box2d"])
    import gymnasium
    from stable_baselines3 import PPO

    from sensorium import cli
    from sensorium.policies.export import silence

    torch.manual_seed(0)
    model = PPO("MlpPolicy", gymnasium.make("LunarLander-v3"), n_steps=500, batch_size=100, n_epochs=2, seed=0, device="cpu").learn(2000)

    class Actor(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(model.policy.mlp_extractor.policy_net, model.policy.action_net)

        def forward(self, obs: torch.Tensor) -> torch.Tensor:
            return self.layers(obs)

    batch = ({0: torch.export.Dim("batch")},)
    file, folder = tmp_path / "ppo.onnx", tmp_path / "lander"
    with silence():
        torch.onnx.export(Actor().eval(), (torch.zeros(2, 8),), file, dynamo=True, verbose=False, dynamic_shapes=batch, external_data=False)
    assert cli.main(["import", "onnx", str(file), "--world", "gym:LunarLander-v3", "--out", str(folder)]) == 0
    scene = SCENES["any"](Agent("lander", folder), [], 0)

    def same(steps: int, working: list[bool]) -> None:
        for _ in range(steps):
            before = scene.run.obs.numpy()
            scene.advance()
            if not scene.run.ended:
                chosen, _ = model.predict(np.where(working, before, 0.0).astype(np.float32), deterministic=True)
                assert int(scene.run.action[0].argmax()) == int(chosen[0])

    with closing(scene), torch.no_grad():
        switches = [control["name"] for control in scene.controls() if control["kind"] == "switch" and control["name"].startswith("on ")]
        assert len(switches) == 8
        same(30, [True] * 8)
        for name in switches[:4]:
            scene.set(name, False)
        same(30, [False] * 4 + [True] * 4)
        values = scene.advance()
        assert values["sensors"][:4] == [0.0] * 4
        assert values["world"].std() > 5
        check_values(scene, values, declared(scene))


def test_a_gymnasium_environment_is_rendered_beside_its_own_observations(monkeypatch):
    needs(["box2d"])
    import sensorium
    from sensorium.envs.normalised import Normalised
    from sensorium.web.views import opened

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    world = sensorium.world("gym:CartPole-v1")
    plain, seeds = world.open(), row_seeds(0, 1)
    env, obs, view = opened(Normalised(world, (0.0,) * 4, (2.0,) * 4), seeds)
    torch.testing.assert_close(2 * obs, plain.reset(seeds))
    assert view is not None
    first = view.value()
    assert first.shape == (300, 300, 3)
    for _ in range(5):
        step, reference = (one.step(torch.tensor([[1.0, 0.0]])) for one in (env, plain))
    torch.testing.assert_close(2 * step.obs, reference.obs)
    assert (view.value() != first).any()
    env.close()
    plain.close()


# messages and frames


def test_a_frame_is_json_and_the_bytes_of_its_pictures():
    pictures = {name: np.random.default_rng(0).integers(0, 256, shape, np.uint8) for name, shape in (("a", (2, 3, 3)), ("b", (4, 1, 3)))}
    data = frame(7, {**pictures, "c": [1.5]}, ["c"])
    length = struct.unpack("<I", data[:4])[0]
    head = json.loads(data[4 : 4 + length])
    assert (head["frame"], head["values"], head["reset"]) == (7, {"c": [1.5]}, ["c"])
    for blob in head["blobs"]:
        start = 4 + length + blob["offset"]
        found = np.frombuffer(data[start : start + blob["length"]], np.uint8).reshape(blob["height"], blob["width"], 3)
        assert (found == pictures[blob["panel"]]).all()


GOOD: list[dict[str, Any]] = [
    {"type": "open", "agent": "a", "scene": "b", "seed": 0},
    {"type": "set", "name": "x", "value": 1.5},
    {"type": "set", "name": "x", "value": [2, 0, 1]},
    {"type": "press", "name": "x"},
    {"type": "keys", "held": ["left", "up"]},
    {"type": "pointer", "panel": "p", "x": 0.5, "y": 1, "down": True},
    {"type": "shown", "frame": 3},
]


@pytest.mark.parametrize("message", GOOD)
def test_good_messages_are_understood(message):
    assert parsed(json.dumps(message)) == message


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "1", '{"type": "open"}', '{"type": "quit"}', '{"type": "press", "name": "x", "more": 1}', '{"type": "shown", "frame": -1}',
        '{"type": "shown", "frame": true}', '{"type": "set", "name": "x", "value": NaN}', '{"type": "set", "name": "x", "value": 1e999}',
        '{"type": "set", "name": "x", "value": 1' + "0" * 400 + "}",
        '{"type": "set", "name": "x", "value": {"a": 1}}', '{"type": "keys", "held": ["a"]}', '{"type": "pointer", "panel": "p", "x": 2, "y": 0, "down": true}',
        '{"type": "press", "name": "' + "x" * LONGEST + '"}', "[" * 2000, '{"type": "open", "agent": "\\ud800", "scene": "b", "seed": 0}',
    ],
)  # fmt: skip
def test_bad_messages_are_refused_in_one_sentence(text):
    with pytest.raises(ValueError, match=r"^the message .{5,300}$"):
        parsed(text)


def test_the_allowance_admits_a_burst_and_then_the_rate():
    allowance = Allowance(10.0, 5.0)
    waits = [allowance.wait() for _ in range(8)]
    assert waits[:5] == [0.0] * 5
    assert waits[7] == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ({"kind": "range", "name": "x", "low": 0, "high": 1, "step": 1}, 2), ({"kind": "range", "name": "x", "low": 0, "high": 1, "step": 1}, True),
        ({"kind": "range", "name": "x", "low": 0, "high": 1, "step": 1}, "1"), ({"kind": "switch", "name": "x"}, 1),
        ({"kind": "choice", "name": "x", "options": [{"value": "a"}]}, "b"), ({"kind": "order", "name": "x", "items": ["a", "b"]}, [0, 0]),
        ({"kind": "order", "name": "x", "items": ["a", "b"]}, [0]), ({"kind": "button", "name": "x"}, True), ({"kind": "steering", "name": "x"}, 1),
    ],
)  # fmt: skip
def test_values_that_a_control_does_not_have_are_refused(control, value):
    with pytest.raises(Usage, match="x cannot have this value; allowed"):
        fitting(control, value)


@pytest.mark.parametrize(("host", "known"), [
    ("127.0.0.1:8200", True), ("localhost", True), ("[::1]:80", True), ("evil.com", False), ("127.0.0.1.evil.com", False), ("", False), (None, False), ("[", False),
])  # fmt: skip
def test_only_this_machines_names_are_answered(host, known):
    assert loopback(host) == known


# the server


class Served:
    """A server in a thread."""

    def __init__(self, folders: dict[str, Path], **how: Any):
        self.socket = command.listening("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.app = app(folders, **how)
        config = uvicorn.Config(
            self.app, log_level="error", ws_max_size=2 * LONGEST, ws_per_message_deflate=False, timeout_graceful_shutdown=3
        )
        self.server = uvicorn.Server(config)
        self.server.capture_signals = nullcontext
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve([self.socket])))
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def processes(self) -> list[int]:
        """Process ids of the scenes that are open."""
        return [visitor.worker.process.pid for visitor in self.app.state.present if visitor.worker]

    def emptied(self) -> None:
        """Wait until earlier visitors have left."""
        end = time.monotonic() + 10
        while self.app.state.present:
            assert time.monotonic() < end, "a visitor who has left is still there"
            time.sleep(0.02)

    def connect(self, query: str = "", origin: str | None = "", **how: Any) -> Any:
        uri = f"ws://127.0.0.1:{self.port}/api/scene{query}"
        return connect(uri, origin=self.address if origin == "" else origin, max_size=None, compression=None, proxy=None, **how)  # type: ignore[arg-type]

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body of a request whose path is sent as it is."""
        given = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **headers}
        with closing(socket.create_connection(("127.0.0.1", self.port))) as line:
            lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
            line.sendall("\r\n".join(lines).encode())
            data = b"".join(iter(lambda: line.recv(65536), b""))
        return int(data.split()[1]), data.partition(b"\r\n\r\n")[2]

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.socket.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        worker.prepare()
        found = Served({name: zoo.FOLDER / name for name in SMALL})
        yield found
        found.close()


def tell(socket_: Any, **message: Any) -> None:
    socket_.send(json.dumps(message))


def head(data: bytes) -> dict[str, Any]:
    return json.loads(data[4 : 4 + struct.unpack("<I", data[:4])[0]])


def watch(socket_: Any, until: Any, seconds: float = 30, show: bool = True) -> Any:
    """Receive until `until(message)` is true, for texts as dicts and frames as their heads."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = socket_.recv(timeout=end - time.monotonic())
        message = json.loads(data) if isinstance(data, str) else head(data)
        if show and "frame" in message:
            tell(socket_, type="shown", frame=message["frame"])
        if until(message):
            return message
    raise TimeoutError


def test_the_gallery_lists_agents_and_makes_thumbnails(served):
    listed = json.loads(served.get("/api/gallery")[1])["agents"]
    assert [entry["name"] for entry in listed] == list(SMALL)
    # their scenes may come later
    end = time.monotonic() + 60
    while not all(entry["scenes"] for entry in listed):
        assert time.monotonic() < end
        listed = json.loads(served.get("/api/gallery")[1])["agents"]
    assert [scene["name"] for scene in listed[0]["scenes"]] == ["senses", "any"]
    assert listed[0]["score"] == "fixed: mean 328.7, sd 289, 1000 episodes"
    end = time.monotonic() + 240
    while (entries := json.loads(served.get("/api/gallery")[1])["agents"]) and not all(entry["thumbnail"] for entry in entries):
        assert time.monotonic() < end
        time.sleep(0.1)
    status, data = served.get(entries[0]["thumbnail"])
    assert status == 200
    assert len(data) < 150_000
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(data)) as image:
        assert image.format == "WEBP"
        assert image.n_frames > 10
        assert image.width == 160
    assert served.get("/api/thumbnail/nobody")[0] == 404


def test_agents_are_listed_by_name_while_their_scenes_are_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "PATIENCE", 0.05)

    async def listed() -> Any:
        found = gallery.Gallery({"cart-pole-clone": zoo.FOLDER / "cart-pole-clone"})
        return await found.agents()

    [entry] = asyncio.run(listed())
    assert (entry["title"], entry["scenes"], entry["thumbnail"]) == ("Cart pole clone", [], None)


def test_a_visitor_gets_a_scene_frames_and_the_effects_of_controls(served):
    with served.connect() as page:
        tell(page, type="open", agent="cart-pole", scene="senses", seed=0)
        declaration = watch(page, lambda m: m.get("type") == "scene")
        assert declaration["agent"] == "cart-pole"
        watch(page, lambda m: m.get("frame") == 2)
        began = time.monotonic()
        tell(page, type="press", name="shuffle")
        order = watch(page, lambda m: m.get("type") == "control" and m["name"] == "order")
        assert time.monotonic() - began < 0.5
        assert sorted(order["value"]) == list(range(5))
        assert order["value"] != list(range(5))
        panel = watch(page, lambda m: m.get("type") == "panel" and m["panel"]["name"] == "sensors")["panel"]
        assert panel["items"] == [order["items"][i] for i in order["value"]]
        tell(page, type="set", name="noise", value=3)
        watch(page, lambda m: "values" in m and len(m["values"]["sensors"]) == 8)
        tell(page, type="set", name="noise", value=99)
        assert "allowed: a number from 0 to 10" in watch(page, lambda m: m.get("type") == "problem")["message"]
        tell(page, type="press", name="nothing")
        assert "no control" in watch(page, lambda m: m.get("type") == "problem")["message"]
        # another scene in the same connection
        tell(page, type="open", agent="cart-pole-mlp", scene="any", seed=1)
        assert watch(page, lambda m: m.get("type") == "scene")["name"] == "any"
        watch(page, lambda m: m.get("frame") == 3 and "action" in m["values"])
        for wrong in (
            {"agent": "nobody", "scene": "any"},
            {"agent": "cart-pole-mlp", "scene": "senses"},
            {"agent": "../cart-pole", "scene": "any"},
        ):
            tell(page, type="open", seed=0, **wrong)
            assert watch(page, lambda m: m.get("type") == "problem")["message"]


def test_a_visitor_who_shows_nothing_gets_three_frames(served):
    with served.connect() as page:
        tell(page, type="open", agent="cart-pole", scene="any", seed=0)
        watch(page, lambda m: m.get("frame") == AHEAD, show=False)
        with pytest.raises(TimeoutError):
            page.recv(timeout=0.7)
        # a claim to have seen more than was sent does not count
        tell(page, type="shown", frame=1_000_000)
        watch(page, lambda m: m.get("frame") == 2 * AHEAD, show=False)
        with pytest.raises(TimeoutError):
            page.recv(timeout=0.5)


def test_a_process_that_is_killed_is_replaced_and_the_visitor_told(served):
    served.emptied()
    with served.connect() as page:
        tell(page, type="open", agent="cart-pole", scene="any", seed=0)
        watch(page, lambda m: m.get("frame") == 2)
        (mine,) = served.processes()
        os.kill(mine, signal.SIGKILL)
        assert watch(page, lambda m: m.get("type") == "problem") == {
            "type": "problem", "message": "the scene has ended unexpectedly and is restarted", "fatal": False,
        }  # fmt: skip
        watch(page, lambda m: m.get("type") == "scene")
        watch(page, lambda m: m.get("frame") == 3)
        (mine,) = served.processes()
    served.emptied()
    assert not Path(f"/proc/{mine}").exists()


def test_a_process_that_hangs_is_replaced(served, monkeypatch):
    served.emptied()
    monkeypatch.setattr(worker, "SILENCE", 2.5)
    with served.connect() as page:
        tell(page, type="open", agent="cart-pole", scene="any", seed=0)
        watch(page, lambda m: m.get("frame") == 2)
        (mine,) = served.processes()
        os.kill(mine, signal.SIGSTOP)
        problem = watch(page, lambda m: m.get("type") == "problem")
        assert problem["message"] == "the scene has not responded for 2.5 seconds and is restarted"
        watch(page, lambda m: m.get("frame") == 2)
    served.emptied()
    assert not Path(f"/proc/{mine}").exists()


class Broken(Scene):
    """A scene that raises at its third frame."""

    name, title, explanation = "broken", "Broken", "broken"

    def controls(self):
        return []

    def panels(self):
        return []

    def advance(self):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            raise ZeroDivisionError
        return {}

    @staticmethod
    def available(agent):
        return True


class Line:
    """The process's end of a socket, which keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def send_frame(self, data: bytes) -> None:
        self.sent.append(head(data))

    @property
    def frames(self) -> list[Any]:
        return [message for message in self.sent if "frame" in message]


def playing(monkeypatch: pytest.MonkeyPatch, scene: type[Scene]) -> tuple[Any, Line]:
    """A player of a scene, and what it sends."""
    from sensorium.web import roles

    monkeypatch.setitem(roles.SCENES, scene.name, scene)
    line = Line()
    player = roles.Player(line, [agent("cart-pole")])  # type: ignore[arg-type]
    player.handle({"type": "open", "agent": "cart-pole", "scene": scene.name, "seed": 4})
    return player, line


class Counting(Broken):
    """A scene with a curve whose points are the numbers of its frames; the fourth frame begins it anew, and frames 7 to 9 fail."""

    name = "counting"

    def panels(self):
        return [{"name": "points", "label": "", "kind": "curve"}]

    def advance(self):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 4:
            self.reset.append("points")
        if 7 <= self.count <= 9:
            raise Failure("the simulator has no picture")
        return {"points": [self.count], "last": self.count}


def test_frames_that_a_slow_page_does_not_draw_are_merged(monkeypatch):
    player, line = playing(monkeypatch, Counting)
    for _ in range(5):
        player.guard(player.show)
    assert [m["values"] for m in line.frames] == [{"points": [n], "last": n} for n in (1, 2, 3)]
    player.handle({"type": "shown", "frame": 1})
    player.guard(player.show)
    assert line.frames[-1]["values"] == {"points": [4, 5, 6], "last": 6}
    assert line.frames[-1]["reset"] == ["points"]


def test_a_page_that_draws_nothing_stops_the_scene(monkeypatch):
    from sensorium.web import roles

    player, _ = playing(monkeypatch, Counting)
    for _ in range(4):
        assert player.watched
        player.guard(player.show)
    player.drawn -= roles.ATTENTION
    assert not player.watched
    # a frame that was drawn before does not count
    player.handle({"type": "shown", "frame": 0})
    assert not player.watched
    player.handle({"type": "shown", "frame": 1})
    assert player.watched


def test_an_error_in_each_frame_is_sent_once(monkeypatch):
    player, line = playing(monkeypatch, Counting)
    for _ in range(11):
        player.guard(player.show)
        player.handle({"type": "shown", "frame": player.sent})
    problems = [m["message"] for m in line.sent if m.get("type") == "problem"]
    assert problems == ["the simulator has no picture"]
    assert [m["values"]["last"] for m in line.frames] == [1, 2, 3, 4, 5, 6, 10, 11]


def test_what_a_scene_has_opened_is_closed_where_opening_fails():
    closed = []

    class Part:
        def close(self) -> None:
            closed.append(self)

    class Failing(Broken):
        def open(self) -> None:
            self.part = self.owned(Part())
            raise Failure("no second world")

    with pytest.raises(Failure, match="no second world"):
        Failing(agent("cart-pole"), [], 0)
    assert len(closed) == 1

    class Env:
        spec = CartPole().spec

        def reset(self, seeds: Any) -> None:
            raise Failure("it cannot begin")

        def close(self) -> None:
            closed.append(self)

    class World:
        spec = CartPole().spec

        def open(self) -> Env:
            return Env()

    with pytest.raises(Failure, match="it cannot begin"):
        Run(World(), agent("cart-pole").policy, 0, 40.0)  # type: ignore[arg-type]
    assert len(closed) == 2


def test_a_scene_that_raises_is_restarted_with_another_seed_and_given_up_when_it_raises_again(monkeypatch, capsys):
    player, line = playing(monkeypatch, Broken)
    sent = line.sent
    for _ in range(9):
        if player.scene is not None:
            player.guard(player.show)
    kinds = [message.get("type", "frame") for message in sent]
    assert kinds == ["scene", "frame", "frame", "problem", "scene", "frame", "frame", "problem", "scene", "frame", "frame", "problem"]
    assert player.opened["seed"] == 6
    assert [m["fatal"] for m in sent if m.get("type") == "problem"] == [False, False, True]
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_other_origins_are_refused(served, origin):
    with pytest.raises(InvalidStatus), served.connect(origin=origin):
        pass


def test_a_token_is_needed_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    server = Served({"cart-pole": zoo.FOLDER / "cart-pole"}, token="right-token")
    try:
        for query in ("", "?token=", "?token=wrong", "?token=%C3%BC"):
            assert server.get(f"/api/gallery{query}")[0] == 403
            assert server.get(f"/api/thumbnail/cart-pole{query}")[0] == 403
            with pytest.raises(InvalidStatus), server.connect(query):
                pass
        assert server.get("/?token=wrong")[0] == 200
        assert server.get("/api/gallery?token=right-token")[0] == 200
        with server.connect("?token=right-token") as page:
            tell(page, type="open", agent="cart-pole", scene="any", seed=0)
            watch(page, lambda m: m.get("frame") == 1)
    finally:
        server.close()


@pytest.mark.parametrize("path", [
    "/../pyproject.toml", "/assets/../server.py", "/assets/%2e%2e%2fserver.py", "/assets/..%2f..%2fserver.py", "/assets//etc/passwd", "/assets/%2fetc%2fpasswd",
    "/assets/....//server.py", "/assets/..\\server.py", "/static/index.html", "/api/thumbnail/..%2f..%2fcard.json", "/api/thumbnail/%2fetc%2fpasswd", "/assets/%00",
    "/api/thumbnail/cart-pole%00.json", "//etc/passwd", "/assets/", "/.git/config",
])  # fmt: skip
def test_no_other_file_is_read(served, path):
    status, body = served.get(path)
    assert status in (404, 400, 405, 307), path
    assert b"root:" not in body
    assert b"import" not in body


def test_pages_have_headers_that_keep_others_out(served):
    import httpx

    answer = httpx.get(served.address + "/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    own = served.address.removeprefix("http://")
    assert f"connect-src 'self' ws://{own} wss://{own}" in answer.headers["content-security-policy"]
    assert served.get("/", Host="evil.example")[0] == 403
    assert served.get("/api/gallery", Host="evil.example")[0] == 403


@pytest.mark.parametrize("host", [None, "", "a b", "x; script-src *", "a.example:1,b", "[::1", "a:b"])
def test_no_other_host_gets_into_the_policy_of_a_page(host):
    assert policy(host).endswith("connect-src 'self'")
    assert policy("[::1]:8200").endswith(" ws://[::1]:8200 wss://[::1]:8200")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MUTATED = st.builds(
    lambda message, key, value: {**message, key: value},
    st.sampled_from(GOOD), st.sampled_from(["type", "agent", "scene", "seed", "name", "value", "held", "panel", "x", "y", "down", "frame", "extra"]), JSON,
)  # fmt: skip
HOSTILE = st.one_of(st.binary(max_size=300), st.text(max_size=300), JSON.map(json.dumps), MUTATED.map(json.dumps), st.just("x" * 5000))


def test_malformed_messages_never_stop_the_server(served):
    count, sent = int(os.environ.get("SENSORIUM_HOSTILE", "150")), 0
    with ExitStack() as stack:
        # the answers are not read, so that closing would wait for them
        page = stack.enter_context(served.connect(close_timeout=0.2))
        tell(page, type="open", agent="cart-pole", scene="senses", seed=0)
        watch(page, lambda m: m.get("frame") == 1)

        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(HOSTILE)
        @example("")
        def send(message: str | bytes) -> None:
            nonlocal page, sent
            sent += 1
            try:
                page.send(message)
            except ConnectionClosed:
                sent -= 1
            # several connections, since each has its own allowance, and one that sends too much at once is closed
            if sent % 250 == 0 or page.state is not State.OPEN:
                stack.pop_all().close()
                page = stack.enter_context(served.connect(close_timeout=0.2))

        send()
    assert sent >= 0.9 * count
    assert served.get("/api/gallery")[0] == 200
    with served.connect() as page:
        tell(page, type="open", agent="cart-pole", scene="senses", seed=0)
        watch(page, lambda m: m.get("frame") == 5)


def test_schemathesis_finds_no_server_error(served):
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_url(f"{served.address}/openapi.json")
    checked = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=int(os.environ.get("SENSORIUM_HOSTILE", "25")),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def probe(case: Any) -> None:
            assert case.call().status_code < 500

        probe()
        checked += 1
    assert checked == 3


def memory(pid: int) -> float:
    """Resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_visitor_who_does_not_read_makes_nothing_grow(served):
    served.emptied()
    # a client that reads one message, and claims to have shown everything
    with served.connect(max_queue=1) as page:
        tell(page, type="open", agent="cart-pole", scene="senses", seed=0)
        watch(page, lambda m: m.get("frame") == 1, show=False)
        (mine,), sizes = served.processes(), []
        for _ in range(4):
            for _ in range(100):
                tell(page, type="shown", frame=2**31 - 1)
                time.sleep(0.005)
            sizes.append(sum(memory(pid) for pid in (os.getpid(), mine)))
    assert sizes[-1] - sizes[1] < 10
    assert served.get("/api/gallery")[0] == 200


@pytest.mark.slow
def test_eight_visitors_at_once(served):
    with ExitStack() as stack:
        pages = [stack.enter_context(served.connect()) for _ in range(8)]
        for number, page in enumerate(pages):
            tell(page, type="open", agent="cart-pole", scene="senses", seed=number)
        for page in pages:
            watch(page, lambda m: m.get("frame") == 1)
        counts, end = [0] * 8, time.monotonic() + 3

        def read(number: int) -> None:
            while time.monotonic() < end:
                watch(pages[number], lambda m: "frame" in m)
                counts[number] += 1

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # other tests may run beside this one; bench/playground.py measures the rate
    assert min(counts) > 3 * 3


def test_more_visitors_than_allowed_are_turned_away(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    server = Served({"cart-pole": zoo.FOLDER / "cart-pole"}, visitors=1)
    try:
        with server.connect(), server.connect() as second, pytest.raises(ConnectionClosed) as refused:
            second.recv(timeout=10)
        assert refused.value.rcvd is not None
        assert (refused.value.rcvd.code, refused.value.rcvd.reason) == (1013, "all 1 places of this server are taken")
        time.sleep(0.3)
        with server.connect() as page:
            tell(page, type="press", name="x")
            assert watch(page, lambda m: m.get("type") == "problem")["message"] == "no scene is open"
    finally:
        server.close()


# the command


def test_folders_have_names_and_those_without_an_agent_are_refused(tmp_path):
    found = command.agents(["zoo/cart-pole", str(zoo.FOLDER / "cart-pole"), str(zoo.FOLDER / "cart-pole-clone" / "1-baseline")])
    assert list(found) == ["cart-pole", "cart-pole 2", "1-baseline"]
    assert list(command.agents([])) == sorted(path.name for path in zoo.FOLDER.glob("*") if path.is_dir())
    with pytest.raises(Usage, match="holds no agent"):
        command.agents([str(tmp_path)])
    with pytest.raises(Usage, match="no folder"):
        command.agents([str(tmp_path / "nothing")])


def test_a_taken_port_is_one_sentence_or_the_next_one():
    with closing(command.listening("127.0.0.1", None)) as first, closing(command.listening("127.0.0.1", None)) as second:
        assert first.getsockname()[1] < second.getsockname()[1] < command.PORT + command.TRIES
        with pytest.raises(Failure, match=r"^cannot listen on 127.0.0.1, port \d+: .*; give another --port, or none to take a free one$"):
            command.listening("127.0.0.1", second.getsockname()[1])
    with pytest.raises(Usage, match="--port cannot be 70000"):
        command.listening("127.0.0.1", 70000)


def test_a_missing_extra_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr(worker, "prepare", lambda: None)
    with pytest.raises(Failure, match=r"pip install 'sensorium\[web\]'"):
        command.play(["zoo/cart-pole"], browser=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_starts_and_a_signal_ends_it_and_its_processes(number, tmp_path):
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "sensorium.cli", "play", "zoo/cart-pole", "--no-browser", "--port", "0"], stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("sensorium: http://127.0.0.1:")
        assert time.monotonic() - started < 15
        port = int(line.split(":")[3].split("/")[0])
        with connect(f"ws://127.0.0.1:{port}/api/scene", origin=f"http://127.0.0.1:{port}", proxy=None) as page:  # type: ignore[arg-type]
            tell(page, type="open", agent="cart-pole", scene="any", seed=0)
            watch(page, lambda m: m.get("frame") == 1)
            process.send_signal(number)
            assert process.wait(15) == 0
    finally:
        process.kill()
        process.stderr.close()
    end = time.monotonic() + 5
    while in_session(process.pid):
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.05)


def in_session(session: int) -> list[str]:
    """The processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(path.parent.name)
    return found
