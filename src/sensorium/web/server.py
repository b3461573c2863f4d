"""The application: the page, the gallery, and one WebSocket for each visitor. Paths come from tables, never from a request."""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import FileResponse

from sensorium.web.command import LOOPBACK
from sensorium.web.connection import Visitor
from sensorium.web.gallery import Gallery

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
    ".gz": "application/octet-stream", ".png": "image/png", ".woff2": "font/woff2",
}  # fmt: skip
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
FULL = 1013
"""the code of a WebSocket for "try again later"; the page's connection.ts knows it"""
VISITORS = 16
"""scenes that may be open at once"""


def app(folders: dict[str, Path], token: str = "", visitors: int = VISITORS) -> FastAPI:
    """The playground of agents, name -> folder. With a token every request of /api/ has to carry it as `?token=`."""
    gallery = Gallery(folders)
    assets = {path.name: path for path in (STATIC / "assets").glob("*") if path.suffix in TYPES}
    present: set[Visitor] = set()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await gallery.open()
        yield
        await gallery.close()

    application = FastAPI(title="Sensorium's playground", lifespan=lifespan, docs_url=None, redoc_url=None)
    application.state.present = present

    @application.middleware("http")
    async def guarded(request: Request, call_next: Any) -> Response:
        if not (token or loopback(request.headers.get("host"))):
            response = Response('{"detail":"this server answers as localhost only"}', 403, media_type="application/json")
        elif request.url.path.startswith("/api/") and not admitted(request.query_params.get("token")):
            response = Response('{"detail":"the address lacks the right token"}', 403, media_type="application/json")
        else:
            response = await call_next(request)
        for name, value in {"Content-Security-Policy": policy(request.headers.get("host")), **HEADERS}.items():
            response.headers[name] = value
        return response

    def admitted(given: str | None) -> bool:
        return not token or secrets.compare_digest((given or "").encode(), token.encode())

    @application.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", media_type=TYPES[".html"], headers={"Cache-Control": "no-cache"})

    @application.get("/assets/{name}", responses={404: {"description": "no such file"}})
    async def asset(name: str) -> FileResponse:
        if name not in assets:
            raise HTTPException(404, "no such file")
        return FileResponse(assets[name], media_type=TYPES[assets[name].suffix], headers={"Cache-Control": "no-cache"})

    @application.get("/api/gallery", responses={403: {"description": "wrong token"}})
    async def agents() -> dict[str, Any]:
        return {"agents": await gallery.agents()}

    @application.get("/api/thumbnail/{name}", responses={403: {"description": "wrong token"}, 404: {"description": "no thumbnail yet"}})
    async def thumbnail(name: str) -> Response:
        path = gallery.thumbnail(name)
        if path is None:
            raise HTTPException(404, "no thumbnail yet", {"Retry-After": "3"})
        return FileResponse(path, media_type="image/webp")

    @application.websocket("/api/scene")
    async def scene(websocket: WebSocket) -> None:
        known = token or loopback(websocket.headers.get("host"))
        if not known or not same_origin(websocket) or not admitted(websocket.query_params.get("token")):
            await websocket.close(1008)
            return
        if len(present) >= visitors:
            # a browser shows the page nothing of a handshake that is refused
            await websocket.accept()
            await websocket.close(FULL, f"all {visitors} places of this server are taken")
            return
        visitor = Visitor(websocket, {name: str(folder) for name, folder in folders.items()})
        present.add(visitor)
        try:
            await visitor.serve()
        finally:
            present.remove(visitor)

    return application


def policy(host: str | None) -> str:
    """The Content-Security-Policy of a page from `host`: WebSockets go there only. Not every browser counts them to 'self'."""
    named = host is not None and re.fullmatch(r"[\w.-]+(:\d+)?|\[[0-9a-fA-F:.]+\](:\d+)?", host, re.ASCII)
    return f"{POLICY} ws://{host} wss://{host}" if named else POLICY


def same_origin(websocket: WebSocket) -> bool:
    """Whether a WebSocket is opened by this server's own page."""
    origin = urlsplit(websocket.headers.get("origin", ""))
    return origin.scheme in ("http", "https") and bool(origin.netloc) and origin.netloc == websocket.headers.get("host")


def loopback(host: str | None) -> bool:
    """Whether a Host header names this machine: another name may be one that an attacker's page resolves to 127.0.0.1."""
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:
        return False
