"""What every keyring promises, and what the file of the real one holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from protocol.personal import CannotReveal
from protocol.personal_key import KEY_BYTES, PersonalKey
from replay.key_file import FILE_NAME, KeyFile
from replay.keyring import STOCK, STOCK_LOW, Keyring, MemoryKeyring
from replay.store.errors import StoreReadFailed, StoreVersionUnknown, StoreWriteFailed


@asynccontextmanager
async def filed(directory: Path) -> AsyncIterator[Keyring]:
    keyring = await Keyring.open(directory)
    try:
        yield keyring
    finally:
        await keyring.aclose()


@asynccontextmanager
async def remembered(_directory: Path) -> AsyncIterator[MemoryKeyring]:
    yield MemoryKeyring(Random(1).randbytes)


BOTH = pytest.mark.parametrize("opened", [filed, remembered])


@BOTH
async def test_each_key_is_another_ones(opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as keyring:
        keys = [await keyring.take() for _ in range(STOCK + 10)]
        assert len({key.id for key in keys}) == len({key.secret for key in keys}) == len(keys)
        assert keyring.stranger.id not in {key.id for key in keys}
        assert all(keyring.key(key.id).secret == key.secret for key in keys)


@BOTH
async def test_a_key_that_was_destroyed_is_not_there_any_more(opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as keyring:
        one, other = await keyring.take(), await keyring.take()
        concealed = one.conceal("Ann")
        assert await keyring.destroy([one.id]) == 1
        assert await keyring.destroy([one.id]) == 0
        await keyring.load([one.id, other.id])
        assert keyring.key(one.id) is None
        assert keyring.key(other.id).secret == other.secret
        with pytest.raises(CannotReveal):
            other.reveal(concealed)


@BOTH
async def test_a_key_that_was_taken_in_vain_is_not_at_hand(opened, tmp_path: Path) -> None:
    async with opened(tmp_path) as keyring:
        key = await keyring.take()
        keyring.discard(key)
        assert keyring.key(key.id) is None


async def test_keys_are_durable_before_they_are_given_out(tmp_path: Path) -> None:
    async with filed(tmp_path) as keyring:
        key = await keyring.take()
        assert found(tmp_path, key) == key.secret
        content = (tmp_path / FILE_NAME).read_bytes()
    # As after a crash: what stood in the file then is enough.
    (tmp_path / FILE_NAME).write_bytes(content)
    async with filed(tmp_path) as keyring:
        assert keyring.key(key.id) is None
        await keyring.load([key.id])
        loaded = keyring.key(key.id)
        assert loaded is not None
        assert loaded.reveal(key.conceal({"a": [1]})) == {"a": [1]}


async def test_destroying_leaves_no_byte_of_the_secret_in_the_directory(tmp_path: Path) -> None:
    async with filed(tmp_path) as keyring:
        keys = [await keyring.take() for _ in range(5)]
        await keyring.destroy([keys[1].id, keys[3].id])
        vain = await keyring.take()
        keyring.discard(vain)
        everything = everything_in(tmp_path)
        for gone in (keys[1], keys[3]):
            assert gone.secret not in everything
            assert gone.id not in everything
        assert keys[2].secret in everything
    everything = everything_in(tmp_path)
    assert vain.secret not in everything


async def test_what_nobody_took_is_given_back_at_the_end(tmp_path: Path) -> None:
    async with filed(tmp_path) as keyring:
        first = await keyring.take()
    assert (tmp_path / FILE_NAME).stat().st_size == 2 * KEY_BYTES
    async with filed(tmp_path) as keyring:
        second = await keyring.take()
        assert second.id != first.id
        assert found(tmp_path, first) == first.secret


async def test_the_stock_is_filled_before_it_is_empty(tmp_path: Path) -> None:
    async with filed(tmp_path) as keyring, trio.open_nursery() as nursery:
        await nursery.start(keyring.run)
        for _ in range(STOCK - STOCK_LOW + 1):
            await keyring.take()
        before = (tmp_path / FILE_NAME).stat().st_size
        with trio.fail_after(10):
            while (tmp_path / FILE_NAME).stat().st_size == before:  # noqa: ASYNC110 - no event
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_many_who_find_no_key_share_one_making(tmp_path: Path) -> None:
    async with filed(tmp_path) as keyring:
        taken: list[PersonalKey] = []

        async def take() -> None:
            taken.append(await keyring.take())

        async with trio.open_nursery() as nursery:
            for _ in range(2 * STOCK):
                nursery.start_soon(take)
        assert len({key.id for key in taken}) == 2 * STOCK
        assert (tmp_path / FILE_NAME).stat().st_size == (2 * STOCK + 1) * KEY_BYTES


def test_the_file_is_its_owners_alone_and_may_be_missing(tmp_path: Path) -> None:
    none = KeyFile(tmp_path, may_write=False)
    assert not none.exists
    assert none.find(bytes(16)) is None
    KeyFile(tmp_path, may_write=True).close()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_record_that_a_crash_cut_off_is_nobodys(tmp_path: Path) -> None:
    file = KeyFile(tmp_path, may_write=True)
    (key,) = file.append(1, Random(1).randbytes)
    file.close()
    with (tmp_path / FILE_NAME).open("ab") as torn:
        torn.write(b"x" * 20)
    file = KeyFile(tmp_path, may_write=True)
    (later,) = file.append(1, Random(2).randbytes)
    assert file.secret(key.id) == key.secret
    assert file.secret(later.id) == later.secret
    # Ids of other files, of no record and of the header find nothing.
    for unknown in (key.id[:6] + later.id[6:], b"\xff" * 16, bytes(16), b"", key.id + b"x"):
        assert file.find(unknown) is None
    file.close()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"RPRKEYS\0" + (2).to_bytes(8, "big") + bytes(32), StoreVersionUnknown),
        (b"something else altogether, which is long enough", StoreReadFailed),
        (b"RPR", StoreReadFailed),
    ],
)
def test_another_file_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, error: type[Exception]
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    for may_write in (True, False):
        with pytest.raises(error):
            KeyFile(tmp_path, may_write=may_write)
    assert (tmp_path / FILE_NAME).read_bytes() == content


async def test_who_can_get_no_key_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    async with filed(tmp_path) as keyring:
        for _ in range(STOCK):
            await keyring.take()
        with monkeypatch.context() as patched:
            patched.setattr("replay.key_file.os.fdatasync", fail)
            with pytest.raises(StoreWriteFailed, match="cannot write"):
                await keyring.take()
        assert await keyring.take()


def found(directory: Path, key: PersonalKey) -> bytes | None:
    file = KeyFile(directory, may_write=False)
    try:
        return file.secret(key.id)
    finally:
        file.close()


def everything_in(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())
