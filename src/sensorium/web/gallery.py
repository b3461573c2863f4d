"""The gallery: entries of agents and their thumbnails, made by a process in the background and kept in the user's cache folder."""

import asyncio
import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sensorium.web.worker import Worker

VERSION = 2
"""raised when entries or thumbnails change"""
PATIENCE = 3.0
"""seconds to wait for the entries; then agents are listed by name, and the page asks again"""


def cache() -> Path:
    """The folder of thumbnails, in the user's cache folder or, where that cannot be written, a temporary one."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensorium" / "playground"
    try:
        base.mkdir(parents=True, exist_ok=True)
        if os.access(base, os.W_OK):
            return base
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="sensorium-"))


def fingerprint(folder: Path) -> str:
    """A hash of an agent's cards and checksums: the same agent has the same one."""
    parts = [path.read_bytes() for name in ("card.json", "latest.json") for path in sorted(folder.rglob(name))]
    return hashlib.sha256(b"\0".join([str(VERSION).encode(), *parts])).hexdigest()[:16]


def named(name: str) -> dict[str, Any]:
    """An entry that has only a name."""
    title = name.replace(".", " ").replace("-", " ").replace("_", " ")
    return {"name": name, "recipe": None, "title": title[:1].upper() + title[1:], "score": None, "scenes": []}


class Gallery:
    """The agents of a playground, name -> folder."""

    def __init__(self, folders: dict[str, Path]):
        self.folders, self.entries = folders, dict[str, dict[str, Any]]()
        self.pictures: dict[str, Path | None] = {}
        self.listed = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin to list the agents; returns at once."""
        self.tasks = [asyncio.create_task(self.fill())]
        # where listing fails, nobody waits for it
        self.tasks[0].add_done_callback(lambda _: self.listed.set())

    async def close(self) -> None:
        """End the process in the background."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def agents(self) -> list[dict[str, Any]]:
        """The entries of all agents, in order, without scenes where these are not known yet; `thumbnail` is None where there is none yet."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.listed.wait(), PATIENCE)
        found = [self.entries.get(name) or named(name) for name in self.folders]
        return [{**entry, "thumbnail": self.address(entry["name"])} for entry in found]

    def address(self, name: str) -> str | None:
        """Where a thumbnail is; "" where there will be none, None where it is not there yet."""
        if name not in self.pictures:
            return None
        return f"/api/thumbnail/{quote(name, safe='')}" if self.pictures[name] else ""

    def thumbnail(self, name: str) -> Path | None:
        """The file of an agent's thumbnail; None where there is none."""
        return self.pictures.get(name)

    async def fill(self) -> None:
        """List agents and make thumbnails; an agent whose thumbnail ends the process is left out."""
        place = cache()
        names = {name: f"{name}-{await asyncio.to_thread(fingerprint, folder)}" for name, folder in self.folders.items()}
        for name, stem in names.items():
            if (place / f"{stem}.webp").exists():
                self.pictures[name] = place / f"{stem}.webp"
        try:
            self.entries = {name: json.loads((place / f"{stem}.json").read_text()) for name, stem in names.items()}
            self.listed.set()
        except (OSError, ValueError):
            # the process that lists agents also makes thumbnails
            self.pictures.clear()
        while missing := [name for name in self.folders if name not in self.pictures]:
            failed = await self.work(place, names, missing)
            self.listed.set()
            if failed is None:
                return
            self.pictures[failed] = None

    async def work(self, place: Path, names: dict[str, str], missing: list[str]) -> str | None:
        """Run the process once; the name of the agent with which it ended too early, None where it came to its end."""
        folders = {name: str(folder) for name, folder in self.folders.items()}
        files = {name: str(place / f"{names[name]}.webp") for name in missing}
        worker = await Worker.started("gallery", folders, files)
        begun = missing[0]
        try:
            while len(missing) > sum(name in self.pictures for name in missing):
                message = json.loads((await worker.receive())[1])
                if message["type"] == "entry":
                    found = message["entry"]
                    self.entries[found["name"]] = found
                    with suppress(OSError):
                        (place / f"{names[found['name']]}.json").write_text(json.dumps(found))
                elif message["type"] == "listed":
                    self.listed.set()
                elif message["type"] == "begun":
                    begun = message["name"]
                else:
                    self.pictures[message["name"]] = Path(files[message["name"]]) if message["made"] else None
        except (EOFError, TimeoutError):
            return begun
        finally:
            await worker.close()
        return None
