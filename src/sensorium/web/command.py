"""The command `sensorium play`: serve the playground and open it in the browser."""

import asyncio
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from sensorium.core import zoo
from sensorium.core.errors import Failure, Usage

PORT, TRIES = 8200, 20
"""the default port, and how many ports from there on are tried"""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def agents(given: list[str]) -> dict[str, Path]:
    """The folders to show by name: those given, or the zoo's. Errors: core.errors.Usage for a folder without an agent."""
    paths = [zoo.located(Path(name)).resolve() for name in given]
    if not given:
        paths = sorted(path for path in zoo.FOLDER.glob("*") if path.is_dir())
    found: dict[str, Path] = {}
    for name, path in zip(given or [path.name for path in paths], paths, strict=True):
        if not path.is_dir():
            raise Usage(f"no folder {name}; give a run, a stage or a zoo agent (`sensorium list` shows the zoo)")
        if not next(path.glob("card.json"), None) and not next(path.glob("*/card.json"), None):
            raise Usage(f"{name} holds no agent (no card.json)")
        label, number = path.name, 2
        while label in found:
            label, number = f"{path.name} {number}", number + 1
        found[label] = path
    if not found:
        raise Usage("the zoo is empty here; give the folder of an agent")
    return found


def listening(host: str, port: int | None) -> socket.socket:
    """A socket on a port: the one given, or the first free one from `PORT` on. Errors: core.errors."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port is not None else range(PORT, PORT + TRIES):
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, candidate))
            found.listen(128)
            return found
        except OSError as error:
            found.close()
            reason = error.strerror or str(error)
        except OverflowError:
            found.close()
            raise Usage(f"--port cannot be {port}; allowed: 0 to 65535") from None
    if port is not None:
        raise Failure(f"cannot listen on {host}, port {port}: {reason}; give another --port, or none to take a free one")
    raise Failure(f"cannot listen on {host}: {reason}; give --host and --port")


def play(given: list[str], host: str = "127.0.0.1", port: int | None = None, browser: bool = True) -> None:
    """Serve agents until Ctrl-C or SIGTERM. With a host other than this machine's own, the address has a random token.

    Errors: core.errors.Usage for a folder without an agent, core.errors.Failure for a missing extra or a port that is taken.
    """
    folders = agents(given)
    from sensorium.web import worker

    with listening(host, port) as found:
        worker.prepare()
        try:
            import uvicorn

            from sensorium.web.server import app
        except ImportError as error:
            raise Failure(f"the playground needs {error.name or 'FastAPI'}; pip install 'sensorium[web]'") from None
        token = "" if host in LOOPBACK else secrets.token_urlsafe(24)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{found.getsockname()[1]}/{f'?token={token}' if token else ''}"
        if len(folders) == 1:
            from urllib.parse import quote

            address += f"#/{quote(next(iter(folders)), safe='')}"
        config = uvicorn.Config(
            app(folders, token), log_level="warning", access_log=False, ws_max_size=8192, ws_per_message_deflate=False, timeout_graceful_shutdown=3,
            server_header=False, lifespan="on",
        )  # fmt: skip
        server = uvicorn.Server(config)

        def announce() -> None:
            print(f"sensorium: {address} (Ctrl-C ends it)", file=sys.stderr, flush=True)
            if browser:
                threading.Thread(target=lambda: webbrowser.open(address), daemon=True).start()

        asyncio.run(serve(server, found, announce))


async def serve(server: Any, found: socket.socket, announce: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; a second signal ends it at once."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, end)
    server.capture_signals = nullcontext  # uvicorn would raise the signals again at its end
    task = asyncio.create_task(server.serve([found]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    if not task.done():
        announce()
    await task
