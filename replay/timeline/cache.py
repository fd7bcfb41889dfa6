"""Index files: `timelines/ROOM.index` in the data directory, one a room.

A cache: an index is used only if its digest holds, if it was made by the same code, and if the log
has its hash at its position. Whatever else is found is overwritten. Nothing here raises.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.abc
import os
from hashlib import sha256
from pathlib import Path

import msgspec

from replay.reader import LogReader
from replay.store.errors import StoreError
from replay.timeline.index import TimelineIndex
from replay.uncollected import uncollected

DIRECTORY = "timelines"
_MODULES = ("anomalies", "categories", "index", "lanes")
_DIGEST_BYTES = 32


@functools.cache
def code_digest() -> bytes:
    """Digest of the code that makes an index."""
    digest = sha256()
    for name in _MODULES:
        module = f"replay.timeline.{name}"
        loader = importlib.import_module(module).__loader__
        source = (
            loader.get_source(module) if isinstance(loader, importlib.abc.InspectLoader) else ""
        )
        digest.update(f"{module}\x00{source}\x00".encode())
    return digest.digest()


def path_of(directory: Path, room: str) -> Path:
    """Where the index of a room is kept; names that no room has now are taken too."""
    return directory / DIRECTORY / f"{sha256(room.encode()).hexdigest()[:40]}.index"


def save(directory: Path, index: TimelineIndex) -> None:
    """Write an index down, all at once."""
    path = path_of(directory, index.room)
    content = msgspec.msgpack.encode(index.packed())
    waiting = path.with_suffix(f".{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            with waiting.open("wb") as file:
                file.write(code_digest() + sha256(content).digest())
                file.write(content)
            waiting.replace(path)
        finally:
            waiting.unlink(missing_ok=True)


def load(directory: Path, room: str, reader: LogReader) -> TimelineIndex | None:
    """The index of a room as it was last written down; None without a sound one."""
    try:
        content = path_of(directory, room).read_bytes()
    except OSError:
        return None
    head, body = content[: 2 * _DIGEST_BYTES], memoryview(content)[2 * _DIGEST_BYTES :]
    if head != code_digest() + sha256(body).digest():
        return None
    try:
        with uncollected():
            index = TimelineIndex.unpacked(msgspec.msgpack.decode(body))
        if index.room != room or reader.hash_at(room, index.position) != index.hash:
            return None
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError, IndexError, StoreError):
        return None
    return index
