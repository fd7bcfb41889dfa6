"""Serves pages and replay API of a data directory, and nothing else: `… DATA PORT [SECRET]`."""

from __future__ import annotations

import socket
import sys
from functools import partial
from pathlib import Path

import trio

from gateway.http import make_app
from gateway.http_server import serve_http
from gateway.keys import Secret
from gateway.replay_api.access import ReplayAccess
from gateway.replay_api.library import Library
from gateway.replay_api.routes import page_opened, replay_routes
from tests.replay.page.desk import House


async def main() -> None:
    """Serve until killed."""
    data, port = Path(sys.argv[1]), int(sys.argv[2])
    secret = Secret(sys.argv[3]) if len(sys.argv) > 3 else None
    library = Library(data)
    access = ReplayAccess(secret, loopback_only=True)
    app = make_app(
        House(),
        version="0",
        signaling_url=None,
        secret=secret,
        replay=replay_routes(library, access),
        replay_opened=page_opened(library, access),
    )
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    async with trio.open_nursery() as nursery:
        await nursery.start(library.run)
        await nursery.start(partial(serve_http, app, bound, tls=None))
        sys.stdout.write("ready\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main)
