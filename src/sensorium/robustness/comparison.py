"""Two documents of the suite side by side, with paired differences where they have the same world and seeds."""

from typing import Any

import numpy as np

from sensorium.core.errors import Usage
from sensorium.core.stats import bootstrap_interval


def compare(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The comparison of two documents of `examine`: `agents` (both documents) and `rows` of paired differences, second - first.

    A row has `difference` of the returns and `effect_difference` of the effects (treated - control), each with its 95 % interval over pairs of
    the same seed; rows that one of the agents cannot take have None. `paired` is False, and `rows` is empty, where the worlds differ; `reason`
    says so. Errors: core.errors.Usage for documents of other formats or with other seeds.
    """
    from sensorium.robustness.suite import FORMAT

    if {first.get("format"), second.get("format")} != {FORMAT}:
        raise Usage(f"the documents have formats {first.get('format')} and {second.get('format')}; this version compares format {FORMAT}")
    if (first["seed"], first["episodes"]) != (second["seed"], second["episodes"]):
        raise Usage("the documents have other seeds or numbers of episodes; pairs need the same")
    same = (first["world"], first["settings"]) == (second["world"], second["settings"])
    reason = None if same else f"the worlds differ ({first['settings']}, {second['settings']}), so the returns have no common scale"
    return {"format": FORMAT, "paired": same, "reason": reason, "agents": [first, second], "rows": _rows(first, second) if same else []}


def _rows(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """Paired differences of the rows that both documents have; the control is the first row of each."""
    others = {row["name"]: row for row in second["rows"][1:]}
    pairs = [(first["rows"][0], second["rows"][0])] + [(row, others[row["name"]]) for row in first["rows"][1:] if row["name"] in others]
    controls = np.array(second["rows"][0]["returns"]) - np.array(first["rows"][0]["returns"])
    found = []
    for ours, theirs in pairs:
        both = ours["applicable"] and theirs["applicable"]
        difference = np.array(theirs["returns"]) - np.array(ours["returns"]) if both else np.zeros(0)
        found.append(
            {
                "name": ours["name"],
                "difference": float(difference.mean()) if both else None,
                "difference_ci95": list(bootstrap_interval(difference)) if both else None,
                "effect_difference": float((difference - controls).mean()) if both else None,
                "effect_difference_ci95": list(bootstrap_interval(difference - controls)) if both else None,
            }
        )
    return found
