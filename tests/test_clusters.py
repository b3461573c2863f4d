"""The files for clusters in examples/: what Ray and bash say about them without a cluster."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sensorium.usage import parser

pytest.importorskip("ray", reason="extra 'ray' is not installed")

EXAMPLES = Path(__file__).parents[1] / "examples"


def start(words: list[str]) -> dict[str, Any]:
    """The options of `ray start`. Errors: click's, for unknown ones."""
    from ray.scripts.scripts import start as command

    return command.make_context("ray start", words).params


def test_the_cluster_file_is_valid():
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((EXAMPLES / "cluster.yaml").read_text())
    validate_config(prepare_config(config))
    assert config["min_workers"] == config["max_workers"] == len(config["provider"]["worker_ips"])
    for kind in ("head", "worker"):
        stop, command = config[f"{kind}_start_ray_commands"]
        assert stop.endswith("/bin/ray stop")
        words = shlex.split(command)
        found = start(words[words.index("start") + 1 :])
        assert found["head"] == (kind == "head")
        assert found["object_store_memory"] == 500_000_000
        assert words[words.index("start") - 1] == stop.split()[0]
    assert found["address"] == "$RAY_HEAD_IP:6379"


def test_the_slurm_script_is_valid():
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args, symmetric_run

    subprocess.run(["bash", "-n", str(EXAMPLES / "slurm.sh")], check=True)
    text = (EXAMPLES / "slurm.sh").read_text().replace("\\\n", " ")
    words = shlex.split(re.sub(r"\$(\w+)", "4", text[text.index("srun ") :]).replace('"4:4"', "head:6379"))
    first, last = words.index("symmetric-run") + 1, words.index("--")
    found = symmetric_run.make_context("_", words[first:last], resilient_parsing=True).params
    assert (found["address"], found["min_nodes"]) == ("head:6379", 4)
    # the same options are used for the head and the others
    options = curate_and_validate_ray_start_args(words[first:last])
    assert start([*options, "--address", "head:6379"])["num_cpus"] == 4
    assert not {"--port", "--redis-shard-ports", "--include-dashboard"} & set(options)
    assert words[last + 1] == "sensorium"
    assert parser().parse_known_args(words[last + 2 :])[0].on == "ray:auto"
