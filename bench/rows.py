"""All rows of `sensorium bench`. A room a subject; each yields rows whose names begin with what the user asked for."""

from typing import Any

from bench import cart_pole, cloning, cma, proto_rl, vision, world_models
from sensorium.core.errors import Usage
from sensorium.core.machine import facts

ROWS = {**cart_pole.ROWS, **cma.ROWS, **world_models.ROWS, **proto_rl.ROWS, **vision.ROWS, **cloning.ROWS}
"""name -> what measures it (one measure may yield several rows)"""


def measure(name: str) -> dict[str, Any]:
    """Rows that begin with `name`; without one, all of them."""
    chosen = list(dict.fromkeys(work for key, work in ROWS.items() if key.startswith(name) or name.startswith(key)))
    if not chosen:
        raise Usage(f"no row begins with '{name}'; there are {', '.join(ROWS)}")
    rows = [row for work in chosen for row in work()]
    return {"machine": facts(), "rows": [row for row in rows if row["name"].startswith(name)]}
