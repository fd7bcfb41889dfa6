"""A bundle: one zip with every format, the state at the end, the figures, settings and versions.

For whoever must look at a session without the log: `manifest.json` says what is in it. The same log
gives the same bytes, for the files bear no times of their own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import msgspec

from protocol.messages import OpenRoom
from replay.document import render
from replay.errors import LogNotUnderstood
from replay.export import chrome_trace, jsonl, mermaid, otlp, rtcstats
from replay.export.source import Source, json_text, versions
from replay.fold import Fold, event_of
from replay.session_stats import sessions

_FILES: dict[str, Callable[[Source], Iterator[str]]] = {
    "log.jsonl": jsonl.export,
    "chrome-trace.json": chrome_trace.export,
    "sequence.mmd": mermaid.export,
    "rtcstats.txt": rtcstats.export,
    "otlp.json": otlp.export,
}
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can say."""


def write(source: Source, target: IO[bytes]) -> None:
    """Write the bundle of a log that begins with its first position, or with a session."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, export in _FILES.items():
            with bundle.open(_entry(name), "w", force_zip64=True) as file:
                for text in export(source):
                    file.write(text.encode())
        for name, value in _summaries(source).items():
            bundle.writestr(_entry(name), json_text(value) + "\n")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _summaries(source: Source) -> dict[str, Any]:
    """The files that sum up the log. What this release does not understand is said, not told."""
    fold = Fold(source.room)
    settings: dict[str, Any] = {}
    first = last = 0
    head = b""
    problem: str | None = None
    for envelope in source.envelopes():
        first, last, head = first or envelope.position, envelope.position, envelope.hash
        if problem is not None:
            continue
        if envelope.position == first and envelope.type != OpenRoom.__name__:
            problem = "this is a stretch of a session: its state and figures need its beginning"
            continue
        try:
            fold.apply(envelope)
            if envelope.type == OpenRoom.__name__ and envelope.kind == "message":
                settings[str(envelope.position)] = msgspec.to_builtins(event_of(envelope).settings)
        except LogNotUnderstood as error:
            problem = str(error)
    summed: dict[str, Any] = {}
    if problem is None:
        figures = list(sessions(source.envelopes()))
        state = {"position": fold.position, "at_ns": fold.at_ns, "state": render(fold)}
        summed = {"state.json": state, "stats.json": msgspec.to_builtins(figures)}
    manifest = {
        "room": source.room,
        "redacted": source.redacted,
        "first_position": first,
        "last_position": last,
        "head": None if source.redacted else head.hex(),
        "versions": versions(),
        "problem": problem,
        "files": sorted([*_FILES, *summed, "manifest.json", "settings.json"]),
    }
    return summed | {"settings.json": settings, "manifest.json": manifest}
