"""HTTP: the pages, what they must know, and what operators and load balancers ask.

| path | what it is |
| --- | --- |
| `/`, `/host`, `/viewer/{room}`, `/meet/{room}` | the pages, as built into gateway/static |
| `/replay/`, `/replay/{room}` | the time machine: sessions, and one of them |
| `/static/…` | scripts and styles; names with a hash in them may be kept for ever |
| `/config.json` | where signaling is |
| `/healthz` | how the server is; 503 when it does not serve |
| `/api/rooms/{room}` | whether a room is open |
| `/api/rooms/{room}/capture` | POST: freeze the flight recorder; for operators |
| `/api/rooms/{room}/peers/{peer}/forget` | POST: make a person's data unreadable; for operators |
| `/api/rooms` | all rooms, for who knows the server's secret |
| `/api/replay…` | sessions, read-only: see `gateway.replay_api.routes` |
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.addresses import is_loopback
from gateway.keys import Secret
from protocol.store_error import StoreError
from replay.errors import ReplayError
from replay.forgetting import Forgotten

STATIC = Path(__file__).with_name("static")
_HASHED_NAME = re.compile(r"-[A-Z0-9]{8}\.")
_YEAR_S = 31_536_000
_BODY_BYTES_MAX = 4096

_SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data: blob:; font-src 'self'; media-src 'self' blob: mediastream:;"
    " connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self), display-capture=(self),"
    " autoplay=(self), fullscreen=(self), picture-in-picture=(self), geolocation=(), payment=()",
}


class RoomView(Protocol):
    """A room at a glance, as `actors.system.RoomInfo` has it."""

    @property
    def room(self) -> str:
        """Its name."""
        ...

    @property
    def peers(self) -> int:
        """How many are in it."""
        ...

    @property
    def producers(self) -> int:
        """How many tracks are published."""
        ...

    @property
    def streaming(self) -> bool:
        """Whether it is live."""
        ...


class Health(NamedTuple):
    """How the server is. `serving` is what a load balancer wants to know."""

    serving: bool
    report: dict[str, Any]


class House(Protocol):
    """What HTTP may ask of the server."""

    def health(self) -> Health:
        """How the server is, now."""
        ...

    def rooms(self) -> Sequence[RoomView]:
        """All open rooms."""
        ...

    def capture(self, room: str, transport: str | None) -> bool:
        """Freeze the flight recorder of a room, or of one transport; False without such a room."""
        ...

    async def forget(self, room: str, peer: str) -> Forgotten | None:
        """Make a peer's personal data unreadable; None if there never was one.

        Raises `StoreError` or `ReplayError`.
        """
        ...

    def signal_port(self) -> int:
        """TCP port of signaling."""
        ...


def make_app(
    house: House,
    *,
    version: str,
    signaling_url: str | None,
    secret: Secret | None,
    static: Path = STATIC,
    replay: Sequence[Route] = (),
    replay_opened: Callable[[Request], None] | None = None,
) -> Starlette:
    """The ASGI application.

    `static` is where the pages were built; `replay` are the routes of the API of sessions, and
    `replay_opened` is told of each request for the page of one.
    """
    pages = _Pages(static)
    operators = _Operators(house, secret)

    async def config(_request: Request) -> Response:
        found = {
            "signalingUrl": signaling_url,
            "signalingPort": house.signal_port(),
            "version": version,
        }
        return _json(found)

    async def healthz(_request: Request) -> Response:
        health = house.health()
        return _json(health.report, 200 if health.serving else 503)

    async def room(request: Request) -> Response:
        wanted = request.path_params["room"]
        for view in house.rooms():
            if view.room == wanted:
                return _json({"room": view.room, "streaming": view.streaming})
        return _error(404, "room_not_found", "there is no such room")

    async def rooms(request: Request) -> Response:
        if not _knows(request, secret):
            return _error(401, "unauthorized", "send Authorization: Bearer, and the secret")
        found = [
            {
                "room": view.room,
                "peers": view.peers,
                "producers": view.producers,
                "streaming": view.streaming,
            }
            for view in house.rooms()
        ]
        return _json({"rooms": found})

    async def not_found(request: Request, _error_found: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return _error(404, "not_found", "there is nothing here")
        return pages.answer("404.html", 404)

    async def other_error(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        text = error.detail if isinstance(error, HTTPException) else "Internal Server Error"
        return PlainTextResponse(f"{text}\n", status, headers)

    return Starlette(
        routes=[
            Route("/", pages.page("index.html")),
            Route("/host", pages.page("host.html")),
            Route("/viewer/{room}", pages.page("viewer.html")),
            Route("/meet/{room}", pages.page("meet.html")),
            Route("/replay/", pages.page("sessions.html")),
            Route("/replay/{room}", pages.page("replay.html", replay_opened)),
            Route("/config.json", config),
            Route("/healthz", healthz),
            Route("/api/rooms/{room}", room),
            Route("/api/rooms/{room}/capture", operators.capture, methods=["POST"]),
            Route("/api/rooms/{room}/peers/{peer}/forget", operators.forget, methods=["POST"]),
            Route("/api/rooms", rooms),
            *replay,
            Mount("/static", _Static(directory=static, check_dir=False)),
        ],
        middleware=[Middleware(_Headers)],
        exception_handlers={404: not_found, HTTPException: other_error, 500: other_error},
    )


class _Operators:
    """What operators may do."""

    def __init__(self, house: House, secret: Secret | None) -> None:
        self._house = house
        self._secret = secret

    async def capture(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        try:
            wanted = msgspec.json.decode(await _body(request), type=_Capture)
        except (msgspec.MsgspecError, ValueError) as error:
            return _error(400, "bad_request", str(error))
        if not self._house.capture(request.path_params["room"], wanted.transport):
            return _error(404, "room_not_found", "there is no such room")
        return _json({"room": request.path_params["room"], "transport": wanted.transport}, 202)

    async def forget(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        room, peer = request.path_params["room"], request.path_params["peer"]
        try:
            told = await self._house.forget(room, peer)
        except (StoreError, ReplayError) as error:
            return _error(503, "storage_unavailable", str(error))
        if told is None:
            return _error(404, "peer_not_found", "there never was such a peer in this room")
        return _json(told)

    def _refused(self, request: Request) -> Response | None:
        if not _operates(request, self._secret):
            return _error(401, "unauthorized", "send Authorization: Bearer, and the secret")
        if request.headers.get("content-type") != "application/json":
            return _error(415, "unsupported_media_type", "send Content-Type: application/json")
        return None


class _Pages:
    """The HTML files. They point at hashed names, so they themselves are asked for each time."""

    def __init__(self, static: Path) -> None:
        self._static = static

    def page(self, name: str, opened: Callable[[Request], None] | None = None) -> Any:
        async def answer(request: Request) -> Response:
            if opened is not None:
                opened(request)
            return self.answer(name)

        return answer

    def answer(self, name: str, status: int = 200) -> Response:
        path = self._static / name
        if not path.is_file():
            if status == 404:
                return PlainTextResponse("There is nothing here.\n", 404)
            return PlainTextResponse("The pages are not built: run make build.\n", 503)
        return FileResponse(path, status, headers={"cache-control": "no-cache"})


class _Static(StaticFiles):
    """Files whose name has their content's hash never change; all others are asked for again."""

    async def check_config(self) -> None:
        """Pages that are not built are no fault: what is asked for is not there."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        hashed = _HASHED_NAME.search(Path(str(arguments[0])).name)
        response.headers["cache-control"] = (
            f"public, max-age={_YEAR_S}, immutable" if hashed else "no-cache"
        )
        return response


class _Headers:
    """Adds the security headers to every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [
            (name.encode("latin1"), value.encode("latin1"))
            for name, value in _SECURITY_HEADERS.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _Capture(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a request to capture."""

    transport: str | None = None


async def _body(request: Request) -> bytes:
    """The body, if it is short. Raises ValueError."""
    body = b""
    announced = request.headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdecimal() or int(announced) > _BODY_BYTES_MAX:
        raise ValueError(f"a body of at most {_BODY_BYTES_MAX} bytes")
    async with aclosing(request.stream()) as parts:
        async for part in parts:
            body += part
            if len(body) > _BODY_BYTES_MAX:
                raise ValueError(f"a body of at most {_BODY_BYTES_MAX} bytes")
    return body or b"{}"


def _operates(request: Request, secret: Secret | None) -> bool:
    """Whether a request comes from who runs the server.

    It bears the secret; without a secret it comes from this machine, from no page (they send an
    `Origin` with a POST) and through no proxy.
    """
    if secret is not None:
        return _knows(request, secret)
    client = request.client
    through = {"origin", "forwarded", "x-forwarded-for"} & set(request.headers)
    return client is not None and is_loopback(client.host) and not through


def _knows(request: Request, secret: Secret | None) -> bool:
    """Whether a request bears the server's secret. Without a secret nobody does."""
    if secret is None:
        return False
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.encode(), secret.reveal().encode()
    )


def _json(tree: object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(tree),
        status,
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )


def _error(status: int, code: str, message: str) -> Response:
    return _json({"error": {"code": code, "message": message}}, status)
