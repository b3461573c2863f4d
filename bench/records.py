"""Files of measured rows, and rows as text."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from sensorium.core.errors import Usage

Row = dict[str, Any]

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
"""environment in which torch, oneDNN, MKL (torch's matrix products) and OpenBLAS (NumPy's) use AVX2 only, with float32 for all products.

Whether MKL obeys its variable on processors that are not Intel's is not known."""


def restart_with(isa: str) -> None:
    """Start this command anew with an instruction set, which torch reads when it is loaded; returns if it is in use."""
    if isa == "avx2" and any(os.environ.get(name) != value for name, value in AVX2.items()):
        os.execve(sys.executable, [sys.executable, "-m", "sensorium.cli", *sys.argv[1:]], {**os.environ, **AVX2})


def read(file: str) -> dict[tuple[str, str], Row]:
    """(name, isa) -> row of a file written by `add`. Errors: core.errors.Usage where it is no such file."""
    try:
        rows = json.loads(Path(file).read_text())["rows"]
        return {(row["name"], row["isa"]): row for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        raise Usage(f"{file} is no file of `sensorium bench --save`") from None


def add(file: str, machine: dict[str, Any], row: Row) -> None:
    """Add a row to a file, in place of the one with its name and instruction set; rows of other names remain."""
    rows = {**(read(file) if Path(file).exists() else {}), (row["name"], row["isa"]): row}
    draft = Path(f"{file}.draft")
    draft.write_text(json.dumps({"machine": machine, "rows": list(rows.values())}, indent=1) + "\n")
    draft.replace(file)


def compared(row: Row, earlier: dict[tuple[str, str], Row]) -> Row:
    """The row with `before`, the value and ratio of the row of the same name and instruction set; unchanged where there is none."""
    old = earlier.get((row["name"], row["isa"]))
    return {**row, "before": {"value": old["value"], "ratio": old["ratio"]}} if old else row


def line(row: Row) -> str:
    """A row as one line of text."""
    text = f"{row['name']:32} {row['isa']:6} {row['value']:>12,.4g} {row['unit']:20}"
    text += f" {row['ratio']:.2f} x {row['baseline']} ({row['baseline_value']:,.4g})" if row["ratio"] else f" {row['baseline']}"
    if row.get("of_limit"):
        text += f", {row['of_limit']:.0%} of the limit"
    if "before" in row:
        text += f", before {row['before']['value']:,.4g}" + (f" and {row['before']['ratio']:.2f} x" if row["before"]["ratio"] else "")
    return text
