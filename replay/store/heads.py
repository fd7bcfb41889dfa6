"""Durable heads: a small file that remembers, outside the database, how far each log reaches.

SQLite recovers from any torn write, but a flipped bit in its write-ahead log makes it drop all
commits behind it in silence. So after each commit, and before anyone hears of it, the ends of the
rooms that it touched are recorded here as well; a database that is behind is then found out.

Layout. A header, then records, then zeros up to the size that the header names. Whoever opens the
file knows three cases apart:

- A record that is not whole and has none behind it was being written when the power went: nobody
  heard of its commit. It is no damage.
- A record that is not whole with a whole one behind it was whole once: damage.
- A header that does not check, or a file of another size than it says: damage.

The file is only ever replaced as a whole (new file, fsync, rename, fsync of the directory), when
it is full or the store opens. All its space is written beforehand, so that recording a head needs
no new space on the disk and one fdatasync of data only.

Checksums begin from a random salt of the file, for rooms' names come from outside and must not be
able to pass for records.
"""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import msgspec

from replay.store.interface import Head

FILE_NAME = "events.heads"

_HEADER = struct.Struct(">8sIQQII")  # magic, version, file size, snapshot rooms, salt, CRC-32
_HEADER_MAGIC = b"RPRHEADS"
_VERSION = 1
_RECORD = struct.Struct(">4sII")  # magic, payload bytes, salted CRC-32 of the payload
_RECORD_MAGIC = b"HEAD"
_PAYLOAD_BYTES_MAX = 16 << 20
_SNAPSHOT_ROOMS = 1000
_SPACE_BYTES = 4 << 20

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, int, bytes]]).decode


class HeadsFound(msgspec.Struct, frozen=True):
    """What a heads file says: for each room the furthest end known, and what is wrong with it."""

    heads: dict[str, Head]
    damage: str | None


def read_heads(path: Path) -> HeadsFound | None:
    """Read a heads file, which a writer may be appending to; None if there is none.

    Damage leaves a lower bound: ends that were recorded before or after the damaged place.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        magic, version, size, snapshot_rooms, salt, crc = _HEADER.unpack_from(content)
    except struct.error:
        return HeadsFound({}, "it is too short")
    if crc != zlib.crc32(content[: _HEADER.size - 4]) or magic != _HEADER_MAGIC:
        return HeadsFound({}, "its header is damaged")
    if version != _VERSION:
        return HeadsFound({}, f"its version {version} is unknown")
    heads, damage = _read_records(content, salt)
    if size != len(content):
        damage = f"it has {len(content)} bytes instead of {size}"
    elif damage is None and len(heads) < snapshot_rooms:
        damage = f"it knows {len(heads)} rooms of at least {snapshot_rooms}"
    return HeadsFound(heads, damage)


def _read_records(content: bytes, salt: int) -> tuple[dict[str, Head], str | None]:
    heads: dict[str, Head] = {}
    damage = None
    offset = _HEADER.size
    while (record := _next_record(content, offset, salt)) is not None:
        start, end, entries = record
        if start != offset:
            damage = damage or f"the record at byte {offset} is damaged"
        for room, position, digest in entries:
            if room not in heads or heads[room].position < position:
                heads[room] = Head(position, digest)
        offset = end
    return heads, damage


def _next_record(
    content: bytes, offset: int, salt: int
) -> tuple[int, int, list[tuple[str, int, bytes]]] | None:
    """Find the first whole record at or behind `offset`: its start, its end, its entries."""
    while (start := content.find(_RECORD_MAGIC, offset)) >= 0:
        offset = start + 1
        if start + _RECORD.size > len(content):
            return None
        _, size, crc = _RECORD.unpack_from(content, start)
        end = start + _RECORD.size + size
        if size > _PAYLOAD_BYTES_MAX or end > len(content):
            continue
        if zlib.crc32(content[start + _RECORD.size : end], salt) == crc:
            with contextlib.suppress(msgspec.MsgspecError):
                return start, end, _decode(content[start + _RECORD.size : end])
    return None


def _record(salt: int, heads: Iterable[tuple[str, Head]]) -> bytes:
    payload = _encode([(room, head.position, head.hash) for room, head in heads])
    return _RECORD.pack(_RECORD_MAGIC, len(payload), zlib.crc32(payload, salt)) + payload


class HeadsFile:
    """The writing side. Not thread-safe; all methods may raise `OSError` and block on the disk.

    Order of calls for a commit: `prepare`, the commit itself, `write`. Only `prepare` needs space.
    """

    def __init__(self, directory: Path, heads: Mapping[str, Head]) -> None:
        """Replace the file in `directory` by one that holds `heads`."""
        self._path = directory / FILE_NAME
        self._heads = dict(heads)
        self._fd = -1
        self._prepared = b""
        self._pending: Mapping[str, Head] = {}
        self._replace(0)

    def prepare(self, heads: Mapping[str, Head]) -> None:
        """Make ready to record these ends, and make sure that there is space for them."""
        self._prepared = _record(self._salt, heads.items())
        if self._offset + len(self._prepared) > self._size:
            self._replace(len(self._prepared))
            self._prepared = _record(self._salt, heads.items())
        self._pending = heads

    def write(self) -> None:
        """Record what was prepared; on return it is durable.

        After an error it is not known what is on the disk: the caller must not go on.
        """
        _write_all(self._fd, self._prepared, self._offset)
        os.fdatasync(self._fd)
        self._offset += len(self._prepared)
        self._heads.update(self._pending)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _replace(self, needed_bytes: int) -> None:
        entries = iter(self._heads.items())
        records = bytearray()
        salt = int.from_bytes(os.urandom(4))
        while part := list(islice(entries, _SNAPSHOT_ROOMS)):
            records += _record(salt, part)
        used = _HEADER.size + len(records)
        size = used + needed_bytes + max(_SPACE_BYTES, used)
        start = _HEADER.pack(_HEADER_MAGIC, _VERSION, size, len(self._heads), salt, 0)[:-4]
        start += struct.pack(">I", zlib.crc32(start))
        fresh = self._path.with_suffix(".heads.new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_all(fd, start + bytes(records) + bytes(size - used), 0)
            os.fsync(fd)
            fresh.rename(self._path)
        except OSError:
            os.close(fd)
            fresh.unlink(missing_ok=True)
            raise
        self.close()
        self._fd, self._offset, self._size, self._salt = fd, used, size, salt
        sync_directory(self._path.parent)


def _write_all(fd: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
