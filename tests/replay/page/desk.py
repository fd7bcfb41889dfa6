"""The replay API on a data directory, asked in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from gateway.http import Health, make_app
from gateway.keys import Secret
from gateway.replay_api.access import ReplayAccess
from gateway.replay_api.library import Library
from gateway.replay_api.routes import page_opened, replay_routes


class House:
    def health(self) -> Health:
        return Health(True, {})

    def rooms(self) -> list[Any]:
        return []

    def signal_port(self) -> int:
        return 3001


class Desk:
    """Asks, and wants 200 unless told otherwise."""

    def __init__(self, client: httpx.AsyncClient, library: Library) -> None:
        self.client = client
        self.library = library

    async def __call__(self, path: str, status: int = 200, **parameters: Any) -> Any:
        headers = parameters.pop("headers", None)
        answer = await self.client.get(f"/api/replay{path}", params=parameters, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    async def indexed(self, room: str) -> Any:
        """The summary of a room once its index is whole."""
        with trio.fail_after(60):
            while True:
                told = await self(f"/{room}")
                if not told["building"] and told["indexed"] == told["end"]:
                    return told
                await trio.sleep(0.05)


@asynccontextmanager
async def desk(
    data: Path, *, secret: Secret | None = None, loopback_only: bool = True
) -> AsyncIterator[Desk]:
    """The API of a server on loopback, unless told otherwise."""
    library = Library(data)
    access = ReplayAccess(secret, loopback_only)
    app = make_app(
        House(),
        version="0",
        signaling_url=None,
        secret=secret,
        replay=replay_routes(library, access),
        replay_opened=page_opened(library, access),
    )
    transport = httpx.ASGITransport(app=app)
    async with trio.open_nursery() as nursery:
        await nursery.start(library.run)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Desk(client, library)
        nursery.cancel_scope.cancel()
