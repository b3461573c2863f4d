"""The scripts in examples/ run, at tiny size."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
RUNS = {
    "ppo_under_shuffling.py": (
        ["--policy", "attention", "--steps", "64", "--episodes", "2", "--stack", "3"], r"attention, senses shuffle, seed 0: \d+ \+- \d+ over 2 episodes"
    ),
    "dream_from_data.py": (
        ["--preset", "tiny", "--record", "4", "--steps", "64", "--episodes", "2", "--out", "run"],
        r"before training: .* in the dream, .*\nafter training: .*\nrandom actions: -\d+ \+- \d+ in Pendulum-v1",
    ),
    "robustness_of_a_policy.py": (["--steps", "64", "--episodes", "2", "--out", "run"], r"written: run/senses.html"),
    "clone_any_policy.py": (
        ["--world", "CartPole-v1", "--steps", "64", "--rounds", "1", "--preset", "tiny", "--episodes", "2", "--out", "run"],
        r"teacher, in order: .*\nteacher, shuffled: .*\nclone, in order: .*\nclone, shuffled: .*",
    ),
    "evolve_your_environment.py": (
        ["--preset", "tiny", "--generations", "2", "--episodes", "2", "--out", "run"],
        r"neurons, in order: .*\nneurons, shuffled: .*\nneurons-mlp, in order: .*\nneurons-mlp, shuffled: .*",
    ),
    # the code does not depend on the order of the sensors
    "sensory_dream.py": (
        ["--preset", "tiny", "--updates", "3", "--rounds", "2", "--episodes", "2", "--out", "run"],
        r"neurons, 7-controller-2, its dream: .*\nneurons, 7-controller-2, in order: (.*)\nneurons, 7-controller-2, shuffled: \1\nneurons, 7-controller-2, shuffled every 200 steps: .*",
    ),
}  # fmt: skip
"""script -> arguments, and what it prints at the end"""
NEEDED = {"dream_from_data.py": "minari"}


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_runs(script, tmp_path):
    for module in ("stable_baselines3", *filter(None, [NEEDED.get(script)])):
        pytest.importorskip(module)
    options, printed = RUNS[script]
    done = subprocess.run([sys.executable, EXAMPLES / script, *options], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert re.search(f"{printed}\n$", done.stdout)
