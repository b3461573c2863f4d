"""All rows of `sensorium bench`; one module per subject."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bench import cart_pole, cloning, clusters, cma, policies, proto_rl, vision, world_models
from sensorium.core.errors import Usage

ROWS = {
    **cart_pole.ROWS, **cma.ROWS, **world_models.ROWS, **proto_rl.ROWS, **vision.ROWS, **cloning.ROWS, **policies.ROWS, **clusters.ROWS,
}  # fmt: skip
"""name -> function that measures it; one function may return several rows"""


def matches(key: str, name: str) -> bool:
    """Whether the function under `key` may have rows that begin with `name`: it may return several, with names longer than its key."""
    return key.startswith(name) or name.startswith(key)


def measured(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows whose name begins with one of `names` (none: all), each as soon as it is measured. Progress goes to stderr.

    Errors: core.errors.Usage if no row begins with a name, for longer names than those of the table only after the measurement.
    """
    wanted = tuple(names) or ("",)
    for name in wanted:
        if not any(matches(key, name) for key in ROWS):
            raise Usage(f"no row begins with '{name}'; there are {', '.join(ROWS)}")
    chosen = list(dict.fromkeys(work for key, work in ROWS.items() if any(matches(key, name) for name in wanted)))
    began, missing = time.perf_counter(), set(names)
    for number, work in enumerate(chosen):
        subjects = ", ".join(key for key, other in ROWS.items() if other is work)
        left = f", about {(time.perf_counter() - began) / number * (len(chosen) - number):.0f} s left" if number else ""
        print(f"measuring {subjects} ({number + 1} of {len(chosen)}{left})", file=sys.stderr, flush=True)
        for row in work():
            if row["name"].startswith(wanted):
                missing -= {name for name in missing if row["name"].startswith(name)}
                yield row
    if missing:
        raise Usage(f"no row begins with '{min(missing)}'")
