"""Robustness: no data is lost, and errors are one line with the right exit code."""

import errno
import fcntl
import json
import os
import random
import select
import signal
import subprocess
import sys
import termios
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from sensorium import cli, registry
from sensorium.core import checkpoint
from sensorium.core.card import build
from sensorium.core.errors import Failure, Terminated
from sensorium.core.log import rows
from sensorium.core.processes import fields
from sensorium.core.run import run
from sensorium.doctor import attempt, children
from sensorium.envs.toy import Toy
from sensorium.es.evolve import Evolve
from sensorium.systems.attention_neuron.model import FeedForwardAgent
from tests.conftest import needs, tiny_stages

STAGE = replace(registry.recipe("cart-pole-mlp").stages("tiny")["evolve"], world=Toy(), agent=FeedForwardAgent(3), steps=6)  # type: ignore[type-var]


def run_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and the one line on stderr of a command."""
    capsys.readouterr()
    code = cli.main(arguments)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sensorium: ")]
    assert len(lines) == 1, lines
    return code, lines[0]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    run(STAGE, tmp_path / "run" / "1-evolve", 0, about={"recipe": "cart-pole-mlp"})
    return tmp_path / "run" / "1-evolve"


def newest(folder: Path) -> Path:
    return folder / json.loads((folder / "latest.json").read_text())["checkpoints"][-1]["file"]


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_used(trained, harm, tmp_path, capsys):
    whole, path = newest(trained).read_bytes(), newest(trained)
    if harm == "truncate":
        path.write_bytes(whole[: len(whole) // 2])
    elif harm == "flip":
        path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    else:
        path.unlink()
    loaded = checkpoint.load(trained)
    assert loaded is not None
    assert loaded[0] == 4
    assert path.name in capsys.readouterr().err
    # the resumed run equals an uninterrupted one
    run(STAGE, trained, 0, about={"recipe": "cart-pole-mlp"})
    assert newest(trained).read_bytes() == whole
    assert [row["step"] for row in rows(trained / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_only_damaged_checkpoints_is_a_failure(trained, capsys):
    for path in trained.glob("*.safetensors"):
        path.write_bytes(b"nothing")
    assert cli.main(["evaluate", str(trained), "--episodes", "2"]) == 1
    said = capsys.readouterr().err
    assert all(path.name in said for path in trained.glob("*.safetensors"))
    assert "are damaged; delete the folder" in said.splitlines()[-1]


@pytest.mark.parametrize("harm", ["remove", "damage"])
def test_checkpoints_are_found_without_latest_json(trained, harm, capsys):
    whole = newest(trained)
    if harm == "remove":
        (trained / "latest.json").unlink()
    else:
        (trained / "latest.json").write_text("{")
    loaded = checkpoint.load(trained)
    assert loaded is not None
    assert loaded[0] == 6
    assert "latest.json" in capsys.readouterr().err
    run(replace(STAGE, steps=7), trained, 0)
    assert whole.exists()


def test_settings_that_fail_to_open_leave_no_card(tmp_path, capsys):
    wrong = ["train", "cart-pole-mlp", "--preset", "tiny", "--out", str(tmp_path), "--evolve.steps", "1"]
    assert cli.main([*wrong, "--on", "processes:2"]) == 2
    assert cli.main([*wrong, "--evolve.senses", "shufle"]) == 2
    assert cli.main([*wrong, "--evolve.senses", "shuffle"]) == 0


def test_exactly_two_checkpoints_are_kept_and_no_drafts(trained):
    assert len(list(trained.glob("*.safetensors"))) == 2
    assert not list(trained.glob("*.draft"))


def test_drafts_of_a_killed_process_are_deleted(trained):
    draft = trained / "latest.json.elsewhere.1.draft"
    draft.write_text("{")
    run(STAGE, trained, 0)
    assert not draft.exists()


def test_a_second_process_is_rejected(trained):
    hold = f"import fcntl, sys; f = open({str(trained / '.lock')!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Failure, match="another process"):
            run(STAGE, trained, 0)
        holder.kill()


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission denied")]
)
def test_a_write_error_loses_only_the_last_steps(tmp_path, monkeypatch, number, says):
    folder = tmp_path / "1-evolve"
    reference = tmp_path / "reference"
    run(STAGE, reference, 0)
    real, calls = os.fsync, []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 12:
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(Failure, match=says):
        run(STAGE, folder, 0)
    monkeypatch.setattr(os, "fsync", real)
    assert checkpoint.load(folder) is not None
    run(STAGE, folder, 0)
    # the stage's name, and so its seeds, come from the folder: "1-evolve" and "reference" differ
    assert checkpoint.step_of(folder) == checkpoint.step_of(reference) == 6


def test_a_nan_score_stops_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr("sensorium.es.workers.Workers.scores", lambda self, v, s: torch.full((len(v), 2), float("nan")))
    with pytest.raises(Failure, match="candidate 0 of generation 1 scored nan"):
        run(STAGE, tmp_path / "1-evolve", 0)


WRONG = [
    (["train", "cart-pol"], "did you mean cart-pole"),
    (["train", "cart-pole", "--preset", "labtop"], "did you mean laptop"),
    (["train", "cart-pole", "--evolve.epsiodes", "3"], "did you mean episodes"),
    (["train", "cart-pole", "--evolv.episodes", "3"], "did you mean evolve"),
    (["train", "cart-pole", "--stage.nothing", "3"], "no field of any stage 'nothing'"),
    (["train", "cart-pole", "--evolve.episodes", "many"], "episodes"),
    (["train", "cart-pole", "--seeds", "3"], "A..B"),
    (["train", "cart-pole", "--seeds", "0..1", "--seed", "2"], "not both"),
    (["train", "cart-pole", "--seed", "-1"], "at least 0"),
    (["train", "cart-pole", "--preset", "tiny", "--on", "moon"], "processes:N"),
    (["train", "clone", "--onward", "maybe"], "allowed: True, False"),
    (["train", "cart-pole", "--bogus", "3"], "no argument --bogus"),
    (["train"], "sensorium list"),
    (["evaluate", "nowhere"], "no folder nowhere"),
    (["verify", "attention-neuron/cart-pol"], "did you mean"),
    (["import", "attention-neuron/cartpole", "x.npz", "--out", "y"], "did you mean"),
    (["paint"], "invalid choice"),
    (["verify", "attention-neuron/cart-pole", "--episodes", "0"], "at least 1"),
    (["train", "cart-pole", "--preset", "tiny", "--evolve.checkpoint-every", "0"], "at least 1"),
    (["train", "cart-pole", "--preset", "tiny", "--evolve.search.population", "7"], "even number"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, line = run_command(arguments, capsys)
    assert code == 2
    assert says in line
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_wrong_senses_and_wrong_number_of_channels(trained, capsys):
    code, line = run_command(["evaluate", str(trained), "--senses", "shufle"], capsys)
    assert (code, "did you mean shuffle" in line) == (2, True)
    code, line = run_command(["evaluate", str(trained), "--senses", "noise:2"], capsys)
    assert (code, "3 input channels" in line) == (2, True)
    code, line = run_command(["evaluate", str(trained), "--episodes", "0"], capsys)
    assert (code, "at least 1" in line) == (2, True)


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"is": "os.system"}, "no stage, world or agent"),
        ({"is": None}, "no stage, world or agent"),
        ({"is": "toy", "horizont": 3}, "did you mean horizon"),
        ({"is": "toy", "horizon": "long"}, "cannot be 'long'"),
    ],
)
def test_a_card_with_invalid_names_or_values_is_a_failure(card, says):
    with pytest.raises(Failure, match=says):
        build(card)


def test_deeply_nested_json_is_reported_as_damage(trained):
    (trained / "latest.json").write_text("[" * 100_000)
    assert checkpoint.load(trained)[0] == STAGE.steps
    (trained / "card.json").write_text("[" * 100_000)
    with pytest.raises(Failure, match="is damaged"):
        checkpoint.stage(trained)


def test_importing_a_wrong_file_lists_the_known_layouts(tmp_path, capsys):
    import numpy as np

    path = tmp_path / "x.npz"
    np.savez(path, params=np.zeros(912, np.float32))
    code, line = run_command(["import", "attention-neuron/cart-pole", str(path), "--out", str(tmp_path / "a")], capsys)
    assert (code, "912" in line, "known layouts" in line, "ant 2504" in line) == (2, True, True, True)
    path.write_bytes(b"not a zip")
    code, line = run_command(["import", "attention-neuron/cart-pole", str(path), "--out", str(tmp_path / "a")], capsys)
    assert (code, "cannot be read" in line) == (1, True)
    assert not (tmp_path / "a").exists()


SMALL = {
    "cart-pole-clone": ["--stage.compile", "False", "--stage.steps", "12", "--stage.checkpoint-every", "2", "--clone.steps", "8"],
    "proto-pixels": ["--stage.steps", "12"],
    "take-cover": ["--on", "processes:1", "--stage.steps", "4", "--vision.steps", "2", "--controller.block", "2"],
}


def arguments(out: Path, recipe: str = "cart-pole-clone") -> list[str]:
    return ["train", recipe, "--preset", "tiny", "--out", str(out), "--seed", "4", *SMALL[recipe]]


def begun(out: Path, recipe: str, said: Path) -> BaseProcess:
    """A training run in a child process with torch already imported."""
    program = f"from sensorium import cli; raise SystemExit(cli.main({arguments(out, recipe)}))"
    child = children("torch._dynamo", "sensorium.cli").Process(target=attempt, args=(program, os.devnull, str(said)))
    child.start()
    return child


def ended(child: BaseProcess) -> int | None:
    child.join()
    return child.exitcode


def left(out: Path) -> dict[str, bytes]:
    """For every stage: the tensors listed in latest.json, and the metrics."""
    found = {}
    for folder in checkpoint.stages_of(out):
        found[folder.name], found[f"{folder.name} metrics"] = newest(folder).read_bytes(), (folder / "metrics.jsonl").read_bytes()
    return found


def steps_in(out: Path) -> int:
    """Completed steps of a run, summed over its stages."""
    return sum(len(rows(path)) for path in out.glob("*/metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "longest"), [("cart-pole-clone", [6, 6, 6, 6, 6]), ("take-cover", [3, 6, 4]), ("proto-pixels", [8, 16])]
)
def test_killed_and_resumed_runs_equal_uninterrupted_ones(recipe, longest, tmp_path):
    """Each kill comes after a random number of steps, at most `longest`, and a random part of the next one."""
    needs(registry.recipe(recipe).extras)
    draw, out, said, killed = random.Random(1), tmp_path / "killed", tmp_path / "said", 0
    assert ended(begun(tmp_path / "whole", recipe, said)) == 0
    for most in longest:
        before, child = steps_in(out), begun(out, recipe, said)
        wanted, deadline = before + draw.randint(most // 2, most), time.monotonic() + 60
        while steps_in(out) < wanted and child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert time.monotonic() < deadline
        time.sleep(draw.uniform(0, 0.1))
        child.kill()
        killed += ended(child) == -signal.SIGKILL
        assert (b"resumed" in said.read_bytes()) == bool(before)
    assert killed
    assert ended(begun(out, recipe, said)) == 0
    assert b"resumed" in said.read_bytes()
    assert left(tmp_path / "whole") == left(out)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_the_step_and_saves(number, tmp_path):
    command = [sys.executable, "-m", "sensorium.cli", *arguments(tmp_path / "stopped")]
    command[command.index("12")] = "4000"
    folder = tmp_path / "stopped" / "1-baseline"
    # under nohup a child inherits the ignored SIGHUP
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)) as process:
        deadline = time.monotonic() + 30
        while not rows(folder / "metrics.jsonl") and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "the same command resumes" in said
    assert checkpoint.step_of(folder) == rows(folder / "metrics.jsonl")[-1]["step"] > 0


def test_a_second_ctrl_c_stops_at_the_last_checkpoint(tmp_path, monkeypatch, capsys):
    command = ["train", "cart-pole-mlp", "--preset", "tiny", "--evolve.steps", "6", "--evolve.checkpoint-every", "2", "--out"]
    step, before = Evolve.step, signal.signal(signal.SIGINT, signal.default_int_handler)  # parallel test processes ignore it

    def twice(self, state, live, seeds):
        metrics = step(self, state, live, seeds)
        if seeds.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return metrics

    try:
        with monkeypatch.context() as patched:
            patched.setattr(Evolve, "step", twice)
            assert cli.main([*command, str(tmp_path / "stopped")]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err
    assert "Ctrl-C again" in said
    assert "interrupted; saved checkpoints are intact" in said
    assert checkpoint.step_of(tmp_path / "stopped" / "1-evolve") == 4
    assert cli.main([*command, str(tmp_path / "stopped")]) == 0
    assert cli.main([*command, str(tmp_path / "whole")]) == 0
    assert left(tmp_path / "stopped") == left(tmp_path / "whole")


@pytest.mark.parametrize(("stop", "said", "code"), [(KeyboardInterrupt(), "interrupted", 130), (Terminated(15), "terminated", 143)])
def test_only_train_speaks_of_checkpoints_when_it_is_stopped(stop, said, code, monkeypatch, capsys):
    def stopped(*_: object) -> None:
        raise stop

    for command, note in (("evaluate", ""), ("train", "; saved checkpoints are intact")):
        monkeypatch.setitem(cli.COMMANDS, command, stopped)
        assert cli.main([command, "cart-pole"]) == code
        assert capsys.readouterr().err.strip().endswith(said + note)


def alive(process: int) -> bool:
    """Whether a process runs; zombies do not count."""
    return fields(process)[:1] not in ([], ["Z"])


def children_of(process: int) -> list[int]:
    """Process ids of direct children."""
    known = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [other for other in known if fields(other)[1:2] == [str(process)]]


def gone(processes: list[int], seconds: float = 2.0) -> bool:
    """Whether all have ended after so many seconds."""
    deadline = time.monotonic() + seconds
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, processes))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel ends workers on Linux only")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_the_main_process(number, tmp_path):
    command = [
        sys.executable, "-m", "sensorium.cli", "train", "cart-pole-mlp", "--preset", "tiny", "--out", str(tmp_path / "run"), "--on", "processes:2",
        "--evolve.block", "2", "--evolve.steps", "4000",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not rows(tmp_path / "run" / "1-evolve" / "metrics.jsonl") and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = children_of(process.pid)
        assert len(workers) >= 2
        process.send_signal(number)
        process.wait(60)
    assert gone(workers)


def kinds_of_stage() -> list[tuple[str, str, int]]:
    """(recipe, stage, signal): every kind of stage once with each signal where SENSORIUM_SIGNALS is "all", else a few."""
    first: dict[type, tuple[str, str]] = {}
    for recipe, name in tiny_stages():
        stage = registry.recipe(recipe).stages("tiny")[name]
        if stage.steps:
            first.setdefault(type(stage), (recipe, name))
    found = [(*place, number) for place in first.values() for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)]
    few = {("take-cover", "collect"), ("proto-pixels", "pretrain"), ("cart-pole-clone", "ascend")}
    return (
        found if os.environ.get("SENSORIUM_SIGNALS") == "all" else [case for case in found if case[:2] in few and case[2] != signal.SIGHUP]
    )


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel ends workers on Linux only")
@pytest.mark.parametrize(("recipe", "name", "number"), kinds_of_stage())
def test_every_kind_of_stage_ends_with_its_processes_and_saves(recipe, name, number, tmp_path):
    out, number_of = tmp_path / "run", list(registry.recipe(recipe).stages("tiny")).index(name) + 1
    command = [sys.executable, "-m", "sensorium.cli", "train", recipe, "--preset", "tiny", "--out", str(out), f"--{name}.steps", "100000"]
    folder = out / f"{number_of}-{name}"
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL), cwd=tmp_path
    ) as process:
        deadline = time.monotonic() + 120
        while not rows(folder / "metrics.jsonl") and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
        processes = descendants(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert gone(processes)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        assert checkpoint.load(folder) is not None
    else:
        assert process.returncode == 128 + number, said
        assert checkpoint.step_of(folder) == rows(folder / "metrics.jsonl")[-1]["step"] > 0


def descendants(process: int) -> list[int]:
    """Process ids of children and theirs."""
    found = children_of(process)
    return [*found, *(one for child in found for one in descendants(child))]


PLAYS = """
import sys, torch, sensorium
from sensorium.core.seeding import row_seeds
env = sensorium.world("take-cover", engine=sys.argv[1]).open()
env.reset(row_seeds(0, 2))
print("playing", flush=True)
input()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, 0], ids=["kill -9", "end"])
@pytest.mark.parametrize(("engine", "library"), [("envpool", "envpool"), ("vizdoom", "vizdoom")])
def test_no_game_outlives_its_process(engine, library, number):
    pytest.importorskip(library)
    with subprocess.Popen([sys.executable, "-c", PLAYS, engine], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"playing\n"
        games = children_of(process.pid)
        assert len(games) == 3  # two games and the guard
        process.stdin.write(b"\n")
        process.send_signal(number) if number else process.stdin.flush()
    assert gone(games)


@pytest.mark.slow
def test_a_closed_terminal_saves_the_run(tmp_path):
    """The terminal is a pseudo-terminal; once it is closed, every write to it fails."""
    main, terminal = os.openpty()
    folder = tmp_path / "run" / "1-evolve"
    command = [
        sys.executable,
        "-m",
        "sensorium.cli",
        "train",
        "cart-pole-mlp",
        "--preset",
        "tiny",
        "--out",
        str(tmp_path / "run"),
        "--evolve.steps",
        "100000",
    ]

    def in_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=in_terminal, cwd=tmp_path)
    os.close(terminal)
    deadline = time.monotonic() + 60
    while not rows(folder / "metrics.jsonl") and time.monotonic() < deadline:
        # a terminal shows what is written
        if select.select([main], [], [], 0.05)[0]:
            os.read(main, 4096)
    os.close(main)
    assert process.wait(60) == 128 + signal.SIGHUP
    assert checkpoint.step_of(folder) == rows(folder / "metrics.jsonl")[-1]["step"] > 0
