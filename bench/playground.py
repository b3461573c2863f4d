"""Load of the playground: `python bench/playground.py [--seconds 60] [--visitors 8] [--scenes]`, one JSON document.

It starts `sensorium play` with an empty cache and plays visitors that show each frame at once: seconds until the page and the gallery are there,
frames per second of every scene, milliseconds from an input to its effect, and the memory of all its processes while `visitors` watch the
cart-pole.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect


def head(data: bytes) -> dict[str, Any]:
    """The JSON of a frame."""
    return json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])


class Page:
    """A visitor's page."""

    def __init__(self, port: int):
        self.uri, self.origin = f"ws://127.0.0.1:{port}/api/scene", f"http://127.0.0.1:{port}"

    async def __aenter__(self) -> "Page":
        self.connection = connect(self.uri, origin=self.origin, max_size=None, compression=None, proxy=None)  # type: ignore[arg-type]
        self.socket = await self.connection.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.connection.__aexit__(*error)

    async def tell(self, **message: Any) -> None:
        """Send a message."""
        await self.socket.send(json.dumps(message))

    async def next(self) -> dict[str, Any]:
        """The next text or frame; a frame is reported as shown."""
        data = await asyncio.wait_for(self.socket.recv(), 60)
        message = json.loads(data) if isinstance(data, str) else head(data)
        if "frame" in message:
            await self.tell(type="shown", frame=message["frame"])
        if message.get("type") == "problem":
            raise RuntimeError(message["message"])
        return message

    async def open(self, agent: str, scene: str, seed: int = 0) -> float:
        """Open a scene; the seconds until its first frame."""
        began = time.perf_counter()
        await self.tell(type="open", agent=agent, scene=scene, seed=seed)
        while "frame" not in await self.next():
            pass
        return time.perf_counter() - began

    async def rate(self, seconds: float) -> float:
        """Frames per second over some seconds."""
        began, frames = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            frames += "frame" in await self.next()
        return frames / (time.perf_counter() - began)

    async def latency(self) -> float:
        """Milliseconds from a press of `shuffle` to the first frame after it."""
        await self.tell(type="press", name="shuffle")
        began, changed = time.perf_counter(), False
        while True:
            message = await self.next()
            changed = changed or message.get("type") == "control"
            if changed and "frame" in message:
                return 1000 * (time.perf_counter() - began)


def processes(root: int) -> list[int]:
    """A process and all that it has started, directly or not."""
    found = [root]
    for process in found:
        for path in Path(f"/proc/{process}/task").glob("*/children"):
            found += [int(child) for child in path.read_text().split()]
    return found


def memory(root: int) -> float:
    """Proportional set size of a process and all that it has started, in MB: shared pages count once."""
    total = 0
    for process in processes(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


async def measured(process: subprocess.Popen, port: int, began: float, options: argparse.Namespace) -> dict[str, Any]:
    """All measurements."""

    def get(path: str) -> bytes | None:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60).read()
        except OSError:
            return None

    while get("/") is None:
        await asyncio.sleep(0.02)
    found: dict[str, Any] = {"page_seconds": round(time.perf_counter() - began, 2)}
    agents = json.loads(get("/api/gallery") or b"{}")["agents"]
    found["gallery_seconds"] = round(time.perf_counter() - began, 2)
    if options.scenes:
        while any(entry["thumbnail"] is None for entry in json.loads(get("/api/gallery") or b"{}")["agents"]):
            await asyncio.sleep(1)
        found["thumbnails_seconds"] = round(time.perf_counter() - began, 2)
        found["scenes"] = {}
        for agent in agents:
            for scene in agent["scenes"]:
                async with Page(port) as page:
                    first = await page.open(agent["name"], scene["name"])
                    found["scenes"][f"{agent['name']} {scene['name']}"] = [round(first, 2), round(await page.rate(4), 1)]
    async with Page(port) as page:
        await page.open("cart-pole", "senses")
        waits = sorted([await page.latency() for _ in range(50)])
        found["input_to_frame_ms"] = {"median": round(waits[25], 1), "p95": round(waits[47], 1)}
    pages = [await Page(port).__aenter__() for _ in range(options.visitors)]
    await asyncio.gather(*(page.open("cart-pole", "senses", seed) for seed, page in enumerate(pages)))
    found["memory_mb"] = [[0, round(memory(process.pid))]]
    rounds = max(1, round(options.seconds / 30))
    rates: list[list[float]] = []
    for number in range(rounds):
        rates.append(await asyncio.gather(*(page.rate(options.seconds / rounds) for page in pages)))
        found["memory_mb"].append([round((number + 1) * options.seconds / rounds), round(memory(process.pid))])
    found["visitors"] = options.visitors
    found["frames_per_second"] = {"lowest": round(min(map(min, rates)), 1), "mean": round(sum(map(sum, rates)) / rounds / len(pages), 1)}
    await asyncio.gather(*(page.__aexit__(None, None, None) for page in pages))
    return found


def main() -> None:
    """Start the playground and measure it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--scenes", action="store_true")
    parser.add_argument("--port", type=int, default=8390)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "sensorium.cli", "play", "--no-browser", "--port", str(options.port)],
            env={**os.environ, "XDG_CACHE_HOME": cache}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            found = asyncio.run(measured(process, options.port, began, options))
        finally:
            process.terminate()
            code = process.wait()
    print(json.dumps({**found, "exit_code": code, "load_average": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()
