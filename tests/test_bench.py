"""Files and comparisons of `sensorium bench`, and the instruction set that it imitates."""

import json
import os
import subprocess
import sys

import pytest
import torch

from bench import records, rows
from bench.interleave import row
from sensorium.core import machine
from sensorium.core.errors import Usage

FASTER = {**row("a/b", 3.0, "steps/s", "plain", 2.0), "isa": "native"}


def test_both_instruction_sets_share_a_file_and_a_row_is_replaced(tmp_path):
    file = str(tmp_path / "rows.json")
    for isa, value in (("native", 1.0), ("avx2", 2.0), ("native", 3.0)):
        records.add(file, {}, {**row("a/b", value, "steps/s", "plain", 2.0), "isa": isa})
    found = records.read(file)
    assert {key: each["ratio"] for key, each in found.items()} == {("a/b", "native"): 1.5, ("a/b", "avx2"): 1.0}
    assert records.compared(FASTER, found)["before"] == {"value": 3.0, "ratio": 1.5}
    # a row of another instruction set is not compared
    assert "before" not in records.compared({**FASTER, "isa": "other"}, found)


def test_a_line_shows_value_ratio_and_the_earlier_row():
    text = records.line({**FASTER, "before": {"value": 1.0, "ratio": 0.5}})
    assert "1.50 x plain (2)" in text
    assert text.endswith("before 1 and 0.50 x")


def test_rows_are_chosen_by_the_beginnings_of_their_names(monkeypatch, capsys):
    table = {name: lambda name=name: [row(f"{name}-{n}", 1.0, "steps/s") for n in (1, 2)] for name in ("a/b", "a/c", "d/e")}
    monkeypatch.setattr(rows, "ROWS", table)
    assert [each["name"] for each in rows.measured([])] == ["a/b-1", "a/b-2", "a/c-1", "a/c-2", "d/e-1", "d/e-2"]
    assert [each["name"] for each in rows.measured(["d", "a/c-2"])] == ["a/c-2", "d/e-1", "d/e-2"]
    with pytest.raises(Usage, match="no row begins with 'f'; there are a/b, a/c, d/e"):
        list(rows.measured(["a", "f"]))
    with pytest.raises(Usage, match="no row begins with 'd/e-3'"):
        list(rows.measured(["a", "d/e-3"]))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "rows.json").write_text("[]")
    with pytest.raises(Usage, match="no file of"):
        records.read(str(tmp_path / "rows.json"))


def test_float32_without_avx512(monkeypatch):
    monkeypatch.setattr(machine, "_flags", lambda: "avx2 fma avx512f avx512_bf16")
    found = []
    for name in ("AVX512", "AVX2"):
        monkeypatch.setattr(machine, "capability", lambda name=name: name)
        found.append(machine.product_type())
    assert found == [torch.bfloat16, torch.float32]


def test_each_instruction_set_has_its_own_cache_of_kernels():
    """Kernels of one instruction set that another loads from a shared cache overwrite memory; also where torch has chosen its own folder before."""
    program = "from torch._inductor.runtime.cache_dir_utils import cache_dir; cache_dir(); "
    program += "import os; from sensorium.core.machine import compiled; compiled(abs); print(os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    environment = {**os.environ, **records.AVX2}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout
    assert found.strip().endswith("avx2")


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this build of torch has no MKL")
@pytest.mark.skipif("Intel" not in machine.facts()["processor"], reason="MKL may obey MKL_ENABLE_INSTRUCTIONS on Intel processors only")
def test_no_library_multiplies_matrices_with_avx512():
    program = "import numpy, torch\nwith torch.backends.mkl.verbose(1): torch.ones(64, 64) @ torch.ones(64, 64)"
    environment = {**os.environ, **records.AVX2, "OPENBLAS_VERBOSE": "2"}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    # the next line has addresses, whose digits may be anything
    library, product = found.stdout.splitlines()[:2]
    assert "SGEMM" in product
    assert "AVX2" in library
    assert "512" not in library
    assert "Core: Haswell" in found.stderr


@pytest.mark.slow
def test_bench_on_avx2_writes_a_file(tmp_path):
    file = tmp_path / "rows.json"
    command = [sys.executable, "-m", "sensorium.cli", "bench", "cma/ask-tell-867", "--isa", "avx2", "--json", "--save", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    document = json.loads(done.stdout)
    assert document["machine"]["capability"] == "AVX2"
    assert [each["isa"] for each in document["rows"]] == ["avx2"]
    assert json.loads(file.read_text())["rows"] == document["rows"]
