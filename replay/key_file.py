r"""The file of personal keys: `personal.keys` in the data directory, readable by its owner alone.

It is no database, for a database copies what it holds (into its write-ahead log, and within itself
when pages are split), and a key must have one place where it can be destroyed:

    header   `RPRKEYS\0`, format version u64 (1); 48 bytes with zeros behind
    record   id (16 bytes), secret (32 bytes); zeros where the key was destroyed

Integers are big-endian. The first six bytes of an id are its record's number, the others chance; so
a key is found by one read, and an id that the file does not know finds nothing. Records are only
ever appended, by the process that holds `events.lock`, or overwritten with zeros. What a crash
leaves of a record that was being appended was nobody's key.

All functions block.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from protocol.personal import KEY_ID_BYTES
from protocol.personal_key import KEY_BYTES, SECRET_BYTES, PersonalKey
from replay.store.errors import (
    StoreFull,
    StoreReadFailed,
    StoreVersionUnknown,
    StoreWriteFailed,
)
from replay.store.heads import sync_directory

FILE_NAME = "personal.keys"
_VERSION = 1
_MAGIC = b"RPRKEYS\x00"
_HEADER = (_MAGIC + _VERSION.to_bytes(8, "big")).ljust(KEY_BYTES, b"\x00")
_NUMBER_BYTES = 6
_CHANCE_BYTES = KEY_ID_BYTES - _NUMBER_BYTES
_GONE = bytes(KEY_BYTES)


class KeyFile:
    """The keys of a data directory. Close it. `may_write` makes the file if there is none.

    Without `may_write` a directory that has no such file knows no key. Raises
    `StoreVersionUnknown`, `StoreReadFailed`, `StoreWriteFailed` or `StoreFull`.
    """

    def __init__(self, directory: Path, *, may_write: bool) -> None:
        self.path = directory / FILE_NAME
        self._fd: int | None = None
        flags = os.O_RDWR | os.O_CREAT if may_write else os.O_RDONLY
        try:
            self._fd = os.open(self.path, flags | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreReadFailed(f"cannot open {self.path}: {error.strerror}") from error
        try:
            self._begin(may_write=may_write)
        except BaseException:
            self.close()
            raise

    @property
    def exists(self) -> bool:
        """Whether there is such a file."""
        return self._fd is not None

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def append(self, count: int, random: Callable[[int], bytes]) -> list[PersonalKey]:
        """Make keys and write them durably. Raises `StoreWriteFailed` or `StoreFull`."""
        assert self._fd is not None
        try:
            number = os.fstat(self._fd).st_size // KEY_BYTES
            keys = [
                PersonalKey(
                    at.to_bytes(_NUMBER_BYTES, "big") + random(_CHANCE_BYTES), random(SECRET_BYTES)
                )
                for at in range(number, number + count)
            ]
            self._write(b"".join(key.id + key.secret for key in keys), number * KEY_BYTES)
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._unwritten(error) from error
        return keys

    def find(self, key_id: bytes) -> PersonalKey | None:
        """The key of an id, None if it was destroyed or never was. Raises `StoreReadFailed`."""
        secret = self.secret(key_id)
        return None if secret is None else PersonalKey(key_id, secret)

    def secret(self, key_id: bytes) -> bytes | None:
        """The secret of a key. Raises `StoreReadFailed`."""
        place = _place(key_id)
        if self._fd is None or place is None:
            return None
        try:
            record = os.pread(self._fd, KEY_BYTES, place)
        except OSError as error:
            raise StoreReadFailed(f"cannot read {self.path}: {error.strerror}") from error
        if len(record) != KEY_BYTES or record[:KEY_ID_BYTES] != key_id:
            return None
        return record[KEY_ID_BYTES:]

    def destroy(self, key_ids: Collection[bytes]) -> int:
        """Overwrite keys with zeros, durably; how many there were. Raises `StoreWriteFailed`."""
        assert self._fd is not None
        found = [key_id for key_id in key_ids if self.secret(key_id) is not None]
        try:
            for key_id in found:
                place = _place(key_id)
                assert place is not None
                self._write(_GONE, place)
            if found:
                os.fdatasync(self._fd)
        except OSError as error:
            raise self._unwritten(error) from error
        return len(found)

    def give_back(self, keys: Sequence[PersonalKey]) -> None:
        """Cut off keys that nobody had, if they are the file's last. Raises `StoreWriteFailed`."""
        assert self._fd is not None
        numbers = sorted(_number(key.id) for key in keys)
        try:
            end = os.fstat(self._fd).st_size // KEY_BYTES
            if numbers and numbers == list(range(end - len(numbers), end)):
                os.ftruncate(self._fd, numbers[0] * KEY_BYTES)
        except OSError as error:
            raise self._unwritten(error) from error

    def _begin(self, *, may_write: bool) -> None:
        assert self._fd is not None
        try:
            header = os.pread(self._fd, KEY_BYTES, 0)
            if not header and may_write:
                self._write(_HEADER, 0)
                os.fsync(self._fd)
                sync_directory(self.path.parent)
                return
            if may_write:  # a record that a crash cut off was nobody's
                size = os.fstat(self._fd).st_size
                if size % KEY_BYTES and header == _HEADER:
                    os.ftruncate(self._fd, size - size % KEY_BYTES)
        except OSError as error:
            raise self._unwritten(error) from error
        if header[: len(_MAGIC)] != _MAGIC:
            raise StoreReadFailed(f"{self.path} is no file of personal keys, or is damaged")
        if header != _HEADER:
            raise StoreVersionUnknown(f"{self.path} was written by another release of reprise")

    def _write(self, content: bytes, place: int) -> None:
        assert self._fd is not None
        while content:
            written = os.pwrite(self._fd, content, place)
            content, place = content[written:], place + written

    def _unwritten(self, error: OSError) -> StoreFull | StoreWriteFailed:
        kind = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreWriteFailed
        return kind(f"cannot write {self.path}: {error.strerror}")


def _number(key_id: bytes) -> int:
    return int.from_bytes(key_id[:_NUMBER_BYTES], "big")


def _place(key_id: bytes) -> int | None:
    number = _number(key_id)
    return number * KEY_BYTES if len(key_id) == KEY_ID_BYTES and number else None
