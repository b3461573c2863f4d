"""Shapes in signatures: selected tests again, with every call checked by jaxtyping and beartype."""

import subprocess
import sys
from pathlib import Path

CHECKED = ["test_attention_neuron.py", "test_nets.py", "test_seeding.py", "test_sensors.py", "test_world_models.py"]


def test_signatures_hold():
    here = Path(__file__).parent
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--jaxtyping-packages=sensorium,tests.checked.checked",
        "-m",
        "not slow",
        "-k",
        "not authors and not compiled",
    ]
    result = subprocess.run([*command, *(str(here / name) for name in CHECKED)], cwd=here.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
