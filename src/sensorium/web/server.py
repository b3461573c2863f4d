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


class Playground:
    """The playground of agents, name -> folder. With a token every request of /api/ has to carry it as `?token=`."""

    def __init__(self, folders: dict[str, Path], token: str, visitors: int):
        self.folders, self.token, self.visitors = folders, token, visitors
        self.gallery = Gallery(folders)
        self.assets = {path.name: path for path in (STATIC / "assets").glob("*") if path.suffix in TYPES}
        self.present: set[Visitor] = set()

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """The gallery, open while the server runs."""
        await self.gallery.open()
        yield
        await self.gallery.close()

    def admitted(self, given: str | None) -> bool:
        """Whether a request has the token."""
        return not self.token or secrets.compare_digest((given or "").encode(), self.token.encode())

    def known(self, host: str | None) -> bool:
        """Whether this server answers under a name: without a token as this machine only."""
        return bool(self.token) or loopback(host)

    async def guarded(self, request: Request, call_next: Any) -> Response:
        """Refuse requests by another name or without the token; add the headers of security to all responses."""
        if not self.known(request.headers.get("host")):
            response = Response('{"detail":"this server answers as localhost only"}', 403, media_type="application/json")
        elif request.url.path.startswith("/api/") and not self.admitted(request.query_params.get("token")):
            response = Response('{"detail":"the address lacks the right token"}', 403, media_type="application/json")
        else:
            response = await call_next(request)
        for name, value in {"Content-Security-Policy": policy(request.headers.get("host")), **HEADERS}.items():
            response.headers[name] = value
        return response

    async def page(self) -> FileResponse:
        """The page."""
        return FileResponse(STATIC / "index.html", media_type=TYPES[".html"], headers={"Cache-Control": "no-cache"})

    async def asset(self, name: str) -> FileResponse:
        """A file of the page."""
        if name not in self.assets:
            raise HTTPException(404, "no such file")
        return FileResponse(self.assets[name], media_type=TYPES[self.assets[name].suffix], headers={"Cache-Control": "no-cache"})

    async def agents(self) -> dict[str, Any]:
        """The agents and their scenes."""
        return {"agents": await self.gallery.agents()}

    async def thumbnail(self, name: str) -> Response:
        """The picture of an agent."""
        path = self.gallery.thumbnail(name)
        if path is None:
            raise HTTPException(404, "no thumbnail yet", {"Retry-After": "3"})
        return FileResponse(path, media_type="image/webp")

    async def scene(self, websocket: WebSocket) -> None:
        """A visitor's scenes, until the WebSocket closes."""
        headers = websocket.headers
        if not (self.known(headers.get("host")) and same_origin(websocket) and self.admitted(websocket.query_params.get("token"))):
            await websocket.close(1008)
            return
        if len(self.present) >= self.visitors:
            # a browser shows the page nothing of a handshake that is refused
            await websocket.accept()
            await websocket.close(FULL, f"all {self.visitors} places of this server are taken")
            return
        visitor = Visitor(websocket, {name: str(folder) for name, folder in self.folders.items()})
        self.present.add(visitor)
        try:
            await visitor.serve()
        finally:
            self.present.remove(visitor)


def app(folders: dict[str, Path], token: str = "", visitors: int = VISITORS) -> FastAPI:
    """The application of a `Playground`."""
    playground = Playground(folders, token, visitors)
    application = FastAPI(title="Sensorium's playground", lifespan=playground.lifespan, docs_url=None, redoc_url=None)
    application.state.present = playground.present
    application.middleware("http")(playground.guarded)
    refused: dict[int | str, dict[str, Any]] = {403: {"description": "wrong token"}}
    application.get("/", include_in_schema=False)(playground.page)
    application.get("/assets/{name}", responses={404: {"description": "no such file"}})(playground.asset)
    application.get("/api/gallery", responses=refused)(playground.agents)
    application.get("/api/thumbnail/{name}", responses={**refused, 404: {"description": "no thumbnail yet"}})(playground.thumbnail)
    application.websocket("/api/scene")(playground.scene)
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
