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
_ARRAY_BYTES_MAX = 5
_ENTRY_BYTES_MAX = 1 + 5 + 9 + 2 + 32  # array of name, position, hash; but for the name itself
_CHARACTER_BYTES_MAX = 4
_NONE: Mapping[str, Head] = {}
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
    return HeadsReader(path).read()


class HeadsReader:
    """Reads a heads file again and again: what it has read already it does not read once more.

    Not thread-safe. A file that was replaced is read from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self._stamp = (0, 0, 0)
        self._header = b""
        self._heads: dict[str, Head] = {}
        self._offset = 0
        self._found: HeadsFound | None = None

    def read(self) -> HeadsFound | None:
        """Give what the file says now; None if there is none. Raises `OSError`.

        What is written within the clock tick of the last read may be left out.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(fd)
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._found is None or stamp != self._stamp:
                header = os.pread(fd, _HEADER.size, 0)
                sound = self._found is not None and self._found.damage is None
                if not sound or header != self._header or status.st_size < self._offset:
                    self._forget()
                self._found = self._read_on(fd, header, status.st_size)
                self._header, self._stamp = header, stamp
        finally:
            os.close(fd)
        return self._found

    def _read_on(self, fd: int, header: bytes, file_size: int) -> HeadsFound:
        try:
            magic, version, size, snapshot_rooms, salt, crc = _HEADER.unpack(header)
        except struct.error:
            return HeadsFound({}, "it is too short")
        if crc != zlib.crc32(header[:-4]) or magic != _HEADER_MAGIC:
            return HeadsFound({}, "its header is damaged")
        if version != _VERSION:
            return HeadsFound({}, f"its version {version} is unknown")
        self._offset = max(self._offset, _HEADER.size)
        rest = _read_all(fd, self._offset, file_size)
        known = self._offset + len(rest)
        whole, damage = _read_records(rest, salt, self._offset, self._heads)
        self._offset += whole
        if size != known:
            damage = f"it has {known} bytes instead of {size}"
        elif damage is None and len(self._heads) < snapshot_rooms:
            damage = f"it knows {len(self._heads)} rooms of at least {snapshot_rooms}"
        return HeadsFound(dict(self._heads), damage)


def _read_all(fd: int, offset: int, end: int) -> bytes:
    content = bytearray()
    while part := os.pread(fd, end - offset - len(content), offset + len(content)):
        content += part
    return bytes(content)


def _read_records(
    content: bytes, salt: int, begin: int, heads: dict[str, Head]
) -> tuple[int, str | None]:
    """Take records into `heads`; tell up to which byte all are whole, and what is damaged.

    `begin` is where the content stands in the file.
    """
    damage = None
    offset = 0
    while (record := _next_record(content, offset, salt)) is not None:
        start, end, entries = record
        if start != offset:
            damage = damage or f"the record at byte {begin + offset} is damaged"
        for room, position, digest in entries:
            if room not in heads or heads[room].position < position:
                heads[room] = Head(position, digest)
        offset = end
    return offset, damage


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


def _record_bytes_max(heads: Mapping[str, Head]) -> int:
    """How large the record of these heads is at most, wherever else they end up."""
    names_bytes = sum(len(n) if n.isascii() else _CHARACTER_BYTES_MAX * len(n) for n in heads)
    return _RECORD.size + _ARRAY_BYTES_MAX + len(heads) * _ENTRY_BYTES_MAX + names_bytes


class HeadsFile:
    """The writing side. Methods may raise `OSError` and block on the disk.

    Order of calls for a commit: `prepare`, the commit itself, `write`, or `abandon` if it failed.
    Only `prepare` needs space. `write` may run in another thread, for commits in their order and
    for several at once; but `prepare` may replace a file that `is_full_for` the next heads, and
    no `write` may be under way then. No two calls of `write`, and no two of the others, overlap.
    """

    def __init__(self, directory: Path, heads: Mapping[str, Head]) -> None:
        """Replace the file in `directory` by one that holds `heads`."""
        self._path = directory / FILE_NAME
        self._heads = dict(heads)
        self._fd = -1
        self._claimed = 0
        self._replace(0)

    def is_full_for(self, heads: Mapping[str, Head]) -> bool:
        """Tell whether `prepare` may have to replace the file."""
        return self._claimed + _record_bytes_max(heads) > self._size

    def prepare(self, heads: Mapping[str, Head], unwritten: Mapping[str, Head] = _NONE) -> None:
        """Make sure that there is space for these ends, beside all that are prepared already.

        `unwritten` are ends that were prepared, and not written or abandoned, even so.
        """
        needed_bytes = _record_bytes_max(heads)
        if self.is_full_for(heads):
            rest_bytes = _record_bytes_max(unwritten)
            self._claimed = self._offset + rest_bytes  # records took less than the most they could
            if self.is_full_for(heads):
                self._replace(rest_bytes + needed_bytes)
                self._claimed = self._offset + rest_bytes
        self._claimed += needed_bytes

    def abandon(self, heads: Mapping[str, Head]) -> None:
        """Take back what was prepared last: its commit failed."""
        self._claimed -= _record_bytes_max(heads)

    def write(self, heads: Mapping[str, Head]) -> None:
        """Record ends that were prepared, of one commit or of several; on return it is durable.

        After an error it is not known what is on the disk: the caller must not go on.
        """
        record = _record(self._salt, heads.items())
        _write_all(self._fd, record, self._offset)
        os.fdatasync(self._fd)
        self._offset += len(record)
        self._heads.update(heads)

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
        self._claimed = used
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
