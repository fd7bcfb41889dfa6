"""The heads file: what was recorded is found, and what is wrong with it is told apart."""

import errno
import os
import random

import pytest

from replay.store import heads
from replay.store.heads import FILE_NAME, HeadsFile, HeadsReader, read_heads
from replay.store.interface import Head


def head(n):
    return Head(n, n.to_bytes(32))


def record(heads_file, **heads):
    heads_file.prepare(heads)
    heads_file.write(heads)


@pytest.fixture
def path(tmp_path):
    return tmp_path / FILE_NAME


@pytest.fixture
def heads_file(tmp_path, monkeypatch):
    monkeypatch.setattr("replay.store.heads._SPACE_BYTES", 64 << 10)
    opened = HeadsFile(tmp_path, {"old": head(7)})
    yield opened
    opened.close()


def test_there_is_nothing_to_read_where_no_file_is(path):
    assert read_heads(path) is None


def test_the_furthest_head_of_each_room_is_found(path, heads_file):
    record(heads_file, a=head(1), b=head(4))
    record(heads_file, a=head(3))
    found = read_heads(path)
    assert found.damage is None
    assert found.heads == {"old": head(7), "a": head(3), "b": head(4)}


def test_what_was_only_prepared_is_not_recorded(path, heads_file):
    heads_file.prepare({"a": head(1)})
    assert read_heads(path).heads == {"old": head(7)}


def test_a_full_file_is_replaced_by_a_smaller_one_with_all_heads(path, heads_file):
    rooms = {f"room {n}": head(n) for n in range(2_500)}
    with path.open("rb") as first:  # held, so that its inode is not given again
        for n in range(9):
            record(heads_file, **rooms, again=head(n))
        found = read_heads(path)
        assert path.stat().st_ino != os.fstat(first.fileno()).st_ino
    assert found.damage is None
    assert found.heads == rooms | {"old": head(7), "again": head(8)}
    assert path.stat().st_size < 1 << 20


def test_a_record_larger_than_the_file_finds_its_place(path, heads_file):
    rooms = {"r" * 200 + str(n): head(n) for n in range(3_000)}
    record(heads_file, **rooms)
    assert read_heads(path).heads == rooms | {"old": head(7)}


def test_a_torn_last_record_is_no_damage(path, heads_file):
    record(heads_file, a=head(1))
    whole = path.read_bytes()
    record(heads_file, a=head(2))
    both = path.read_bytes()
    changed = [n for n in range(len(whole)) if whole[n] != both[n]]
    for cut in changed[1:]:
        path.write_bytes(both[:cut] + whole[cut:])
        found = read_heads(path)
        assert found.damage is None
        assert found.heads["a"] == head(1)


def test_a_flipped_bit_is_told_and_leaves_a_lower_bound(path, heads_file):
    for n in range(1, 5):
        record(heads_file, a=head(n), b=head(2 * n))
    content = bytearray(path.read_bytes())
    end = max(n for n, byte in enumerate(content) if byte) + 1
    last = content.rfind(b"HEAD")
    for bit in range(8 * end):
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content[: end + 64] + bytes(len(content) - end - 64))
        found = read_heads(path)
        if bit // 8 < last:
            assert found.damage is not None, f"bit {bit}"
            if found.heads:
                assert found.heads["a"] == head(4)
        else:
            assert found.heads["a"] == head(3)
        content[bit // 8] ^= 1 << bit % 8


def test_a_truncated_file_is_told(path, heads_file):
    record(heads_file, a=head(1))
    content = path.read_bytes()
    for size in (0, 1, 30, 60, 200, 10_000, len(content) - 1):
        path.write_bytes(content[:size])
        assert read_heads(path).damage is not None, f"{size} bytes"


def test_random_bytes_are_told(path):
    choose = random.Random(5)
    for size in (10, 50, 5_000):
        path.write_bytes(choose.randbytes(size))
        assert read_heads(path).damage is not None


def test_a_room_whose_name_looks_like_a_record_forges_nothing(path, tmp_path, heads_file):
    forged = path.read_bytes()[36:].rstrip(b"\0").decode("latin-1")
    record(heads_file, **{f"{forged} HEAD": head(1)})
    record(heads_file, a=head(2))
    assert set(read_heads(path).heads) == {"old", f"{forged} HEAD", "a"}


def test_without_space_preparing_fails_and_the_old_file_stands(path, heads_file, monkeypatch):
    record(heads_file, a=head(1))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            heads_file.prepare({"r" * 200 + str(n): head(n) for n in range(3_000)})
    assert read_heads(path).heads == {"old": head(7), "a": head(1)}
    assert list(path.parent.iterdir()) == [path]
    record(heads_file, a=head(2))
    assert read_heads(path).heads["a"] == head(2)


def touched(path):
    """Have the file bear another time, whatever the clock's tick."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10_000_000))


def test_a_reader_that_reads_again_finds_the_same_as_a_new_one(path, heads_file):
    reader = HeadsReader(path)
    rooms = {f"room {n}": head(n) for n in range(300)}
    replaced = set()
    for n in range(40):
        record(heads_file, **rooms, again=head(n))
        touched(path)
        replaced.add(path.stat().st_ino)
        assert reader.read() == read_heads(path)
        assert reader.read().heads["again"] == head(n)
    assert len(replaced) > 1
    size = path.stat().st_size
    os.truncate(path, 5_000)
    touched(path)
    assert reader.read() == read_heads(path)
    assert "instead of" in reader.read().damage
    os.truncate(path, size)
    touched(path)
    assert reader.read() == read_heads(path)
    path.unlink()
    assert reader.read() is None


def test_a_reader_that_reads_again_reads_only_what_is_new(path, heads_file, monkeypatch):
    reader = HeadsReader(path)
    for n in range(200):
        record(heads_file, a=head(n))
    reader.read()
    decoded = []
    monkeypatch.setattr(
        "replay.store.heads._decode",
        lambda raw, decode=heads._decode: decoded.append(1) or decode(raw),
    )
    touched(path)
    record(heads_file, a=head(200), b=head(1))
    touched(path)
    assert reader.read().heads == {"old": head(7), "a": head(200), "b": head(1)}
    assert len(decoded) == 1
    reader.read()
    assert len(decoded) == 1


def test_heads_of_several_commits_fit_where_each_was_prepared(path, heads_file):
    size = path.stat().st_size
    commits = [{f"{n}" + "\U0001f600" * 60: head((1 << 62) + n)} for n in range(40)]
    with path.open("rb") as first:  # held, so that its inode is not given again
        for heads in commits:
            assert not heads_file.is_full_for(heads)
            heads_file.prepare(heads)
        heads_file.write({room: one for heads in commits for room, one in heads.items()})
        assert path.stat().st_ino == os.fstat(first.fileno()).st_ino
    assert path.stat().st_size == size
    assert read_heads(path).damage is None
    assert len(read_heads(path).heads) == 41


def test_space_of_an_abandoned_commit_is_free_again(path, heads_file):
    rooms = {f"room {n}": head(n) for n in range(400)}
    with path.open("rb") as first:  # held, so that its inode is not given again
        for _ in range(100):
            heads_file.prepare(rooms)
            heads_file.abandon(rooms)
        assert path.stat().st_ino == os.fstat(first.fileno()).st_ino
    assert not heads_file.is_full_for(rooms)
    heads_file.prepare(rooms)
    heads_file.prepare(rooms)
    assert heads_file.is_full_for(rooms)


def test_a_file_that_is_replaced_keeps_space_for_what_is_prepared_and_unwritten(path, heads_file):
    earlier = {f"earlier {n}": head(n) for n in range(600)}
    later = {f"later {n}": head(n) for n in range(1_000)}
    with path.open("rb") as first:  # held, so that its inode is not given again
        heads_file.prepare(earlier)
        heads_file.prepare(later, earlier)
        assert path.stat().st_ino != os.fstat(first.fileno()).st_ino
    size = path.stat().st_size
    filler = {f"filler {n}": head(1) for n in range(50)}
    while not heads_file.is_full_for(filler):
        heads_file.prepare(filler)
        heads_file.write(filler)
    heads_file.write(earlier | later)
    assert path.stat().st_size == size
    assert read_heads(path).damage is None
    assert len(read_heads(path).heads) == 1_651
