"""The command line's contract: grammar, JSON as the only output on stdout, and results."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium import cli, registry
from sensorium.commands.files import chain
from sensorium.core import card, checkpoint, zoo
from sensorium.core.env import World
from sensorium.core.errors import Failure, Usage
from sensorium.core.run import run
from sensorium.core.stats import bootstrap_interval, interquartile_mean
from sensorium.core.table import Row
from sensorium.doctor import EXTRAS
from sensorium.envs import worlds
from sensorium.envs.take_cover import TakeCover
from sensorium.plan import estimate
from tests.conftest import REFERENCE, needs
from tests.conftest import trained as tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "clone"
    assert cli.main(["train", "cart-pole-clone", "--preset", "tiny", "--out", str(out)]) == 0
    return out


def document(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    """The one JSON document that a command prints."""
    capsys.readouterr()
    assert cli.main(arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_help_imports_nothing_heavy():
    program = "import sys; from sensorium.cli import parser; parser().format_help(); print([m for m in ('torch', 'tyro', 'matplotlib', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


def test_list_needs_no_extra():
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({list(EXTRAS.values())})); from sensorium import cli; sys.exit(cli.main(['list']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout for name in (*registry.table("RECIPES"), *checkpoint.shipped()))


@pytest.mark.parametrize(
    ("command", "given", "expected"),
    [
        (["train", "nothing"], {}, cli.SPINS),
        (["evaluate", "nowhere", "--world", "cart-pole", "--world.horizon", "10"], {}, cli.SPINS),
        (["evaluate", "nowhere", "--import", "torch"], {"GOMP_SPINCOUNT": "7"}, "7"),
        (["evaluate", "nowhere", "--import", "torch"], {"OMP_WAIT_POLICY": "active"}, "unset"),
    ],
)
def test_waits_of_threads_are_configured_before_torch_is_imported(command, given, expected):
    program = (
        "import os, sys\nfrom sensorium import cli\n"
        "class Finder: find_spec = staticmethod(lambda name, *_: print(os.environ.get('GOMP_SPINCOUNT', 'unset')) if name == 'torch' else None)\n"
        f"sys.meta_path.insert(0, Finder)\ncli.main({command})"
    )
    others = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=others | given).stdout == f"{expected}\n"


def test_help_of_everything(capsys):
    for command in (
        [],
        ["list"],
        ["plan"],
        ["evaluate"],
        ["verify"],
        ["import"],
        ["report"],
        ["doctor"],
        ["bench"],
        ["train", "cart-pole"],
        ["train", "clone", "--onward", "True"],
        ["train", "proto-states.walker_run"],
    ):
        with pytest.raises(SystemExit) as end:
            cli.main([*command, "--help"])
        assert end.value.code == 0
    output = capsys.readouterr().out
    expected = ("--evolve.episodes", "--sensor_dropout (default: 0.0)", "--ascend.window", "sensorium train proto-states.walker_run")
    assert all(words in output for words in expected)


def test_list_has_every_recipe_with_its_stages(capsys):
    listed = document(["list", "--json"], capsys)
    recipes = {recipe["name"]: recipe for recipe in listed["recipes"]}
    assert {"cart-pole", "cart-pole-clone", "cart-pole-mlp", "cart-pole-mlp-10", "cart-pole-mlp-shuffled"} <= set(recipes)
    assert recipes["cart-pole-clone"]["stages"] == ["baseline", "clone", "ascend"]
    for recipe in recipes.values():
        assert {"name", "system", "stages", "arguments", "preset", "expected", "hours", "extras"} <= set(recipe)


def test_evaluate_has_the_keys_of_the_contract(trained, capsys):
    result = document(["evaluate", str(trained), "--episodes", "7", "--seed", "3", "--senses", "shuffle,noise:2", "--json"], capsys)
    keys = {"recipe", "episodes", "mean", "sd", "median", "iqm", "ci95", "returns", "senses", "world", "seconds", "env_steps_per_second"}
    assert keys <= set(result)
    assert (result["recipe"], result["episodes"], result["senses"], result["world"]) == (
        "cart-pole-clone",
        7,
        "shuffle,noise:2",
        "cart-pole",
    )
    assert len(result["returns"]) == 7
    assert result["mean"] == pytest.approx(sum(result["returns"]) / 7, abs=1e-3)
    assert result["ci95"][0] <= result["mean"] <= result["ci95"][1]
    again = document(
        ["evaluate", str(trained / "3-ascend"), "--episodes", "7", "--seed", "3", "--senses", "shuffle,noise:2", "--json"], capsys
    )
    assert again["returns"] == result["returns"]


def test_evaluate_in_another_world(capsys, trained):
    assert document(["evaluate", str(trained), "--episodes", "3", "--world", "toy", "--json"], capsys)["world"] == "toy"


@pytest.mark.parametrize("name", registry.table("TABLES"))
def test_verify_measures_every_table(name, trained, capsys, monkeypatch):
    recipes = {
        "world-models/car-racing": "car-racing", "world-models/temperature": "take-cover", "attention-neuron/car-racing": "car-patches",
        "attention-neuron/reshuffle": "car-patches", "attention-neuron/ant": "ant-clone", "attention-neuron/pong": "pong-clone", "proto-rl/pixels": "proto-pixels", "proto-rl/urlb-states": "proto-states",
    }  # fmt: skip
    if name in recipes:
        needs(registry.recipe(recipes[name]).extras)
    agent = tiny(recipes[name]) if name in recipes else trained if name.startswith("attention-neuron") else None
    episodes = 20 if agent == trained else 2
    monkeypatch.setattr("sensorium.systems.world_models.tables.DOOM", TakeCover(horizon=20))
    monkeypatch.delenv("SENSORIUM_REFERENCE", raising=False)
    table = document(["verify", name, *(["--agent", str(agent)] if agent else []), "--episodes", str(episodes), "--json"], capsys)
    assert table["name"] == name
    measured = [row for row in table["rows"] if row["verdict"] != "not-run"]
    assert bool(measured) == bool(agent)
    keys = {"cell", "aim", "paper_mean", "paper_sd", "paper_episodes", "mean", "sd", "ci95", "episodes", "verdict"}
    assert all(set(row) == keys for row in table["rows"])
    assert all(row["episodes"] == episodes for row in measured)


def test_verify_reads_the_authors_model_where_it_is_available(capsys, monkeypatch):
    if not (REFERENCE / "world_models").is_dir():
        pytest.skip(f"the authors' files are not at {REFERENCE} (SENSORIUM_REFERENCE names another folder)")
    monkeypatch.setenv("SENSORIUM_REFERENCE", str(REFERENCE))
    rows = document(["verify", "world-models/import", "--json"], capsys)["rows"]
    assert [row["verdict"] for row in rows] == ["reproduced", "reproduced"]


def test_an_agent_of_another_system_is_a_usage_error(trained, capsys):
    for name, agent in (("world-models/car-racing", trained), ("attention-neuron/cart-pole", tiny("car-racing"))):
        assert cli.main(["verify", name, "--agent", str(agent)]) == 2


def test_verdicts_follow_the_rule():
    def verdict(aim, ours, sd=100.0, interval=10.0):
        result = {"mean": ours, "sd": sd, "ci95": (ours - interval, ours + interval), "episodes": 400}
        return Row("x", aim, 200.0, 100.0, 400).measured(result).verdict

    assert verdict("at-least", 191) == "reproduced"
    assert verdict("at-least", 189) == "short"
    assert verdict("at-least", 900) == "reproduced"
    # both standard errors are 5: 1.96 x 7.07 = 13.9, less than a tenth of 200
    assert verdict("same", 219.9) == "reproduced"
    assert verdict("same", 220.1) == "differs"
    assert verdict("same", 227, sd=400.0) == "reproduced"
    assert Row("x", "same", 200.0, 100.0, 400).verdict == "not-run"


def test_a_number_under_another_protocol_does_not_reproduce_the_papers():
    reached = {"mean": 210.0, "sd": 10.0, "ci95": [205.0, 215.0], "episodes": 10}
    assert Row("x", "at-least", 200.0, None, None, comparable=False).measured(reached).verdict == "not-comparable"
    assert Row("x", "same", 200.0, None, None, comparable=False).measured(reached).verdict == "not-comparable"
    assert Row("x", "at-least", 300.0, None, None, comparable=False).measured(reached).verdict == "short"


def test_the_zoos_walker_explored_for_a_tenth_of_urlbs_frames(capsys):
    rows = document(["verify", "proto-rl/urlb-states", "--json"], capsys)["rows"]
    assert [row["verdict"] for row in rows if row["cell"].startswith("walker_run")] == ["not-comparable"]


def test_plan_estimates_minutes_disk_and_memory(capsys):
    planned = document(["plan", "cart-pole-clone", "--preset", "tiny", "--json"], capsys)
    assert [stage["name"] for stage in planned["stages"]] == ["baseline", "clone", "ascend"]
    assert planned["minutes"] >= 0
    assert planned["disk_mb"] > 0
    assert planned["memory_mb"] > 50


def test_plan_takes_the_settings_of_train(capsys):
    settings = ["--world.kwargs.g", "5", "--evolve.steps", "3", "--evolve.search.population", "4"]
    planned = document(["plan", "neurons-mlp.gym:Pendulum-v1", "--preset", "tiny", *settings, "--json"], capsys)
    assert [(stage["name"], stage["steps"]) for stage in planned["stages"]] == [("evolve", 3)]
    assert cli.main(["plan", "cart-pole-mlp", "--preset", "tiny", "--evolve.stepps", "3"]) == 2
    assert "did you mean steps" in capsys.readouterr().err
    assert cli.main(["plan", "cart-pole-mlp", "--world.horizon", "3"]) == 2


def test_plan_times_the_second_round_of_a_loop_and_no_third(monkeypatch):
    ran = []
    monkeypatch.setattr("sensorium.plan.run", lambda stage, folder: (ran.append(folder.name), run(stage, folder)))
    stages = estimate("iterate", "tiny", ["--rounds", "3"])["stages"]
    assert {name.partition("-")[2] for name in ran} == {stage["name"] for stage in stages if not stage["name"].endswith("-3")}
    assert stages[-1]["name"] == "controller-3"
    assert stages[-1]["seconds_per_step"] == next(stage for stage in stages if stage["name"] == "controller-2")["seconds_per_step"]


def test_report_is_one_self_contained_file(trained, capsys, monkeypatch, short_cart_poles):
    monkeypatch.setattr("sensorium.systems.attention_neuron.figures.cart_pole.EPISODES", 30)
    assert cli.main(["report", str(trained)]) == 0
    path = Path(capsys.readouterr().out.strip())
    page = path.read_text()
    assert path == trained / "report.html"
    assert page.count("data:image/png;base64,") >= 3
    assert "data:video/mp4;base64," in page
    assert "http" not in page.replace("http-equiv", "")


def test_several_seeds_make_several_folders(tmp_path, capsys):
    assert cli.main(["train", "cart-pole-mlp", "--preset", "tiny", "--out", str(tmp_path), "--seeds", "1..2", "--evolve.steps", "2"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-1", "seed-2"]
    capsys.readouterr()
    assert cli.main(["evaluate", str(tmp_path)]) == 2
    assert "choose one" in capsys.readouterr().err


def test_processes_train_the_same_agent(tmp_path):
    for place in ("here", "processes:2"):
        command = [
            "train",
            "cart-pole-mlp",
            "--preset",
            "tiny",
            "--evolve.steps",
            "2",
            "--evolve.block",
            "2",
            "--on",
            place,
            "--out",
            str(tmp_path / place),
        ]
        assert cli.main(command) == 0
    tensors = [(tmp_path / place / "1-evolve" / "step-00000002.safetensors").read_bytes() for place in ("here", "processes:2")]
    assert tensors[0] == tensors[1]


def test_doctor_runs_every_check(capsys):
    checks = {check["name"]: check for check in document(["doctor", "--json"], capsys)["checks"]}
    assert checks["cart-pole"]["works"]
    assert all(check["mend"] for check in checks.values())


def test_imported_weights_evaluate(authors_cart_pole, tmp_path, capsys):
    assert cli.main(["import", "attention-neuron/cart-pole", str(authors_cart_pole), "--out", str(tmp_path / "authors")]) == 0
    result = document(["evaluate", str(tmp_path / "authors"), "--episodes", "1000", "--json"], capsys)
    assert result["mean"] == pytest.approx(491, abs=50)


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_zoo_agents_play(name):
    folder = checkpoint.shipped()[name]
    needs(registry.recipe(card.read(checkpoint.agent(folder))["recipe"]).extras)
    stage, state = checkpoint.restored(folder)
    assert stage.policy(state).members == 1
    assert set(stage.learned) <= set(state)


def test_every_stage_of_the_zoo_is_read():
    cards = sorted(zoo.FOLDER.rglob("card.json"))
    assert len(cards) >= 8
    assert all(checkpoint.stage(path.parent).steps >= 0 for path in cards)


def test_interquartile_mean_and_interval_have_known_values():
    assert interquartile_mean([1, 2, 3, 100]) == 2.5
    assert interquartile_mean([0, 1, 2]) == pytest.approx((0.25 * 0 + 1 + 0.25 * 2) / 1.5)
    low, high = bootstrap_interval([float(i % 2) for i in range(400)])
    assert (low, high) == (pytest.approx(0.451, abs=0.01), pytest.approx(0.549, abs=0.01))


@pytest.mark.parametrize("shape", [(1, 5), (3, 7), (2, 700)])
def test_interval_equals_resampling_one_table_after_another(shape):
    table, draw = np.random.default_rng(1).normal(300, 100, shape), np.random.default_rng(0)
    means = [np.take_along_axis(table, draw.integers(0, shape[1], shape), 1).mean() for _ in range(2000)]
    assert bootstrap_interval(table) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), rel=1e-12)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (["evolve"], "evolve"),
        (["a", "b", "a-2", "b-2", "a-3", "b-3"], "(a -> b) x 3"),
        (["teacher", "teach", "clone", "teach-2", "clone-2"], "teacher -> (teach -> clone) x 2"),
        (["collect", "vision", "memory"], "collect -> vision -> memory"),
    ],
)
def test_repeated_stages_are_collapsed(stages, expected):
    assert chain(stages) == expected


def test_list_fits_the_terminals_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["list"]) == 0
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())


WORLDS = [name for name in registry.WORLDS if name != "control" or find_spec("dm_control")]


@pytest.mark.parametrize("name", WORLDS)
def test_every_agent_fits_a_world_or_is_a_usage_error(name, capsys):
    """Specs decide, except for pairs of vector observations, where one step of the agent decides."""
    world = worlds.world(name)
    for folder in checkpoint.shipped().values():
        if not world_of(folder):
            continue
        trained = world_of(folder).spec
        differs = (trained.action, trained.discrete, trained.kind) != (world.spec.action, world.spec.discrete, world.spec.kind)
        differs |= trained.observation != world.spec.observation and trained.kind != "vector"
        if differs:
            assert cli.main(["evaluate", str(folder), "--world", name, "--episodes", "1"]) == 2
            assert "cannot play in" in capsys.readouterr().err
        elif trained.observation != world.spec.observation:
            seeds = torch.zeros(2, dtype=torch.int64)
            policy = checkpoint.policy(folder)
            with suppress(Usage):
                policy.act(torch.zeros(2, *world.spec.observation), policy.begin(seeds), 0)


def world_of(folder: Path) -> World | None:
    """The world in which an agent was trained; None where its library is not installed."""
    try:
        world = checkpoint.stage(checkpoint.agent(folder)).world
        world.spec  # noqa: B018
    except Failure:
        return None
    return world
