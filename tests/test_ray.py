"""Jobs on Ray: the bits of this process, lost nodes, a killed driver, a user's modules, and errors in one sentence."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium import cli, registry
from sensorium.core import checkpoint, jobs
from sensorium.core.cluster import PREFIX
from sensorium.core.errors import Failure, Usage
from sensorium.core.run import run
from sensorium.data.recording import manifest
from sensorium.doctor import EXTRAS
from sensorium.seeds import PROGRESS
from tests import work
from tests.conftest import with_predecessors

pytest.importorskip("ray", reason="extra 'ray' is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")

WORLD = """
import gymnasium
import numpy as np


class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=3).astype(np.float32)
        return self.x, {}

    def step(self, action):
        self.x = (self.x + 0.1 * action[0] * self.np_random.normal(size=3)).astype(np.float32).clip(-9, 9)
        return self.x, -float(abs(self.x).sum()), False, False, {}


gymnasium.register("my_walks/Walk-v0", entry_point=Walk, max_episode_steps=30)
"""


def gone(folder: str, seconds: float = 20.0) -> bool:
    """Whether all other processes with open files in a folder whose name begins so (logs of a Ray cluster) end within some seconds."""
    until = time.monotonic() + seconds
    while users(folder):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def users(folder: str) -> set[int]:
    """Ids of other processes with open files in such a folder."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(path).startswith(folder):
                found.add(int(path.parts[2]))
    return found - {os.getpid()}


def local_cluster(process: int) -> str:
    """How the folder of the local cluster of a process begins."""
    return f"{tempfile.gettempdir()}/{PREFIX}{process}-"


def files(folder: Path) -> dict[str, str]:
    """Digests of what a run leaves, without its times and its progress."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "times.jsonl", PROGRESS))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


class Nodes:
    """A cluster of three nodes with one CPU each on this machine; the first one, which has this process, has no CPU."""

    def __init__(self) -> None:
        import ray
        from ray.cluster_utils import Cluster

        self.ray = ray
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
        # a lost node is noticed within seconds
        checks = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": checks, **small})
        self.nodes = [self.cluster.add_node(num_cpus=1, **small) for _ in range(3)]
        self.small = small
        ray.init(self.cluster.address, log_to_driver=False)
        self.folder = ray._private.worker._global_node.get_session_dir_path()
        assert users(self.folder)

    def kill_one(self) -> None:
        """Kill a node as if its machine lost power, and add another."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)
        self.nodes.append(self.cluster.add_node(wait=False, num_cpus=1, **self.small))

    def close(self) -> None:
        self.ray.shutdown()
        self.cluster.shutdown()
        assert gone(self.folder)


@pytest.fixture(scope="module")
def three() -> Iterator[Nodes]:
    """Three nodes."""
    nodes = Nodes()
    yield nodes
    nodes.close()


def controller(recipe: str, folder: Path) -> tuple[Any, Path]:
    """The tiny controller stage of a recipe, in the real world, and its folder next to the trained earlier stages."""
    stage, place = with_predecessors((recipe, "controller"), folder)
    return replace(stage, dream=False, steps=1), place  # type: ignore[type-var]


def controllers(place: str, tmp_path: Path) -> dict[str, dict[str, str]]:
    """What the controllers of CarRacing and TakeCover leave when their generations are evaluated at a place."""
    found = {}
    with jobs.on(place):
        for recipe in ("car-racing-z", "take-cover"):
            if all(find_spec(EXTRAS[extra]) for extra in registry.recipe(recipe).extras):
                stage, folder = controller(recipe, tmp_path / place.replace(":", "-") / recipe)
                run(stage, folder, 4)
                found[recipe] = files(folder)
                assert checkpoint.file_name(1) in found[recipe]
    return found


@pytest.fixture(scope="module")
def controllers_here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """As `controllers`, in this process."""
    return controllers("here", tmp_path_factory.mktemp("controllers"))


def test_controllers_are_the_same_bytes_in_processes_and_on_one_node(tmp_path: Path, controllers_here: dict):
    assert controllers_here == controllers("processes:2", tmp_path)
    assert controllers_here == controllers("ray", tmp_path)
    assert gone(local_cluster(os.getpid()))


def test_controllers_are_the_same_bytes_on_three_nodes(tmp_path: Path, controllers_here: dict, three: Nodes):
    assert controllers_here == controllers("ray", tmp_path)


def test_a_node_killed_in_a_generation_loses_nothing(three: Nodes, capsys):
    with jobs.on("ray"):
        pool, scale = jobs.open_pool(simulators=True), torch.arange(3.0)
        assert capsys.readouterr().err == "on ray, 3 workers\n"
        results = pool.map(work.product, ((n, 0.4) for n in range(12)), (scale,))
        first = next(results)
        three.kill_one()
        found = torch.stack([first, *results])
    assert torch.equal(found, torch.stack([scale * n for n in range(12)]))


def test_a_hanging_job_is_computed_again(three: Nodes, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SENSORIUM_JOB_SECONDS", "2")
    with jobs.on("ray"):
        assert list(jobs.open_pool(True).map(work.hang_once, ((n,) for n in range(4)), (tmp_path,))) == list(range(4))
    assert len(list(tmp_path.glob("1.*"))) == 2


def test_paths_of_jobs_are_relative_to_the_folder_of_the_command(three: Nodes, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with jobs.on("ray"):
        assert list(jobs.open_pool(True).map(os.getcwd, [()])) == [str(tmp_path)]


def test_a_job_that_is_always_lost_is_reported_and_its_own_error_is_not_retried(three: Nodes, monkeypatch):
    """A worker that dies, and one that has no memory left."""
    monkeypatch.setenv("SENSORIUM_JOB_RETRIES", "1")
    with jobs.on("ray"), jobs.coming_from(jobs.Origin(folder="runs/x", step=3)):
        pool = jobs.open_pool(True)
        for number, function in enumerate((work.die, work.exhaust)):
            with pytest.raises(Failure, match=rf"lost 2 times.*python -m sensorium\.job runs/x 3 {number}"):
                list(pool.map(function, [()]))
        with pytest.raises(Failure, match=r"^job 4 failed$"):
            list(pool.map(work.fail, [(4,)]))


def test_a_users_world_reaches_the_workers(three: Nodes, tmp_path: Path):
    """`--import` at an address: the module is in the current folder of the command only."""
    (tmp_path / "my_walks.py").write_text(WORLD)
    command = [sys.executable, "-m", "sensorium.cli"]
    outputs = {}
    for name, place in (("here", "here"), ("there", f"ray:{three.cluster.address}")):
        options = ["--import", "my_walks", "--on", place]
        for arguments in (["train", "neurons-mlp.gym:my_walks/Walk-v0", "--preset", "tiny", "--out", name, *options],
                          ["evaluate", name, "--episodes", "3", "--json", *options]):  # fmt: skip
            done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert ("on ray, 3 workers" in done.stderr) == (place != "here")
        outputs[name] = done.stdout.partition('"seconds"')[0]
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert outputs["here"] == outputs["there"]


def reached(folder: Path) -> int:
    """The step of a stage's newest checkpoint; -1 where there is none."""
    step = checkpoint.step_of(folder) if (folder / "latest.json").exists() else None
    return -1 if step is None else step


@pytest.mark.slow
def test_nodes_killed_in_every_step_and_a_killed_driver_leave_the_same_bytes(three: Nodes, tmp_path: Path):
    """Shards and generations of CarRacing: a node is killed after the start of each step of both, and the driver once in each.

    SENSORIUM_FAULTS=all has more steps. Shards are computed ahead of their steps, so only a generation cannot have ended before its node is killed.
    """
    pytest.importorskip("envpool", reason="extra 'envpool' is not installed")
    last = {"1-collect": 4, "3-controller": 10} if os.environ.get("SENSORIUM_FAULTS") == "all" else {"1-collect": 1, "3-controller": 3}
    collect, controller = map(str, last.values())
    settings = ["--collect.steps", collect, "--controller.steps", controller, "--controller.block", "1", "--controller.episodes", "2"]
    settings += ["--collect.world.horizon", "150", "--controller.world.horizon", "150"]
    program = [sys.executable, "-m", "sensorium.cli", "train", "car-racing-z", "--preset", "tiny", *settings, "--out"]
    subprocess.run([*program, str(tmp_path / "here"), "--on", "here"], check=True, capture_output=True)
    command = [*program, str(tmp_path / "there"), "--on", f"ray:{three.cluster.address}"]
    driver, at = subprocess.Popen(command, stderr=subprocess.PIPE, text=True), []
    for name, steps in last.items():
        folder = tmp_path / "there" / name
        for step in range(steps):
            while reached(folder) < step and driver.poll() is None:
                time.sleep(0.01)
            three.kill_one()
            at.append(reached(folder))
            if step == steps // 2:
                driver.send_signal(signal.SIGKILL)
                driver.communicate()
                driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    errors = driver.communicate(timeout=300)[1]
    assert driver.returncode == 0, errors
    assert f"resumed controller at step {last['3-controller'] // 2}" in errors
    assert at[last["1-collect"] :] == list(range(last["3-controller"]))
    assert files(tmp_path / "there") == files(tmp_path / "here")
    shards = sorted(path.name for path in (tmp_path / "there/1-collect").glob("shard-*"))
    assert [row["file"] for row in manifest(tmp_path / "there/1-collect").values()] == shards
    assert [int(name[6:11]) for name in shards] == list(range(1, last["1-collect"] + 1))


@pytest.mark.slow
def test_seeds_side_by_side_are_as_if_run_alone(tmp_path: Path, monkeypatch):
    """Every file but times and progress."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # the card's number for a run alone with one thread
    command = ["train", "neurons-mlp.gym:Pendulum-v1", "--preset", "tiny"]
    assert cli.main([*command, "--seeds", "0..2", "--on", "ray", "--out", str(tmp_path / "all")]) == 0
    for seed in range(3):
        assert cli.main([*command, "--seed", str(seed), "--on", "here", "--out", str(tmp_path / f"seed-{seed}")]) == 0
        found = files(tmp_path / f"all/seed-{seed}")
        assert found == files(tmp_path / f"seed-{seed}")
        assert f"1-evolve/{checkpoint.file_name(4)}" in found


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_and_goes_on_to_the_same_bytes(tmp_path: Path):
    """On a cluster of this machine, killed after its first checkpoint."""
    recipe = ["train", "neurons-mlp.gym:Pendulum-v1", "--preset", "tiny", "--evolve.steps", "6"]
    program = [sys.executable, "-m", "sensorium.cli", *recipe, "--out"]
    subprocess.run([*program, str(tmp_path / "whole"), "--on", "here"], check=True, capture_output=True)
    command = [*program, str(tmp_path / "killed"), "--on", "ray"]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "killed/1-evolve" / checkpoint.file_name(2)).exists() and driver.poll() is None:
        time.sleep(0.01)
    assert users(local_cluster(driver.pid))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert gone(local_cluster(driver.pid))
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    errors = driver.communicate()[1]
    assert driver.returncode == 0, errors
    assert "on ray, " in errors
    assert gone(local_cluster(driver.pid))
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_errors_are_one_sentence(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(Failure, match=r"no Ray cluster answers at 127\.0\.0\.1:9 "), jobs.on("ray:127.0.0.1:9"):
        jobs.open_pool(True)
    with pytest.raises(Usage, match="allowed: auto, HOST:PORT, ray://HOST:PORT"), jobs.on("ray:somewhere"):
        jobs.open_pool(True)
    monkeypatch.setattr(ray, "init", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("Version mismatch: the cluster\n has Ray 1.0")))
    with (
        pytest.raises(Failure, match=r"^cannot join the Ray cluster at auto: Version mismatch: the cluster has Ray 1\.0$"),
        jobs.on("ray:auto"),
    ):
        jobs.open_pool(True)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Failure, match=r"ray cannot be imported.*pip install 'sensorium\[ray\]'"), jobs.on("ray"):
        jobs.open_pool(True)
