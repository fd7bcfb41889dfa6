"""Where a script is read from: a room in a data directory, or a zip that somebody was given.

A zip is a history (an event store, as `tests/histories` has them) or a bundle that
`reprise replay export --format bundle` wrote, redacted or not.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgpack
import msgspec

from protocol.envelope import Envelope
from protocol.personal import FORGOTTEN
from protocol.script import Script
from replay.errors import ReplayError
from replay.history import History
from replay.reader import LogReader
from replay.scripting.build import Builder
from replay.scripting.measured import Measured, telemetry_of

_STORE = ("events.sqlite3", "events.heads")
_BUNDLE_LOG = "log.jsonl"
_NEEDED = frozenset(("room", "position", "type", "kind", "data"))
_UNPACKED_BYTES_MAX = 4 << 30
_LINE_BYTES_MAX = 16 << 20
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_UNITS_S = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}

Progress = Callable[[int, int], None]
"""Told the position that was reached and the last one, which is 0 while it is unknown."""


def _ignore(_position: int, _end: int) -> None:
    pass


def read_script(
    source: str,
    directory: Path,
    *,
    until: str | None = None,
    lasting_ns: int | None = None,
    progress: Progress = _ignore,
) -> Script:
    """Make the script of a room's last session, or of a zip's.

    `until` is an instant, `lasting_ns` counts from the first step; both cut it. Blocks. Raises
    `ReplayError` and `StoreError`, one line each.
    """
    path = Path(source)
    if source.endswith(".zip") or (path.is_file() and zipfile.is_zipfile(path)):
        return _of_zip(path, until, lasting_ns, progress)
    return _of_directory(directory, source, until, lasting_ns, progress)


def duration_ns(text: str) -> int:
    """Read a duration such as `90s`, `1.5m` or `250ms`. Raises `ValueError`."""
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS_S[found[2]] if found is not None else 0.0
    if not 0 < seconds <= 366 * 86_400:
        raise ValueError(f"{text!r} is no duration such as 90s, 5m or 1h")
    return round(seconds * 1e9)


def _of_directory(
    directory: Path, room: str, until: str | None, lasting_ns: int | None, progress: Progress
) -> Script:
    with LogReader(directory) as reader:
        history = History(reader, room)
        begin = history.session_start().position
        end = history.last_position if until is None else history.up_to(until)
        if history.damaged and until is None:
            history.end()  # raises, with the place of the damage

        def envelopes() -> Iterator[Envelope]:
            for batch in reader.batches(room, max(0, begin - 1), end):
                yield from reader.revealer.envelopes(batch)
                progress(batch[-1].position, end)

        def measure(builder: Builder) -> Measured:
            viewers = {peer: member.consumers for peer, member in builder.cast.items()}
            stretch_ns = (builder.begins_at_ns or 0, builder.last_at_ns + 1)
            return telemetry_of(directory, room, viewers, builder.producers, stretch_ns)

        return _build(Builder(room, measure), envelopes(), lasting_ns)


def _build(builder: Builder, envelopes: Iterator[Envelope], lasting_ns: int | None) -> Script:
    first = True
    for envelope in envelopes:
        if first and envelope.type != "OpenRoom":
            raise ReplayError(
                f"the beginning of {builder.room}'s session is not there: its first envelope is "
                f"{envelope.type} at position {envelope.position}"
            )
        first = False
        begun_ns = builder.begins_at_ns
        ends_ns = None if lasting_ns is None or begun_ns is None else begun_ns + lasting_ns
        if ends_ns is not None and envelope.at_ns > ends_ns:
            builder.last_at_ns = ends_ns
            break
        builder.take(envelope)
    made = builder.finish()
    if not made.peers:
        raise ReplayError(f"nobody joined {builder.room}: there is nothing to play")
    return made


def _of_zip(path: Path, until: str | None, lasting_ns: int | None, progress: Progress) -> Script:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if _STORE[0] in names:
                with _unpacked(archive, names) as directory:
                    room = _only_room(directory, path)
                    return _of_directory(directory, room, until, lasting_ns, progress)
            if _BUNDLE_LOG in names:
                if until is not None:
                    raise ReplayError("--until wants a log; cut a bundle with --duration")
                return _of_bundle(archive, path, lasting_ns, progress)
    except OSError as error:
        raise ReplayError(f"{path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ReplayError(f"{path} is no zip that can be read: {error}") from error
    raise ReplayError(f"{path} holds neither an event log nor a bundle of `reprise replay export`")


@contextmanager
def _unpacked(archive: zipfile.ZipFile, names: set[str]) -> Iterator[Path]:
    """Unpack a history's event store for a while."""
    wanted = [archive.getinfo(name) for name in _STORE if name in names]
    if sum(entry.file_size for entry in wanted) > _UNPACKED_BYTES_MAX:
        raise ReplayError("the zip's event log is larger than 4 GiB: unpack it, and use --data")
    with tempfile.TemporaryDirectory(prefix="reprise-drive-") as scratch:
        for entry in wanted:
            archive.extract(entry, scratch)
        yield Path(scratch)


def _only_room(directory: Path, path: Path) -> str:
    with LogReader(directory) as reader:
        summaries, _damage = reader.rooms()
    if len(summaries) != 1:
        raise ReplayError(
            f"{path} holds {len(summaries)} rooms: unpack it, and use --data with one of them"
        )
    return str(summaries[0].room)


def _of_bundle(
    archive: zipfile.ZipFile, path: Path, lasting_ns: int | None, progress: Progress
) -> Script:
    last_opening, last_position, room = 0, 0, ""
    for line in _lines(archive, path):
        room, last_position = str(line["room"]), int(line["position"])
        if line["type"] == "OpenRoom" and line["kind"] == "message":
            last_opening = last_position

    def envelopes() -> Iterator[Envelope]:
        for line in _lines(archive, path):
            if line["position"] >= last_opening:
                yield _envelope(line, path)
                progress(line["position"], last_position)

    return _build(Builder(room), envelopes(), lasting_ns)


def _lines(archive: zipfile.ZipFile, path: Path) -> Iterator[dict[str, Any]]:
    file: IO[bytes]
    with archive.open(_BUNDLE_LOG) as file:
        while text := file.readline(_LINE_BYTES_MAX):
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ReplayError(f"{path}: {_BUNDLE_LOG} is no log: {error}") from error
            if not isinstance(line, dict) or not line.keys() >= _NEEDED:
                raise ReplayError(f"{path}: {_BUNDLE_LOG} has a line that is no envelope")
            yield line


def _envelope(line: dict[str, Any], path: Path) -> Envelope:
    """The envelope of a line; hashes and random choices, which no script needs, are left out."""
    try:
        payload = msgpack.packb(_decodable(line["data"]))
        return msgspec.convert(
            line | {"data": payload, "entropy": b"", "hash": b""}, Envelope, strict=True
        )
    except (msgspec.ValidationError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise ReplayError(f"{path}: {_BUNDLE_LOG} has what is no envelope: {error}") from error


def _decodable(tree: Any, key: str = "") -> Any:
    """A payload whose forgotten values have the shapes that their fields demand."""
    match tree:
        case dict():
            return {name: _decodable(item, name) for name, item in tree.items()}
        case list():
            return [_decodable(item, key) for item in tree]
        case str() if tree == FORGOTTEN and key in ("app_data", "appData"):
            return {}
        case str() if tree == FORGOTTEN and key == "value":
            return ":".join(["00"] * 32)
    return tree
