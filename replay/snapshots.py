"""Snapshots: states of rooms at some positions, kept so that later ones are found quickly.

A cache and nothing more, in a file of its own beside the log: deleting it loses nothing, and every
failure to read or write it is silent, for then the log is folded from further back.

A snapshot is used only if the log has, at its position, the hash that it was made at (so all the
log before is the same), if it was made by the same code, and if its content bears its own digest.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.abc
import sqlite3
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import msgspec

from actors.core.consumer import ConsumerState
from actors.core.producer import ProducerState
from actors.core.recovery import States
from actors.core.room_state import RoomState
from actors.core.transport import TransportState
from protocol.ids import Address
from replay.fold import Fold
from replay.uncollected import uncollected

FILE_NAME = "snapshots.sqlite3"
EVERY_ENVELOPES = 4096
"""Least distance between two snapshots of a room."""
ENVELOPE_BYTES = 256
"""A large state is kept less often: after an envelope for each so many bytes of it."""
BUSY_MS = 200

_SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshot (
    room     TEXT    NOT NULL,
    position INTEGER NOT NULL,
    code     BLOB    NOT NULL,  -- digest of the code that folded
    hash     BLOB    NOT NULL,  -- of the log at this position
    at_ns    INTEGER NOT NULL,
    size     INTEGER NOT NULL,  -- of the states before compression
    digest   BLOB    NOT NULL,  -- of hash and states
    states   BLOB    NOT NULL,  -- zlib of msgpack
    PRIMARY KEY (room, position, code)
) STRICT
"""
_STATE_TYPES: dict[str, type[msgspec.Struct]] = {
    "room": RoomState,
    "transport": TransportState,
    "producer": ProducerState,
    "consumer": ConsumerState,
}
_encoder = msgspec.msgpack.Encoder()
_decoders = {kind: msgspec.msgpack.Decoder(shape) for kind, shape in _STATE_TYPES.items()}
_raw_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_CODE = (
    *(f"actors.core.{name}" for name in ("room", "room_state", "transport", "producer")),
    *(f"protocol.{name}" for name in ("answers", "codec", "commands", "events", "messages")),
    *(f"protocol.{name}" for name in ("orders", "rtp_parameters", "transport_parameters")),
    "actors.core.consumer",
    "replay.fold",
)


@functools.cache
def code_digest() -> bytes:
    """Digest of the code that decides what a state is; another release has another one."""
    digest = sha256()
    for name in _CODE:
        loader = importlib.import_module(name).__loader__
        source = loader.get_source(name) if isinstance(loader, importlib.abc.InspectLoader) else ""
        digest.update(f"{name}\x00{source}\x00".encode())
    return digest.digest()


class Snapshots:
    """The snapshot file of a data directory. A context manager; nothing here raises."""

    def __init__(self, directory: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(sqlite3.Error, OSError):
            connection = sqlite3.connect(
                directory / FILE_NAME, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()

    def before(self, room: str, position: int) -> list[tuple[int, bytes]]:
        """Positions and hashes of a room's snapshots up to a position, the latest first."""
        return self._rows(
            "SELECT position, hash FROM snapshot WHERE room = ? AND position <= ? AND code = ? "
            "ORDER BY position DESC",
            (room, position, code_digest()),
        )

    def load(self, room: str, position: int) -> tuple[Fold, int] | None:
        """A fold that stands at a position, and the size of its states; None if there is none."""
        rows = self._rows(
            "SELECT hash, at_ns, size, digest, states FROM snapshot "
            "WHERE room = ? AND position = ? AND code = ?",
            (room, position, code_digest()),
        )
        if not rows:
            return None
        chained, at_ns, size, digest, packed = rows[0]
        try:
            content = zlib.decompress(packed)
            if _digest(chained, at_ns, content) != digest:
                return None
            with uncollected():
                states = _decode(content)
        except (zlib.error, msgspec.MsgspecError, KeyError, TypeError):
            return None
        fold = Fold(room)
        fold.position, fold.at_ns, fold.hash, fold.states = position, at_ns, chained, states
        return fold, size

    def save(self, fold: Fold) -> int:
        """Keep what a fold has come to; return the size of its states in bytes."""
        content = _encoder.encode(fold.states)
        row = (
            fold.name,
            fold.position,
            code_digest(),
            fold.hash,
            fold.at_ns,
            len(content),
            _digest(fold.hash, fold.at_ns, content),
            zlib.compress(content, 1),
        )
        self._rows("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return len(content)

    def forget(self, room: str, position: int) -> None:
        """Drop a snapshot that does not belong to the log any more."""
        self._rows("DELETE FROM snapshot WHERE room = ? AND position = ?", (room, position))

    def forget_other_code(self, room: str) -> None:
        """Drop what other releases have left of a room."""
        self._rows("DELETE FROM snapshot WHERE room = ? AND code <> ?", (room, code_digest()))

    def _rows(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error:
            return []


def distance(size: int) -> int:
    """Envelopes between a snapshot whose states have `size` bytes and the next one."""
    return max(EVERY_ENVELOPES, size // ENVELOPE_BYTES)


def _digest(chained: bytes, at_ns: int, content: bytes) -> bytes:
    return sha256(chained + at_ns.to_bytes(8, "big", signed=True) + content).digest()


def _decode(content: bytes) -> States:
    return {
        Address(address): _decoders[address.partition("/")[0]].decode(raw)
        for address, raw in _raw_decoder.decode(content).items()
    }
