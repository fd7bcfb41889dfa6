"""Says where the server is: a box for a person at a terminal, one log line for everyone else."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from typing import TextIO

import structlog

from gateway.settings import Settings
from gateway.version import version

_log = structlog.get_logger()


def announce(
    settings: Settings,
    *,
    http_port: int,
    signal_port: int,
    workers: list[str],
    stream: TextIO | None = None,
) -> None:
    """Tell that the server serves. `workers` are the UDP addresses of the media plane."""
    stream = sys.stdout if stream is None else stream
    secure = settings.tls.tls_cert is not None
    host = _host_for_people(settings)
    pages = f"http{'s' if secure else ''}://{host}:{http_port}/"
    signaling = f"ws{'s' if secure else ''}://{host}:{signal_port}/"
    access = "with a token" if settings.access.secret is not None else "anyone"
    if stream.isatty():
        lines = [
            f"Reprise {version()} serves",
            "",
            f"pages       {pages}",
            f"host page   {pages}host",
            f"signaling   {signaling}",
            f"media       UDP {', '.join(workers)}",
            f"joining     {access}",
            f"data        {settings.storage.data}",
            "",
            "Ctrl-C stops it",
        ]
        stream.write(box(lines))
        stream.flush()
    _log.info(
        "serving",
        pages=pages,
        signaling=signaling,
        media=workers,
        joining=access,
        data=str(settings.storage.data),
        version=version(),
    )


def box(lines: list[str]) -> str:
    """Lines within a frame."""
    width = max(len(line) for line in lines)
    body = "".join(f"│  {line.ljust(width)}  │\n" for line in lines)
    edge = "─" * (width + 4)
    return f"╭{edge}╮\n{body}╰{edge}╯\n"


def _host_for_people(settings: Settings) -> str:
    """A host that can be typed into a browser on this machine."""
    host = settings.network.host
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified or address.is_loopback:
        return "localhost"
    return f"[{host}]" if address.version == 6 else host
