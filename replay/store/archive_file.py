r"""The archive of one sealed session: a compressed file that proves itself.

Layout, integers big-endian:

    magic 8 bytes "RPRARCHV", format version u32, size of the header u32, CRC-32 of the header u32
    header      msgpack map, the fields of `ArchiveHeader`
    blocks      zstd frames, one after another
    index       msgpack array of the fields of `Block`, one array a block
    footer      offset of the index u64, its size u32, its CRC-32 u32, magic 8 bytes "RPRAEND\0"

A block holds up to `BLOCK_ENVELOPES` envelopes as a msgpack array of columns: time (difference to
the one before), actor, whether it is a message, type, version, cause (distance back, 0 for none),
correlation, data, entropy. The column of data is sorted by actor, and for each in order of
position: what an actor says resembles what it said before.

Positions are dense, so they are not written. Nor are hashes: reading recomputes the chain from the
hash before the block, and it must end at the hash that the next block begins with, and at the last
block's end at the header's. So every flipped bit is found, by the block's SHA-256 or by the chain;
what stands before the damaged block stays readable.
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from protocol.envelope import Envelope, chain_fields
from replay.store.errors import LogDamaged, StoreReadFailed, StoreVersionUnknown

FORMAT_VERSION = 1
BLOCK_ENVELOPES = 16_384
"""Most envelopes of a block: reading one takes about 40 ms, and some 10 MB while it is kept."""
BLOCK_BYTES = 4 << 20
"""Payload bytes at which a block ends before it is full."""
LEVEL = 15

_MAGIC = b"RPRARCHV"
_END = b"RPRAEND\x00"
_START = struct.Struct(">8sIII")
_FOOTER = struct.Struct(">QII8s")
_HEADER_BYTES_MAX = 1 << 16
_INDEX_BYTES_MAX = 256 << 20
_RAW_BYTES_MAX = 64 << 20
_BLOCKS_KEPT = 2
_encode = msgspec.msgpack.Encoder().encode
_decode_columns = msgspec.msgpack.Decoder(
    tuple[
        list[int],
        list[str],
        list[bool],
        list[str],
        list[int],
        list[int],
        list[str | None],
        list[bytes],
        list[bytes],
    ]
).decode


class ArchiveHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds: positions `first` to `last` of a room, and the hashes around them."""

    room: str
    first: int
    last: int
    before_hash: bytes
    """At the position before `first`."""
    hash: bytes
    """At `last`."""
    first_at_ns: int
    last_at_ns: int
    messages: int
    events: int
    written_at_ns: int
    release: str
    """Of the program that wrote it; for information."""


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Where a block stands, what it begins with, and the SHA-256 of its compressed bytes."""

    offset: int
    size: int
    raw_size: int
    first: int
    count: int
    before_hash: bytes
    checksum: bytes


_decode_header = msgspec.msgpack.Decoder(ArchiveHeader).decode
_decode_index = msgspec.msgpack.Decoder(list[Block]).decode


def write_archive(path: Path, header: ArchiveHeader, batches: Iterable[Sequence[Envelope]]) -> int:
    """Write an archive and make it durable; give its size in bytes.

    `batches` are all envelopes that the header names, in order. An existing file is replaced in
    place, so write beside the final name. Raises `OSError`, and `ValueError` if the envelopes are
    not those of the header.
    """
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
    body = _encode(header)
    blocks: list[Block] = []
    last_hash = header.before_hash
    with path.open("wb") as file:
        os.chmod(path, 0o600)  # noqa: PTH101
        file.write(_START.pack(_MAGIC, FORMAT_VERSION, len(body), zlib.crc32(body)) + body)
        for group in _grouped(batches):
            raw = _encode(_columns(group))
            packed = compressor.compress(raw)
            blocks.append(
                Block(
                    offset=file.tell(),
                    size=len(packed),
                    raw_size=len(raw),
                    first=group[0].position,
                    count=len(group),
                    before_hash=last_hash,
                    checksum=sha256(packed).digest(),
                )
            )
            file.write(packed)
            last_hash = group[-1].hash
        written = sum(block.count for block in blocks)
        if last_hash != header.hash or written != header.last - header.first + 1:
            raise ValueError("the envelopes are not those of the header")
        index, offset = _encode(blocks), file.tell()
        file.write(index + _FOOTER.pack(offset, len(index), zlib.crc32(index), _END))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _grouped(batches: Iterable[Sequence[Envelope]]) -> Iterable[list[Envelope]]:
    group: list[Envelope] = []
    size = 0
    for batch in batches:
        for envelope in batch:
            group.append(envelope)
            size += len(envelope.data)
            if len(group) >= BLOCK_ENVELOPES or size >= BLOCK_BYTES:
                yield group
                group, size = [], 0
    if group:
        yield group


def _columns(group: Sequence[Envelope]) -> list[list[Any]]:
    times = [group[0].at_ns]
    times += [b.at_ns - a.at_ns for a, b in pairwise(group)]
    return [
        times,
        [e.actor for e in group],
        [e.kind == "message" for e in group],
        [e.type for e in group],
        [e.version for e in group],
        [0 if e.cause is None else e.position - e.cause for e in group],
        [e.correlation for e in group],
        [group[n].data for n in _by_actor([e.actor for e in group])],
        [e.entropy for e in group],
    ]


def _by_actor(actors: Sequence[str]) -> list[int]:
    """Places in a block in the order of their actors."""
    return sorted(range(len(actors)), key=actors.__getitem__)


class Archive:
    """An archive opened for reading. Not thread-safe; `close` lets go of the file.

    Raises on opening `FileNotFoundError`, `StoreReadFailed`, `StoreVersionUnknown`, and
    `LogDamaged` for a file that is torn or altered.
    """

    def __init__(self, path: Path, room: str, first: int) -> None:
        self._path = path
        self._first = first
        self._room = room
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreReadFailed(f"cannot read {path.name}: {error.strerror}") from error
        try:
            self.header, body_end = self._read_header()
            self.blocks = self._read_index(body_end)
        except BaseException:
            os.close(self._fd)
            raise
        self._firsts = array("q", [block.first for block in self.blocks])
        self._kept: OrderedDict[int, list[Envelope]] = OrderedDict()

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def stretch(self, after: int, up_to: int, limit: int) -> list[Envelope]:
        """Give the envelopes after `after` up to `up_to`, at least one and at most `limit`.

        Both must be within the archive. Raises `LogDamaged` for a block that does not check.
        """
        number = bisect_right(self._firsts, after + 1) - 1
        found: list[Envelope] = []
        while len(found) < limit and after < up_to:
            try:
                block = self._block(number)
            except LogDamaged:
                if found:
                    return found  # what is sound first; the next call meets the damage again
                raise
            begin = after + 1 - block[0].position
            found += block[begin : begin + min(limit - len(found), up_to - after)]
            after = found[-1].position
            number += 1
        return found

    def verify(self) -> None:
        """Recompute the whole chain from the file. Raises `LogDamaged`."""
        for number in range(len(self.blocks)):
            self._decoded(number)

    def _block(self, number: int) -> list[Envelope]:
        found = self._kept.get(number)
        if found is None:
            found = self._kept[number] = self._decoded(number)
            if len(self._kept) > _BLOCKS_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(number)
        return found

    def _decoded(self, number: int) -> list[Envelope]:
        block = self.blocks[number]
        packed = self._pread(block.size, block.offset)
        if sha256(packed).digest() != block.checksum:
            raise self._damage(block.first, "a block's checksum does not fit")
        try:
            raw = zstandard.ZstdDecompressor().decompress(packed, max_output_size=block.raw_size)
            columns = _decode_columns(raw)
        except (zstandard.ZstdError, msgspec.MsgspecError, MemoryError) as error:
            raise self._damage(block.first, "a block does not decode") from error
        if any(len(column) != block.count for column in columns):
            raise self._damage(block.first, "a block does not have the envelopes that it should")
        envelopes = self._envelopes(block, columns)
        last = number + 1 == len(self.blocks)
        after = self.header.hash if last else self.blocks[number + 1].before_hash
        if envelopes[-1].hash != after:
            raise self._damage(block.first, "the hash chain of a block does not end as it should")
        return envelopes

    def _envelopes(self, block: Block, columns: tuple[list[Any], ...]) -> list[Envelope]:
        room, previous, at_ns = self._room, block.before_hash, 0
        payloads = [b""] * block.count
        for n, payload in zip(_by_actor(columns[1]), columns[7], strict=True):
            payloads[n] = payload
        rows = zip(*columns[:7], payloads, columns[8], strict=True)
        envelopes = []
        for position, row in enumerate(rows, block.first):
            step, actor, message, type_, version, back, correlation, data, entropy = row
            at_ns += step
            kind: Any = "message" if message else "event"
            cause = position - back if back else None
            previous = chain_fields(
                previous,
                (
                    room,
                    position,
                    at_ns,
                    actor,
                    kind,
                    type_,
                    version,
                    cause,
                    correlation,
                    data,
                    entropy,
                ),
            )
            envelopes.append(
                Envelope(
                    room=room,
                    position=position,
                    at_ns=at_ns,
                    actor=actor,
                    kind=kind,
                    type=type_,
                    version=version,
                    cause=cause,
                    correlation=correlation,
                    data=data,
                    entropy=entropy,
                    hash=previous,
                )
            )
        return envelopes

    def _read_header(self) -> tuple[ArchiveHeader, int]:
        magic, version, size, crc = self._unpacked(_START, 0)
        if magic != _MAGIC:
            raise self._damage(self._first, "it is no archive")
        if version != FORMAT_VERSION:
            raise StoreVersionUnknown(
                f"{self._path.name} has format version {version}; this release knows"
                f" {FORMAT_VERSION}"
            )
        if size > _HEADER_BYTES_MAX:
            raise self._damage(self._first, "its header is damaged")
        body = self._pread(size, _START.size)
        try:
            header = _decode_header(body)
        except msgspec.MsgspecError as error:
            raise self._damage(self._first, "its header is damaged") from error
        if zlib.crc32(body) != crc or (header.room, header.first) != (self._room, self._first):
            raise self._damage(self._first, "its header is damaged, or another room's")
        return header, _START.size + size

    def _read_index(self, body_end: int) -> list[Block]:
        end = os.fstat(self._fd).st_size - _FOOTER.size
        offset, size, crc, magic = self._unpacked(_FOOTER, max(end, 0))
        if magic != _END or size > _INDEX_BYTES_MAX or offset + size != end:
            raise self._damage(self._first, "it is torn off")
        raw = self._pread(size, offset)
        try:
            blocks = _decode_index(raw)
        except msgspec.MsgspecError as error:
            raise self._damage(self._first, "its index is damaged") from error
        position, place = self.header.first, body_end
        for block in blocks:
            if (block.first, block.offset) != (position, place) or block.count < 1:
                raise self._damage(self._first, "its index is damaged")
            if block.raw_size > _RAW_BYTES_MAX:
                raise self._damage(self._first, "its index is damaged")
            position, place = position + block.count, place + block.size
        ends_well = position == self.header.last + 1 and place == offset
        begins_well = bool(blocks) and blocks[0].before_hash == self.header.before_hash
        if zlib.crc32(raw) != crc or not (ends_well and begins_well):
            raise self._damage(self._first, "its index is damaged")
        return blocks

    def _unpacked(self, shape: struct.Struct, offset: int) -> tuple[Any, ...]:
        return shape.unpack(self._pread(shape.size, offset))

    def _pread(self, size: int, offset: int) -> bytes:
        try:
            found = os.pread(self._fd, size, offset)
        except OSError as error:
            raise StoreReadFailed(f"cannot read {self._path.name}: {error.strerror}") from error
        if len(found) != size:
            raise self._damage(self._first, "it is torn off")
        return found

    def _damage(self, position: int, reason: str) -> LogDamaged:
        return LogDamaged(self._room, position, f"its archive {self._path.name}: {reason}")
