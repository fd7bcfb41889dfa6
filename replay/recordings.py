"""Reads frozen recordings: which there are, and their packets."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple

from replay.errors import ReplayError
from replay.recording_store import LAYOUT, path_in
from replay.side_store import reading

PacketClass = Literal["rtp", "rtcp", "stun", "dtls", "other"]

_VERSION = 1
_CHUNK = struct.Struct("<BQB")
_ENTRY = struct.Struct("<IBBBBHH")
_CLASSES: dict[int, PacketClass] = {1: "rtp", 2: "rtcp", 3: "stun", 4: "dtls", 5: "other"}
_REMOTE = 6
_OUT, _NUMBERED = 1, 2


class Recording(NamedTuple):
    """One frozen recording."""

    transport: str
    reason: str
    position: int
    """Of the event in the room's log that asked for it."""
    at_ns: int
    parts: int
    missing: int
    """Parts that were lost on their way here."""


class Packet(NamedTuple):
    """One packet of a recording."""

    at_ns: int
    kind: PacketClass
    out: bool
    length: int
    """Of the UDP payload on the wire."""
    captured: bytes
    """Its first bytes; of RTCP, those of the decrypted compound."""
    dropped: str | None
    """Why it was dropped, a word of `TransportStats.drops`."""
    transport_cc: int | None
    """Transport-wide sequence number of a forwarded packet."""
    remote: tuple[str, int] | None
    """IP address and port of the peer, as far as the recording knows it."""


class Recordings:
    """The recordings of one data directory. Raises `StoreError`; `StoreMissing` without any."""

    def __init__(self, directory: Path) -> None:
        self._path = path_in(directory)

    def of_room(self, room: str, *, transport: str | None = None) -> list[Recording]:
        """The recordings of a room, in order of position."""
        with reading(self._path, LAYOUT, "recordings") as connection:
            rows = connection.execute(
                "SELECT transport, reason, position, min(at_ns), max(parts), count(*)"
                " FROM recording JOIN room USING (room_id)"
                " WHERE room = ? AND (? IS NULL OR transport = ?)"
                " GROUP BY position, transport ORDER BY position, transport",
                (room, transport, transport),
            ).fetchall()
        return [
            Recording(transport, reason, position, at_ns, parts, parts - there)
            for transport, reason, position, at_ns, parts, there in rows
        ]

    def packets(self, room: str, recording: Recording) -> Iterator[Packet]:
        """The packets of a recording, in order of time. Raises `ReplayError` for a broken one."""
        with reading(self._path, LAYOUT, "recordings") as connection:
            rows = connection.execute(
                "SELECT at_ns, data FROM recording JOIN room USING (room_id)"
                " WHERE room = ? AND position = ? AND transport = ? ORDER BY part",
                (room, recording.position, recording.transport),
            )
            remote: tuple[str, int] | None = None
            for at_ns, data in rows:
                for packet in _packets(_inflated(data), at_ns, remote):
                    remote = packet.remote
                    yield packet


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise ReplayError(f"{LAYOUT.file_name}: a part of a recording: {error}") from error


def _packets(chunk: bytes, frozen_ns: int, remote: tuple[str, int] | None) -> Iterator[Packet]:
    try:
        version, before_us, count = _CHUNK.unpack_from(chunk)
        if version != _VERSION:
            raise ReplayError(f"{LAYOUT.file_name}: a recording of version {version}")
        at = _CHUNK.size
        reasons: list[str | None] = [None]
        for _ in range(count):
            end = at + 1 + chunk[at]
            reasons.append(chunk[at + 1 : end].decode())
            at = end
        at_ns = frozen_ns - before_us * 1000
        while at < len(chunk):
            delta_us, sort, marks, reason, size, length, number = _ENTRY.unpack_from(chunk, at)
            at += _ENTRY.size
            captured = chunk[at : at + size]
            if len(captured) < size:
                raise ReplayError(f"{LAYOUT.file_name}: a recording is cut off")
            at += size
            at_ns += delta_us * 1000
            if sort == _REMOTE:
                remote = (str(ip_address(captured[2:])), int.from_bytes(captured[:2], "big"))
                continue
            yield Packet(
                at_ns=at_ns,
                kind=_CLASSES[sort],
                out=bool(marks & _OUT),
                length=length,
                captured=captured,
                dropped=reasons[reason],
                transport_cc=number if marks & _NUMBERED else None,
                remote=remote,
            )
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise ReplayError(f"{LAYOUT.file_name}: a broken recording: {error}") from error
