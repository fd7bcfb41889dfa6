"""The archive's container: what is written is read back, and nothing altered passes."""

import random

import msgspec
import pytest

from protocol.envelope import Draft, genesis, seal
from replay.store import archive_file
from replay.store.archive_file import Archive, ArchiveHeader, write_archive
from replay.store.errors import LogDamaged, StoreVersionUnknown

ROOM = "lobby"


def envelopes(count, seed=0):
    choose = random.Random(seed)
    previous, found = genesis(ROOM), []
    for position in range(1, count + 1):
        draft = Draft(
            at_ns=choose.randrange(-(2**62), 2**62),
            actor=choose.choice(["room", "transport/ü\x00", ""]),
            kind=choose.choice(["message", "event"]),
            type=choose.choice(["Join", "PeerJoined"]),
            version=choose.randrange(1, 2**40),
            cause=choose.choice([None, choose.randrange(1, position)]) if position > 1 else None,
            correlation=choose.choice([None, "", "request-7"]),
            data=choose.randbytes(choose.randrange(200)),
            entropy=choose.choice([b"", bytes(16)]),
        )
        found.append(seal(previous, ROOM, position, draft))
        previous = found[-1].hash
    return found


def header(log, **more):
    fields = {
        "room": ROOM,
        "first": log[0].position,
        "last": log[-1].position,
        "before_hash": genesis(ROOM),
        "hash": log[-1].hash,
        "first_at_ns": log[0].at_ns,
        "last_at_ns": log[-1].at_ns,
        "messages": 0,
        "events": len(log),
        "written_at_ns": 1,
        "release": "1",
    }
    return ArchiveHeader(**(fields | more))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(archive_file, "BLOCK_ENVELOPES", 16)


def written(path, log):
    size = write_archive(path, header(log), [log[:7], log[7:]])
    assert path.stat().st_size == size
    return path


def test_everything_is_read_back_from_any_place(tmp_path, small_blocks):
    log = envelopes(100)
    archive = Archive(written(tmp_path / "a", log), ROOM, 1)
    assert len(archive.blocks) == 7
    assert archive.header == header(log)
    for after, up_to, limit in [
        (0, 100, 100),
        (0, 100, 5),
        (15, 17, 9),
        (98, 100, 9),
        (31, 70, 30),
    ]:
        assert archive.stretch(after, up_to, limit) == log[after : min(up_to, after + limit)]
    archive.verify()
    archive.close()


def test_a_block_ends_when_its_payload_is_large(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_file, "BLOCK_BYTES", 1000)
    log = envelopes(100)
    archive = Archive(written(tmp_path / "a", log), ROOM, 1)
    assert len(archive.blocks) > 5
    assert archive.stretch(0, 100, 100) == log
    archive.close()


def test_no_flipped_bit_passes_and_what_stands_before_it_is_read(tmp_path, small_blocks):
    log = envelopes(64)
    path = written(tmp_path / "a", log)
    whole = path.read_bytes()
    choose = random.Random(3)
    before = 0
    for _ in range(400):
        at, bit = choose.randrange(len(whole)), choose.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        read = []
        with pytest.raises((LogDamaged, StoreVersionUnknown)) as caught:
            read_all(path, read)
        assert read == log[: len(read)]
        if isinstance(caught.value, LogDamaged):
            assert caught.value.position == len(read) + 1
        before += len(read)
    assert before  # damage in later blocks left the earlier ones readable


def read_all(path, read):
    archive = Archive(path, ROOM, 1)
    try:
        while len(read) < 64:
            read += archive.stretch(len(read), 64, 64)
        assert archive.header.release == "1"
    finally:
        archive.close()


def test_a_file_that_is_torn_anywhere_is_damage(tmp_path, small_blocks):
    path = written(tmp_path / "a", envelopes(20))
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(LogDamaged):
            Archive(path, ROOM, 1)


def test_what_is_put_together_anew_does_not_pass_the_chain(tmp_path, small_blocks):
    log = envelopes(40)
    forged = [*log[:20], msgspec.structs.replace(log[20], data=b"forged"), *log[21:]]
    path = tmp_path / "a"
    write_archive(path, header(forged), [forged])  # its checksums are right
    archive = Archive(path, ROOM, 1)
    assert archive.stretch(0, 40, 40) == log[:16]
    with pytest.raises(LogDamaged, match="hash chain") as caught:
        archive.verify()
    assert caught.value.position == 17
    archive.close()


def test_envelopes_that_the_header_does_not_name_are_refused(tmp_path):
    log = envelopes(10)
    for wrong in (log[:9], [*log, *envelopes(11)[10:]]):
        with pytest.raises(ValueError, match="not those of the header"):
            write_archive(tmp_path / "a", header(log), [wrong])


def test_an_archive_of_a_newer_release_or_another_room_is_refused(tmp_path):
    path = written(tmp_path / "a", envelopes(10))
    with pytest.raises(LogDamaged, match="another room"):
        Archive(path, "other", 1)
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\x00\x00\x00\x09" + content[12:])
    with pytest.raises(StoreVersionUnknown, match="format version 9"):
        Archive(path, ROOM, 1)
