"""One visitor: a WebSocket, and the process of the scene that is open in it."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from sensorium.web.messages import CRASHES, WINDOW, parsed, problem
from sensorium.web.worker import Worker

RATE, BURST = 150.0, 300.0
"""messages per second of a visitor, and at once; what exceeds them is read later"""


class Allowance:
    """A bucket of tokens: `wait` says how many seconds too early a message comes."""

    def __init__(self, rate: float, burst: float):
        self.rate, self.burst, self.tokens, self.last = rate, burst, burst, time.monotonic()

    def wait(self) -> float:
        """Take a token; the seconds until it is there."""
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.last) * self.rate) - 1
        self.last = now
        return max(0.0, -self.tokens / self.rate)


class Visitor:
    """A visitor's connection. The scene waits while three frames are on their way, so nothing piles up where a visitor stops reading."""

    def __init__(self, websocket: WebSocket, folders: dict[str, str]):
        self.websocket, self.folders = websocket, folders
        self.worker: Worker | None = None
        self.opened: dict[str, Any] = {}
        self.crashes: list[float] = []
        self.needed = asyncio.Event()
        """set while there is a process"""
        self.starting = asyncio.Lock()

    async def serve(self) -> None:
        """Serve until either end closes."""
        with suppress(WebSocketDisconnect, ConnectionError):
            await self.websocket.accept()
            await self.work()

    async def work(self) -> None:
        """Serve an accepted connection."""
        tasks = [asyncio.create_task(self.listen()), asyncio.create_task(self.show())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.worker:
                await self.worker.close()

    async def say(self, message: dict[str, Any]) -> None:
        """Send a text to the page."""
        await self.websocket.send_text(json.dumps(message))

    async def listen(self) -> None:
        """Pass the page's messages on to the scene's process."""
        allowance = Allowance(RATE, BURST)
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if pause := allowance.wait():
                await asyncio.sleep(pause)
            try:
                content = parsed(message.get("text") or message.get("bytes") or b"")
            except ValueError as error:
                await self.say(problem(str(error)))
                continue
            if content["type"] == "open":
                self.opened, self.crashes = content, []
                async with self.starting:
                    if self.worker is None:
                        await self.start()
                        continue
            if self.worker is not None:
                await self.worker.send(content)
            elif not self.opened:
                await self.say(problem("no scene is open"))

    async def start(self) -> None:
        """Start a process with the scene that was opened last."""
        self.worker = await Worker.started("scene", self.folders)
        await self.worker.send(self.opened)
        self.needed.set()

    async def show(self) -> None:
        """Pass the scene's texts and frames on to the page; restart a scene whose process has ended."""
        while True:
            await self.needed.wait()
            assert self.worker is not None
            try:
                kind, data = await self.worker.receive()
            except (EOFError, TimeoutError) as error:
                async with self.starting:
                    await self.restart(self.worker, str(error))
                continue
            if kind == b"T":
                await self.websocket.send_text(data.decode())
            else:
                await self.websocket.send_bytes(data)

    async def restart(self, worker: Worker, reason: str) -> None:
        """Replace a process that has ended or hangs, unless it does so again and again."""
        self.needed.clear()
        self.worker = None
        await worker.close()
        now = time.monotonic()
        self.crashes = [*(at for at in self.crashes if now - at < WINDOW), now]
        if len(self.crashes) >= CRASHES:
            await self.say(problem("the scene ends again and again; it is not restarted", fatal=True))
            return
        await self.say(problem(f"{reason} and is restarted"))
        await self.start()
