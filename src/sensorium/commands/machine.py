"""`sensorium doctor` and `sensorium bench`."""

import argparse
import sys

from sensorium.commands.options import emit, prepare
from sensorium.core.errors import Failure


def doctor(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium doctor`: check worlds, extras and tools on this machine."""
    from sensorium.doctor import diagnose, diagnose_world

    findings = diagnose_world(options.world) if options.world else diagnose()
    if options.json:
        return emit({"checks": findings})
    for finding in findings:
        print(
            f"{'works  ' if finding['works'] else 'missing'}  {finding['name']:28} {finding['detail'] if finding['works'] else finding['mend']}"
        )


def bench(options: argparse.Namespace, _: list[str]) -> None:
    """`sensorium bench`: measure throughput and baselines."""
    from sensorium import registry

    if not (registry.ROOT / "bench" / "rows.py").exists():
        raise Failure("bench needs the source checkout (pip install -e .): the package does not include its baselines")
    sys.path.insert(0, str(registry.ROOT))
    from bench import records  # type: ignore[import-not-found]

    records.restart_with(options.isa)
    prepare()
    from bench.rows import measured  # type: ignore[import-not-found]
    from sensorium.core.machine import facts

    earlier, rows = records.read(options.against) if options.against else {}, []
    for row in measured(options.names):
        row = records.compared({**row, "isa": options.isa}, earlier)
        rows.append(row)
        print(records.line(row), flush=True, file=sys.stderr if options.json else sys.stdout)
        if options.save:
            records.add(options.save, facts(), row)
    if options.json:
        emit({"machine": facts(), "rows": rows})
