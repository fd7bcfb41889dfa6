"""What an export is made from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from protocol.envelope import Envelope
from replay.export.beside import Beside
from replay.export.version import reprise_version

Envelopes = Callable[[], Iterator[Envelope]]
"""Begins anew at each call; each time the same envelopes, in order of position."""


class Source(msgspec.Struct, frozen=True):
    """A room's log, or a stretch of it, redacted or not."""

    room: str
    envelopes: Envelopes
    redacted: bool = False
    beside: Beside | None = None
    """Telemetry and recordings; None: nobody looks for them."""


def versions() -> dict[str, str]:
    """The versions that an export was made with."""
    return {"reprise": reprise_version(), "python": sys.version.partition(" ")[0]}


def json_text(value: Any) -> str:
    """A value as one line of JSON."""
    return msgspec.json.encode(value).decode()
