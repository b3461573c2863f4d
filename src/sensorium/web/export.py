"""`sensorium export DIR --to web`: a folder with a page that runs an agent in the browser alone."""

import json
import re
from pathlib import Path
from typing import Any

from sensorium.core import card, checkpoint
from sensorium.core.errors import Failure, Usage
from sensorium.web.exports import dream, senses
from sensorium.web.exports.scene import Agent, Scene

STATIC = Path(__file__).with_name("static")
"""the built page: `make web` makes it from web/"""
RUNTIME = ("ort.mjs", "ort.wasm.gz")
"""onnxruntime-web, which only dreams need"""
MANIFEST = "scenes.json"
EXPORTS = (senses.scenes, dream.scenes)
ALLOWED = "a page has no simulators; it can run permutation-invariant agents in cart-pole, and the dreams of world models"


def export(folder: str | Path, out: str | Path) -> list[str]:
    """Write an agent as a folder of static files that any file server can serve; returns lines for the user.

    The folder holds the page, `scenes.json`, and the data of each scene of the agent. Errors: core.errors.Usage for an agent that no page
    can run and for a folder that is not empty, core.errors.Failure where a network differs from torch.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Usage(f"{out} is not an empty folder; use another --out, or delete it")
    agent = Agent.of(folder)
    scenes = [scene for make in EXPORTS for scene in make(agent)]
    if not scenes:
        raise agent.refused(ALLOWED)
    files = page(any(scene.runtime for scene in scenes))
    for scene in scenes:
        files |= scene.files
        files[f"{scene.kind}.json"] = compact(scene.data)
    files[MANIFEST] = compact({"agents": [described(folder, scenes)]})
    with checkpoint.writing(out):
        for name, data in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    size = sum(len(data) for data in files.values()) / 1e6
    notes = [note for scene in scenes for note in scene.notes]
    return [*notes, f"written: {out}, {size:.1f} MB; any file server shows it, e.g. python -m http.server -d {out}"]


def page(runtime: bool) -> dict[str, bytes]:
    """The files of the page, with onnxruntime-web where `runtime`. Errors: core.errors.Failure where the page has not been built."""
    index = STATIC / "index.html"
    if not index.exists():
        raise Failure("the page is not built: run `make web` (needs Node)")
    assets = {
        f"assets/{path.name}": path.read_bytes() for path in sorted((STATIC / "assets").iterdir()) if runtime or path.name not in RUNTIME
    }
    html = re.sub(r"<html([^>]*)>", rf'<html\1 data-export="{MANIFEST}">', index.read_text(encoding="utf-8"), count=1)
    return {"index.html": html.encode(), **assets}


def described(folder: str | Path, scenes: list[Scene]) -> dict[str, Any]:
    """The agent's entry in scenes.json, like one of the server's gallery."""
    path = checkpoint.agent(folder)
    recipe = card.read(path).get("recipe")
    entries = [{"name": scene.kind, "title": scene.title, "kind": scene.kind, "data": f"{scene.kind}.json"} for scene in scenes]
    name = recipe or path.name
    return {"name": name, "recipe": recipe, "title": name, "score": None, "scenes": entries, "thumbnail": None}


def compact(value: Any) -> bytes:
    """A JSON document without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
