"""The senses suite: pairs of the same seed, treatments that a policy cannot take, recovery, the document and the comparison of two agents."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import sensorium
from sensorium import cli, registry
from sensorium.core.errors import Usage
from sensorium.core.machine import one_thread
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.core.stats import bootstrap_interval
from sensorium.envs import worlds
from sensorium.envs.car_racing import CarFrames
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.pong import Pong
from sensorium.envs.sensed import Sensed
from sensorium.envs.take_cover import TakeCover
from sensorium.envs.toy import Toy
from sensorium.envs.wrappers import Treated, altered, wrapped
from sensorium.robustness import FORMAT, compare, examine
from sensorium.robustness.cases import Case, cases, refusal
from sensorium.robustness.recovery import recovery
from sensorium.robustness.suite import played

KEYS = {
    "format", "agent", "world", "settings", "observation", "episodes", "seed", "control", "trained", "machine", "seconds", "rows",
}  # fmt: skip
ROW_KEYS = {
    "name", "spec", "applicable", "reason", "mean", "sd", "ci95", "length", "difference", "difference_ci95", "share_kept", "recovery", "returns",
}  # fmt: skip


@dataclass(frozen=True)
class Fixed:
    """A policy that ignores its input."""

    action: float = 0.3
    members: int = 1

    def begin(self, seeds):
        return ()

    def act(self, obs, memory, t):
        return torch.full((len(obs), 1), self.action), memory

    def take(self, members):
        return self


@dataclass(frozen=True)
class Linear:
    """A policy with three inputs that moves the toy's point to the origin; `error` is what it raises for other numbers, by default torch's own."""

    error: type[Exception] | None = None
    sign: float = -5.0
    members: int = 1

    def begin(self, seeds):
        return ()

    def act(self, obs, memory, t):
        if self.error and obs.shape[1] != 3:
            raise self.error(f"three inputs, not {obs.shape[1]}\nand more lines")
        return obs @ torch.tensor([[self.sign], [0.0], [0.0]]), memory

    def take(self, members):
        return self


def rows_of(document: dict) -> dict[str, dict]:
    return {row["spec"]: row for row in document["rows"]}


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Small batches are fastest with one thread."""
    with one_thread():
        yield


@pytest.fixture
def only(monkeypatch):
    """Play only some treatments."""

    def limit(*specs: str) -> None:
        monkeypatch.setattr("sensorium.robustness.suite.cases", lambda world: [Case(spec, spec) for spec in specs])

    return limit


@pytest.mark.parametrize("world", [CartPole(horizon=60), Toy()])
def test_a_policy_that_ignores_its_input_loses_exactly_nothing(world):
    document = examine(world, Fixed(), 12, seed=3)
    assert len(document["rows"]) > 15
    for row in document["rows"]:
        assert row["applicable"], row["reason"]
        assert (row["difference"], row["difference_ci95"]) == (0.0, [0.0, 0.0]), row["name"]
        assert row["returns"] == document["rows"][0]["returns"]


def test_an_invariant_agent_keeps_its_return_under_shuffles_and_a_feed_forward_one_does_not(only):
    only("shuffle")
    clone, feed_forward = (
        rows_of(examine(CartPole(), sensorium.load(f"zoo/{name}"), 60))["shuffle"] for name in ("cart-pole-clone", "cart-pole-mlp")
    )
    assert clone["share_kept"] > 0.93
    assert clone["difference_ci95"][0] > -60
    assert feed_forward["share_kept"] < 0.3
    assert feed_forward["difference_ci95"][1] < -200
    # the paired interval is narrower than that of the mean
    assert clone["difference_ci95"][1] - clone["difference_ci95"][0] < 0.5 * (clone["ci95"][1] - clone["ci95"][0])


def test_a_row_equals_its_evaluation_alone(only):
    only("delay:3", "noise:5", "shuffle:every=100")
    document = examine(CartPole(), sensorium.load("zoo/cart-pole-clone"), 6, seed=5)
    for row in document["rows"]:
        alone = sensorium.evaluate("zoo/cart-pole-clone", 6, 5, row["spec"])
        assert alone["returns"] == row["returns"]
        assert (alone["mean"], alone["sd"], alone["ci95"]) == (row["mean"], row["sd"], row["ci95"])


def test_pairs_have_the_same_seed_where_one_of_them_ends_early(only):
    only("scale:-3")
    world, policy, seeds = Toy(), Linear(), row_seeds(7, 40)
    control, row = examine(world, policy, 40, seed=7)["rows"]
    # the wrong sign drives some of the points out
    assert row["length"] < control["length"] == world.horizon
    alone = [[float(play(Sensed(world, spec).open(), policy, seed).returns) for seed in seeds.split(1)] for spec in ("", "scale:-3")]
    np.testing.assert_allclose([control["returns"], row["returns"]], alone, atol=1e-3)
    difference = np.subtract(alone[1], alone[0])
    assert row["difference"] == pytest.approx(difference.mean(), abs=1e-3)
    assert row["difference_ci95"] == pytest.approx(list(bootstrap_interval(difference)), abs=1e-3)
    assert row["share_kept"] == pytest.approx(np.mean(alone[1]) / np.mean(alone[0]), abs=1e-3)


def test_the_document_has_its_schema_and_is_json():
    document = sensorium.senses(Toy(), Linear(Usage), episodes=5, seed=2)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document) == KEYS
    assert all(set(row) == ROW_KEYS for row in document["rows"])
    assert (document["format"], document["world"], document["episodes"], document["seed"]) == (FORMAT, "toy", 5, 2)
    assert document["settings"] == "Toy(horizon=20)"
    assert document["observation"] == {"kind": "vector", "shape": [3], "sensors": ["place", "move", "one"]}
    assert {"processor", "torch"} <= set(document["machine"])
    assert len({row["name"] for row in document["rows"]}) == len({row["spec"] for row in document["rows"]}) == len(document["rows"])
    first = document["rows"][0]
    assert (first["name"], first["spec"], first["difference"], first["share_kept"]) == ("untreated", "", 0.0, 1.0)
    assert all(len(row["returns"]) == (5 if row["applicable"] else 0) for row in document["rows"])


@pytest.mark.parametrize("error", [Usage, None, ValueError])
def test_treatments_that_an_architecture_cannot_take_are_marked(error):
    document = examine(Toy(), Linear(error), 3)
    missing = {row["spec"]: row for row in document["rows"] if not row["applicable"]}
    assert set(missing) == {"noise:1", "noise:5", "drop:0.333333"}
    assert all(row["mean"] is None and row["recovery"] is None and "\n" not in row["reason"] for row in missing.values())
    if error:
        assert "three inputs, not 4" in missing["noise:1"]["reason"]


def test_an_error_for_the_worlds_own_observations_is_not_hidden():
    class Broken(Fixed):
        def act(self, obs, memory, t):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        examine(Toy(), Broken(), 3)
    with pytest.raises(Usage, match="does not fit cart-pole: three inputs"):
        examine(CartPole(), Linear(Usage), 3)


def test_the_control_has_the_treatment_of_training_where_the_policy_needs_it(only):
    only("shuffle")
    control, row = examine(CartPole(), sensorium.load("zoo/cart-pole-mlp-10"), 4, trained="duplicate")["rows"]
    assert (control["name"], control["spec"], row["spec"]) == ("as trained", "duplicate", "duplicate,shuffle")
    assert control["returns"] == sensorium.evaluate("zoo/cart-pole-mlp-10", 4)["returns"]
    document = examine(Sensed(Toy(), "swap:1"), Linear(), 4)
    assert [(row["name"], row["spec"]) for row in document["rows"][:2]] == [("untreated", ""), ("as trained", "swap:1")]


def test_shares_are_of_the_channels_of_the_control(monkeypatch):
    seen = []
    monkeypatch.setattr("sensorium.robustness.suite.cases", lambda world: seen.append(world.spec.observation) or [])
    examine(CartPole(), sensorium.load("zoo/cart-pole-mlp-10"), 1, trained="duplicate")
    assert seen == [(10,)]


WORLDS = [name for name in registry.WORLDS if name != "control" or find_spec("dm_control")]


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_treatments_or_one_sentence(name):
    world = altered(worlds.world(name), "")
    if world.spec.kind != "vector" and not isinstance(world, Treated):
        with pytest.raises(Usage, match="no treatments"):
            cases(world)
        return
    found = cases(world)
    assert len({case.spec for case in found}) == len({case.name for case in found}) == len(found)
    assert sum(case.reshuffle > 0 for case in found) == 1
    for case in found:
        try:
            treated = wrapped(world, Fixed(), case.spec)[0]
        except Usage:
            assert world.spec.kind != "vector"
            continue
        assert len(treated.spec.observation) == len(world.spec.observation)


def test_images_have_treatments_of_patches_and_the_world_refuses_what_it_has_not():
    reasons = {case.spec: refusal(Pong(), sensorium.load("zoo/pong-clone"), case.spec) for case in cases(Pong())}
    assert reasons["patches"] is reasons["occlude:0.7"] is reasons["blackout:0.3"] is reasons["noise:5"] is None
    assert "background" in reasons["background:dunes"]
    assert "whole frames" in refusal(CarFrames(), Fixed(), "patches")
    with pytest.raises(Usage, match="take-cover"):
        examine(TakeCover(), Fixed(), 1)


def test_both_arms_are_equal_up_to_the_shuffle():
    world, policy, seeds = CartPole(horizon=200), sensorium.load("zoo/cart-pole-mlp"), row_seeds(0, 30)
    arms = [played(*wrapped(world, policy, spec), seeds, keep=("rewards",)) for spec in ("", "shuffle:every=100:late")]
    (_, lengths, untreated), (_, _, treated) = arms
    np.testing.assert_array_equal(untreated[:100], treated[:100])
    assert (untreated[100:, lengths > 150] != treated[100:, lengths > 150]).any(0).all()


def synthetic(low: float, until: int, steps: int = 300, at: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    untreated = np.ones((steps, 8), np.float32)
    treated = untreated.copy()
    treated[at : at + until] = low
    return untreated, treated, np.full(8, steps)


def test_recovery_has_a_worked_number():
    # zeros at steps 0 to 39 after the shuffle: a window of 25 holds at least three of them until it ends at step 61
    found = recovery(*synthetic(0.0, 40), 100)
    assert (found["steps"], found["ci95"], found["pairs"], found["limit"]) == (62.0, [62.0, 62.0], 8, 100)
    assert found["curve"]["first"] == -76
    assert found["curve"]["treated"][76 - 1] == 1.0
    assert found["curve"]["treated"][76] == pytest.approx(24 / 25)
    assert recovery(*synthetic(0.95, 100), 100)["steps"] == 0.0
    lost = recovery(*synthetic(0.5, 200), 100)
    assert lost["meaningful"]
    assert (lost["steps"], lost["ci95"]) == (None, [None, None])


def test_recovery_is_marked_where_it_says_nothing():
    untreated, treated, lengths = synthetic(0.0, 40)
    for arms, numbers, reason in (
        ((untreated - 1, treated - 1), lengths, "not positive"),
        ((untreated, treated), np.full(8, 100), "no episode lasts longer"),
        ((untreated[:110], treated[:110]), lengths, "too short"),
    ):
        found = recovery(*arms, numbers, 100)
        assert not found["meaningful"]
        assert reason in found["reason"]
        assert found["steps"] is None
        json.dumps(found, allow_nan=False)


def test_recovery_counts_the_episodes_that_reach_the_shuffle():
    untreated, treated, lengths = synthetic(0.0, 40)
    ended = np.concatenate([np.ones((300, 4)), np.zeros((300, 4))], 1).astype(np.float32)
    found = recovery(untreated * ended, treated * ended, np.where(np.arange(8) < 4, lengths, 90), 100)
    assert (found["pairs"], found["steps"]) == (4, 62.0)


def test_two_agents_are_compared_by_pairs():
    first, second = (examine(Toy(), policy, 9, agent=name) for policy, name in ((Linear(), "a"), (Fixed(0.0), "b")))
    found = compare(first, second)
    assert found["paired"]
    names = [row["name"] for row in found["rows"]]
    assert names == [row["name"] for row in first["rows"]]
    for row, one, other in zip(found["rows"], first["rows"], second["rows"], strict=True):
        if not one["applicable"]:
            assert row["difference"] is row["effect_difference_ci95"] is None
            continue
        difference = np.subtract(other["returns"], one["returns"])
        effect = difference - np.subtract(second["rows"][0]["returns"], first["rows"][0]["returns"])
        assert row["difference"] == pytest.approx(difference.mean())
        assert row["difference_ci95"] == list(bootstrap_interval(difference))
        assert row["effect_difference"] == pytest.approx(effect.mean(), abs=1e-9)
        assert row["effect_difference_ci95"] == list(bootstrap_interval(effect))
    assert all(row["difference"] in (0, None) for row in compare(first, first)["rows"])


def test_only_equal_worlds_and_seeds_are_paired():
    first = examine(Toy(), Fixed(), 3)
    other = compare(first, examine(Toy(horizon=19), Fixed(), 3))
    assert (other["paired"], other["rows"]) == (False, [])
    assert "Toy(horizon=19)" in other["reason"]
    with pytest.raises(Usage, match="seeds"):
        compare(first, examine(Toy(), Fixed(), 3, seed=1))
    with pytest.raises(Usage, match="format"):
        compare(first, {**first, "format": 0})


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[Path, list[str]]:
    out = tmp_path_factory.mktemp("senses")
    return out, ["senses", "zoo/cart-pole", "zoo/cart-pole-clone", "--world", "toy", "--episodes", "4", "--out", str(out)]


def test_the_command_compares_two_agents(compared, capsys):
    out, command = compared
    assert cli.main([*command, "--json"]) == 0
    printed = capsys.readouterr().out
    document = json.loads(printed)
    assert json.loads((out / "senses.json").read_text()) == document
    assert document["paired"]
    assert [agent["agent"] for agent in document["agents"]] == command[1:3]
    page = (out / "senses.html").read_text()
    assert page.count("data:image/png;base64,") == 1  # episodes of the toy are too short for recovery
    assert "http" not in page
    assert "Differences between the agents" in page
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert all(row["name"] in text for row in document["rows"])


def test_the_command_examines_one_agent(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "sensorium.robustness.suite.cases", lambda world: [Case("late", "shuffle:every=500:late", 500), Case("noise", "noise:1")]
    )
    assert cli.main(["senses", "zoo/cart-pole-mlp", "--episodes", "8", "--out", str(tmp_path / "new")]) == 0
    output = capsys.readouterr()
    assert "not applicable: this network has 5 input channels" in output.out
    assert "Recovery after the shuffle at step 500" in output.out
    assert "s left" in output.err
    assert (tmp_path / "new" / "senses.html").read_text().count("data:image/png;base64,") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["zoo/cart-pole", "zoo/cart-pole", "zoo/cart-pole"], "one agent, or two"),
        (["zoo/cart-pole", "--episodes", "0"], "at least 1"),
        (["zoo/cart-pole", "--world", "cart-pol"], "did you mean"),
        (["zoo/nothing"], "no agent zoo/nothing"),
        (["zoo/cart-pole", "--world", "dream"], "has no dream"),
        (["zoo/cart-pole", "--world", "take-cover"], "cannot play in"),
        (["zoo/cart-pole-mlp", "--world", "toy"], "does not fit toy: this network has 5 input channels"),
        (["zoo/take-cover"], "no treatments for take-cover"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(arguments, said, tmp_path, capsys):
    assert cli.main(["senses", *arguments, "--out", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert said in output.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["senses", "zoo/cart-pole", "--out", str(tmp_path / "file")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
