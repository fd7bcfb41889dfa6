"""What an export is made from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from protocol.envelope import Envelope

Envelopes = Callable[[], Iterator[Envelope]]
"""Begins anew at each call; each time the same envelopes, in order of position."""


class Source(msgspec.Struct, frozen=True):
    """A room's log, or a stretch of it, redacted or not."""

    room: str
    envelopes: Envelopes
    redacted: bool = False


def reprise_version() -> str:
    """The version of this program."""
    try:
        return version("reprise-sfu")
    except PackageNotFoundError:  # run from its sources
        return "unknown"


def versions() -> dict[str, str]:
    """The versions that an export was made with."""
    return {"reprise": reprise_version(), "python": sys.version.partition(" ")[0]}


def json_text(value: Any) -> str:
    """A value as one line of JSON."""
    return msgspec.json.encode(value).decode()
