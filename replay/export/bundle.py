"""A bundle: one zip with every format, the state at the end, figures, settings and versions.

For whoever must look at a session without the log: `manifest.json` says what is in it. The same log
gives the same bytes, for the files bear no times of their own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import msgspec

from protocol.messages import OpenRoom
from replay.document import render
from replay.errors import LogNotUnderstood
from replay.export import chrome_trace, jsonl, mermaid, otlp, rtcstats, telemetry
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
_TELEMETRY, _RECORDINGS = "telemetry.jsonl", "recordings.pcapng"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can say."""


def write(source: Source, target: IO[bytes]) -> None:
    """Write the bundle of a log that begins with its first position, or with a session."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:

        def write_file(name: str, pieces: Iterable[bytes]) -> None:
            with bundle.open(_entry(name), "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece)

        for name, export in _FILES.items():
            write_file(name, (text.encode() for text in export(source)))
        beside = source.beside
        more = []
        if beside is not None and beside.measured():
            write_file(_TELEMETRY, (text.encode() for text in telemetry.export(source)))
            more.append(_TELEMETRY)
        if beside is not None and beside.recordings():
            write_file(_RECORDINGS, beside.pcapng())
            more.append(_RECORDINGS)
        for name, value in _summaries(source, more).items():
            bundle.writestr(_entry(name), json_text(value) + "\n")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _summaries(source: Source, more: list[str]) -> dict[str, Any]:
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
        if source.beside is not None:
            for session in figures:
                source.beside.join(session)
        state = {"position": fold.position, "at_ns": fold.at_ns, "state": render(fold)}
        summed = {"state.json": state, "stats.json": msgspec.to_builtins(figures)}
    recordings = [] if source.beside is None else source.beside.recordings()
    manifest = {
        "room": source.room,
        "redacted": source.redacted,
        "first_position": first,
        "last_position": last,
        "head": None if source.redacted else head.hex(),
        "versions": versions(),
        "problem": problem,
        "recordings": [one._asdict() for one in recordings],
        "missing": {} if source.beside is None else source.beside.problems,
        "files": sorted([*_FILES, *more, *summed, "manifest.json", "settings.json"]),
    }
    return summed | {"settings.json": settings, "manifest.json": manifest}
