"""The command `sensorium senses`: the suite for one agent or two, as a page and a JSON document."""

import os
from pathlib import Path
from typing import Any

from sensorium.core import checkpoint
from sensorium.core.checkpoint import write_json, writing
from sensorium.core.errors import Usage
from sensorium.core.stage import Sensed
from sensorium.robustness.comparison import compare
from sensorium.robustness.page import comparison_text, page, text
from sensorium.robustness.suite import examine
from sensorium.viz.report import write


def senses(
    agents: list[str], world: str | None = None, episodes: int = 100, seed: int = 0, device: str = "cpu", out: str | None = None
) -> tuple[dict[str, Any], str, Path]:
    """The document, its text for a terminal, and the path of the page `senses.html`, beside which `senses.json` is written.

    `out` is by default the folder of a single agent, and the current folder for two. Errors: core.errors.Usage for wrong arguments.
    """
    if len(agents) > 2:
        raise Usage(f"senses takes one agent, or two to compare; not {len(agents)}")
    if episodes < 1:
        raise Usage(f"--episodes cannot be {episodes}; at least 1")
    paths = [checkpoint.agent(agent) for agent in agents]
    folder = Path(out) if out else Path(agents[0]) if len(agents) == 1 and Path(agents[0]).is_dir() else Path.cwd()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise Usage(f"cannot write to {folder}; give --out DIR")
    documents = [_examined(path, agent, world, episodes, seed, device) for path, agent in zip(paths, agents, strict=True)]
    comparison = compare(*documents) if len(documents) == 2 else None
    document = comparison or documents[0]
    with writing(folder):
        write_json(folder / "senses.json", document)
    shown = comparison_text(comparison) if comparison else text(documents[0])
    return document, shown, write(folder, page(documents, comparison), "senses.html")


def _examined(path: Path, agent: str, world: str | None, episodes: int, seed: int, device: str) -> dict[str, Any]:
    """The document of one agent."""
    from sensorium import _world_and_policy

    place, policy = _world_and_policy(path, world, device)
    trained = next((part.senses for part in (checkpoint.stage(path), place) if isinstance(part, Sensed) and part.senses), "")
    return examine(place, policy, episodes, seed, device, trained, agent.rstrip("/"))
