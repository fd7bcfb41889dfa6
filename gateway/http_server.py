"""Runs the HTTP application on hypercorn's trio worker."""

from __future__ import annotations

import logging
import socket
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

KEEP_ALIVE_S = 15
READ_TIMEOUT_S = 60
GRACE_S = 1.0


async def serve_http(
    app: Any,
    listening: socket.socket,
    *,
    tls: tuple[Path, Path] | None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on a bound socket, which is closed in the end, until cancelled.

    `tls` are the files of certificate chain and key, checked before.
    """
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    if tls is not None:
        config.certfile, config.keyfile = (str(path) for path in tls)
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.read_timeout = READ_TIMEOUT_S
    config.graceful_timeout = GRACE_S
    config.backlog = 512

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, app, config, mode="asgi"))
        task_status.started()
