"""The process of one visitor's scene, and the server's end of it.

Both ends exchange packets over a socket: a letter, the length (uint32, little-endian), the bytes. The server sends the visitor's messages
(T); the process answers with texts (T), frames (B) and, every second, a sign of life (L). Processes are forked from one that has imported
torch, so that a scene opens at once; a process that crashes takes nothing with it.
"""

import asyncio
import functools
import json
import multiprocessing
import os
import select
import signal
import socket
import struct
import time
from contextlib import suppress
from typing import Any

HEAD = struct.Struct("<cI")
SILENCE = 90.0
"""seconds without a sign of life after which a process counts as hung; opening a world may take half of them on a busy machine"""

context = functools.cache(lambda: multiprocessing.get_context("forkserver"))


def prepare() -> None:
    """Start the process from which workers are forked; it imports torch and the scenes in the background."""
    from multiprocessing import forkserver

    context().set_forkserver_preload(["sensorium.web.scenes.all"])
    forkserver.ensure_running()


class Worker:
    """The server's end of a process. `role` is the name of a function of `sensorium.web.roles`, called with the socket and the arguments."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, role: str, *arguments: Any):
        self.ours, theirs = socket.socketpair()
        self.process = context().Process(target=_main, args=(theirs, role, arguments), daemon=True)
        with theirs:
            try:
                self.process.start()
            except BaseException:
                self.ours.close()
                raise

    @classmethod
    async def started(cls, role: str, *arguments: Any) -> "Worker":
        """A worker connected to the event loop; the first one waits until torch is imported."""
        future = asyncio.get_running_loop().run_in_executor(None, functools.partial(cls, role, *arguments))
        try:
            worker = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: done.exception() or done.result().abandon())
            raise
        worker.reader, worker.writer = await asyncio.open_connection(sock=worker.ours)
        return worker

    def abandon(self) -> None:
        """End a process that no one waits for."""
        self.ours.close()
        self.process.kill()

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message; a process that has ended gets none."""
        with suppress(ConnectionError):
            self.writer.write(packet(b"T", json.dumps(message).encode()))
            await self.writer.drain()

    async def receive(self) -> tuple[bytes, bytes]:
        """The next text (T) or frame (B). Errors: EOFError where the process has ended, TimeoutError where it hangs."""
        while True:
            try:
                kind, length = HEAD.unpack(await asyncio.wait_for(self.reader.readexactly(HEAD.size), SILENCE))
                data = await asyncio.wait_for(self.reader.readexactly(length), SILENCE)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                raise EOFError("the scene has ended unexpectedly") from error
            except TimeoutError:
                raise TimeoutError(f"the scene has not responded for {SILENCE:g} seconds") from None
            if kind != b"L":
                return kind, data

    async def close(self) -> None:
        """End the process: it ends by itself when the socket closes, and is killed where it does not."""
        self.writer.close()
        for _ in range(40):
            if not self.process.is_alive():
                break
            await asyncio.sleep(0.025)
        self.process.kill()
        await asyncio.to_thread(self.process.join)
        self.process.close()


def packet(kind: bytes, data: bytes) -> bytes:
    """A packet."""
    return HEAD.pack(kind, len(data)) + data


def _main(theirs: socket.socket, role: str, arguments: tuple[Any, ...]) -> None:
    """The program of a process."""
    from sensorium.core.processes import end_with
    from sensorium.web import roles

    end_with(None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    # what simulators print
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import torch

    torch.set_num_threads(1)
    with suppress(ConnectionError, Closed), torch.no_grad():
        getattr(roles, role)(Pipe(theirs), *arguments)


class Closed(Exception):
    """The server has closed its end."""


class Pipe:
    """The process's end of the socket."""

    def __init__(self, ours: socket.socket):
        self.socket, self.buffer, self.alive = ours, bytearray(), 0.0

    def send(self, message: dict[str, Any]) -> None:
        """Send a text."""
        self.socket.sendall(packet(b"T", json.dumps(message, allow_nan=False).encode()))

    def send_frame(self, data: bytes) -> None:
        """Send a frame."""
        self.socket.sendall(packet(b"B", data))

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message, after at most `seconds`; None where there is none. Errors: Closed."""
        if time.monotonic() - self.alive > 1:
            self.alive = time.monotonic()
            self.socket.sendall(packet(b"L", b""))
        while (found := self._taken()) is None:
            if not select.select([self.socket], [], [], max(0.0, seconds))[0]:
                return None
            data = self.socket.recv(1 << 16)
            if not data:
                raise Closed
            self.buffer += data
        return found

    def _taken(self) -> dict[str, Any] | None:
        """The first message of the buffer, removed from it."""
        if len(self.buffer) < HEAD.size:
            return None
        _, length = HEAD.unpack_from(self.buffer)
        if len(self.buffer) < HEAD.size + length:
            return None
        data = bytes(self.buffer[HEAD.size : HEAD.size + length])
        del self.buffer[: HEAD.size + length]
        return json.loads(data)
