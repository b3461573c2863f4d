"""Jobs in this process and in local processes: order, lost workers, deadlines, places, and the command that computes one job."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import sensorium
from sensorium import cli, registry
from sensorium.core import checkpoint, jobs
from sensorium.core.env import closing
from sensorium.core.errors import Failure, Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.jobs import Here, Origin, Pool
from sensorium.core.rollout import play
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.workers import Processes, attempt, versions
from sensorium.data.recording import manifest
from sensorium.job import compute
from sensorium.systems.attention_neuron.model import FeedForwardAgent
from tests import work


@pytest.fixture(scope="module")
def two() -> Iterator[Pool]:
    """Two local processes."""
    pool = Processes(2)
    yield pool
    pool.close()


SCALE = torch.arange(3.0)


@pytest.mark.parametrize("ahead", [0, 2])
def test_results_come_in_order(two: Pool, ahead: int):
    found = {}
    for pool in (Here(), two):
        # earlier jobs take longer
        results = pool.map(work.product, ((n, 0.05 * (n < 2)) for n in range(7)), (SCALE,), ahead=ahead)
        found[pool] = torch.stack(list(results))
    assert torch.equal(found[two], torch.stack([SCALE * n for n in range(7)]))
    assert len({tuple(result.flatten().tolist()) for result in found.values()}) == 1
    assert list(two.map(work.threads, [()])) == list(Here().map(work.threads, [()])) == [1]


def test_jobs_are_submitted_only_so_far_ahead(two: Pool):
    asked = []

    def source() -> Iterator[tuple[int]]:
        for n in range(20):
            asked.append(n)
            yield (n,)

    results = two.map(work.product, source(), (SCALE,), ahead=3)
    next(results)
    assert len(asked) <= 4
    assert len(list(results)) == 19


@pytest.mark.parametrize(("function", "deadline"), [(work.die_once, "60"), (work.hang_once, "1")])
def test_a_lost_job_is_computed_again_and_counted_once(function: Callable, deadline: str, tmp_path: Path, monkeypatch):
    """A worker that dies, or takes longer than its deadline."""
    monkeypatch.setenv("SENSORIUM_JOB_SECONDS", deadline)
    pool = Processes(2)
    try:
        assert list(pool.map(function, ((n,) for n in range(6)), (tmp_path,))) == list(range(6))
        assert len(list(tmp_path.glob("1.*"))) == 2
    finally:
        pool.close()


@pytest.mark.parametrize("function", [work.die, work.exhaust])
def test_a_job_that_is_always_lost_is_reported_with_its_command(function: Callable, monkeypatch):
    monkeypatch.setenv("SENSORIUM_JOB_RETRIES", "1")
    pool = Processes(1)
    try:
        with (
            pytest.raises(Failure, match=r"lost 2 times.*python -m sensorium\.job runs/x 12 0"),
            jobs.coming_from(Origin("", "runs/x", 12)),
        ):
            list(pool.map(function, [()]))
    finally:
        pool.close()


def test_the_origin_of_a_job():
    assert Origin("sensorium evaluate x --on here").of(3, False) == "sensorium evaluate x --on here"
    assert Origin(folder="f", step=5).of(3, False) == "python -m sensorium.job f 5 3"
    assert Origin(folder="f", step=5).of(3, True) == "python -m sensorium.job f 8 0"


def test_errors_of_jobs_are_not_retried(two: Pool):
    with pytest.raises(Failure, match="job 4 failed"):
        list(two.map(work.fail, [(4,)]))
    with pytest.raises(Usage, match="cannot be sent to other processes; give --on here"):
        list(two.map(lambda: 0, [()]))
    with pytest.raises(Failure, match=r"other versions: torch .* there, torch 1.0 here"):
        attempt(b"", b"", 0, (versions()[0], "torch 1.0", *versions()[2:]), "here")
    # the workers are still there
    assert list(two.map(work.threads, [()])) == [1]


def test_limits_are_whole_numbers(monkeypatch):
    monkeypatch.setenv("SENSORIUM_JOB_RETRIES", "many")
    with pytest.raises(Usage, match="SENSORIUM_JOB_RETRIES cannot be 'many'"):
        Processes(1)


def test_utilisation_is_the_share_of_time_in_jobs():
    pool = Processes(2)
    try:
        list(pool.map(work.product, [(1, 0.0), (1, 0.0)], (SCALE,)))  # start the workers
        assert 0.0 < (pool.utilisation() or 0.0) < 1.0
        assert pool.utilisation() is None
        # one of two workers is busy
        list(pool.map(work.product, [(1, 0.5)], (SCALE,)))
        assert pool.utilisation() == pytest.approx(0.5, abs=0.2)
    finally:
        pool.close()


def test_closing_a_pool_ends_jobs():
    pool, began = Processes(1), time.monotonic()
    results = pool.map(work.product, [(1, 0.0), (1, 60.0)], (SCALE,))
    next(results)
    pool.close()
    assert time.monotonic() - began < 30


def test_places():
    assert jobs.place_of(simulators=True) == "here"  # of the fixture around each test
    with jobs.on("processes:2"):
        assert jobs.place_of(simulators=False) == "processes:2"
        with jobs.on(""):
            assert jobs.place_of(simulators=True) == "processes:2"
    with jobs.at(jobs.Place()):
        assert jobs.place_of(simulators=False) == "here"
        assert jobs.place_of(simulators=True).startswith("processes:")
    stage = registry.recipe("car-racing-z").stages("tiny")["controller"]
    assert stage.where == "here: jobs of 2 members in car-racing, a simulator"  # type: ignore[attr-defined]
    stage = registry.recipe("car-racing-dream").stages("tiny")["controller"]
    assert stage.where == "here: jobs of 2 members in the dream, a world in torch"  # type: ignore[attr-defined]


@pytest.fixture
def evolved(tmp_path: Path) -> Path:
    """A finished stage with jobs."""
    stage = registry.recipe("neurons-mlp").stages("tiny", task="gym:Pendulum-v1")["evolve"]
    run(stage, tmp_path / "1-evolve", 3)
    return tmp_path / "1-evolve"


def test_one_job_is_computed_alone(evolved: Path, capsys):
    """The job of members 2 and 3 in the last generation, replayed from the checkpoint before it."""
    stage = checkpoint.stage(evolved)
    (evolved / checkpoint.file_name(4)).unlink()
    before = sorted(path.name for path in evolved.iterdir())
    found = compute(evolved, 4, 1)
    state = checkpoint.load(evolved)[1]  # type: ignore[index]
    live = stage.open(state)
    scores = []
    live.scores = lambda vectors, rows, honest=live.scores: scores.append(honest(vectors, rows)) or scores[-1]
    for step in (3, 4):
        stage.step(state, live, Seeds(3, "evolve", step))
    assert torch.equal(found, scores[-1][2:4])
    assert sorted(path.name for path in evolved.iterdir()) == before
    with pytest.raises(Usage, match="has no job 9"):
        compute(evolved, 4, 9)
    with pytest.raises(Failure, match="no checkpoint from before step 2"):
        compute(evolved, 2, 0)


def test_the_job_command():
    done = subprocess.run([sys.executable, "-m", "sensorium.job", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: python -m sensorium.job FOLDER STEP JOB" in done.stderr


def test_shards_have_a_manifest_and_can_be_recorded_alone(tmp_path: Path):
    stage = registry.recipe("world-model").stages("tiny", task="gym:Pendulum-v1")["collect"]
    run(stage, tmp_path / "1-collect", 2)
    rows, shards = manifest(tmp_path / "1-collect"), sorted(tmp_path.glob("1-collect/shard-*.npz"))
    assert [row["file"] for row in rows.values()] == [path.name for path in shards]
    assert sum(row["episodes"] for row in rows.values()) == stage.steps * stage.rows  # type: ignore[attr-defined]
    (tmp_path / "1-collect" / checkpoint.file_name(stage.steps)).unlink()
    shards[-1].unlink()
    assert compute(tmp_path / "1-collect", stage.steps, 0)[1] == shards[-1].name
    assert shards[-1].exists()


def test_an_evaluation_is_the_same_here_and_in_processes():
    """70 episodes are two jobs."""
    world = sensorium.world("gym:Pendulum-v1", horizon=20)
    agent = FeedForwardAgent(3, layers=(8,))
    policy = agent.policy(torch.randn(agent.layout.size, generator=torch.Generator().manual_seed(0)))
    here = evaluate(world, policy, 70)
    with jobs.on("processes:2"):
        there = evaluate(world, policy, 70)
    assert len(here["returns"]) == 70
    assert here["returns"] == there["returns"]
    with closing(world) as env:
        assert here["mean"] == pytest.approx(float(play(env, policy, row_seeds(0, 70)).returns.mean()), rel=1e-5)


def test_several_seeds_are_as_if_run_alone(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # the number of a run alone with one thread
    arguments = ["train", "cart-pole-mlp", "--preset", "tiny"]
    assert cli.main([*arguments, "--seeds", "0..1", "--on", "processes:2", "--out", str(tmp_path / "both")]) == 0
    assert "seed-1" in capsys.readouterr().err
    assert cli.main([*arguments, "--seed", "1", "--out", str(tmp_path / "alone")]) == 0
    for name in ("card.json", "metrics.jsonl", "latest.json"):
        there, here = ((tmp_path / run / "1-evolve" / name).read_text() for run in ("both/seed-1", "alone"))
        assert there == here
    assert "evolve 4/4" in (tmp_path / "both/seed-1/progress.log").read_text()
    # the others finish, and the failure is named
    other = [*arguments, "--seeds", "1..2", "--on", "processes:2", "--out", str(tmp_path / "both"), "--evolve.episodes", "3"]
    assert cli.main(other) == 1
    assert "seed 1: " in (message := capsys.readouterr().err)
    assert "other settings (episodes: 2 there, 3 here)" in message
    assert checkpoint.step_of(tmp_path / "both/seed-2/1-evolve") == 4
