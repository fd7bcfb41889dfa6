"""States at any instant: the same with snapshots, without them, and in the recovered room."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from actors.core.recovery import rebuild
from protocol import codec
from protocol.ids import Address
from protocol.notices import ConsumerScore
from replay import snapshots as snapshots_module
from replay.document import Document, render
from replay.errors import LogNotUnderstood
from replay.fold import Fold, event_of
from replay.history import History
from replay.reader import LogReader
from replay.snapshots import Snapshots
from tests.replay.sessions import Session, call, store


def busy_session():
    """Everything that a directory can go through, and a second session in the same log."""
    session = call(viewers=3)
    viewer = session.join("late")
    session.transport(viewer, "recv", connect=False)
    session.wait(31)
    peers = list(session.states["room"].peers)
    session.leave(peers[1])
    consumer = next(iter(session.states["room"].consumers))
    for n in range(60):
        session.wait(1)
        session.to_consumer(
            consumer, ConsumerScore(consumer=consumer, score=n % 11, producer_score=9)
        )
    session.leave(peers[0])
    session.close()
    session.open()
    host = session.join("again")
    session.produce(host, session.transport(host))
    return session


@pytest.fixture(scope="module")
def session():
    return busy_session()


@pytest.fixture
def directory(session, tmp_path):
    return store(tmp_path / "data", session)


def recovered(session, position):
    log = [
        (Address(e.actor), event_of(e)) for e in session.envelopes()[:position] if e.kind == "event"
    ]
    return rebuild(log)


def states_bytes(states):
    return codec.state_bytes(dict(states))


def test_states_at_every_position_are_those_that_recovery_builds(session):
    fold = Fold(session.room)
    for envelope in session.envelopes():
        fold.apply(envelope)
        if fold.room.closed is None and fold.position % 7 == 0:
            expected = recovered(session, fold.position)
            assert states_bytes(fold.listed()) == states_bytes(expected), fold.position


def test_what_has_ended_is_forgotten(session):
    fold = Fold(session.room)
    for envelope in session.envelopes():
        fold.apply(envelope)
    assert set(fold.states) == set(fold.listed())


def test_states_with_snapshots_equal_those_without(session, directory, monkeypatch):
    monkeypatch.setattr(snapshots_module, "EVERY_ENVELOPES", 16)
    with LogReader(directory) as reader, Snapshots(directory) as kept:
        monkeypatch.setattr(snapshots_module, "ENVELOPE_BYTES", 10**9)
        plain = History(reader, "lobby")
        cached = History(reader, "lobby", kept)
        for position in range(0, session.position + 1, 20):
            cached.at(position)
        assert len(kept.before("lobby", session.position)) > 10
        for position in range(0, session.position + 1, 5):
            expected, found = plain.at(position), cached.at(position)
            assert states_bytes(found.states) == states_bytes(expected.states)
            assert list(found.states) == list(expected.states)
            assert (found.position, found.hash, found.at_ns) == (
                expected.position, expected.hash, expected.at_ns,
            )  # fmt: skip


def test_a_snapshot_of_another_log_is_never_used(session, directory, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots_module, "EVERY_ENVELOPES", 1)
    with LogReader(directory) as reader, Snapshots(directory) as kept:
        end = History(reader, "lobby", kept).at(session.position)
        assert kept.before("lobby", session.position)
    other = call(viewers=20, seed=1)
    assert other.position > session.position
    second = store(tmp_path / "second", other)
    (directory / "snapshots.sqlite3").rename(second / "snapshots.sqlite3")
    with LogReader(second) as reader, Snapshots(second) as kept:
        assert kept.before("lobby", session.position)
        found = History(reader, "lobby", kept).at(session.position)
        assert found.hash != end.hash
        expected = History(reader, "lobby").at(session.position)
        assert states_bytes(found.states) == states_bytes(expected.states)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE snapshot SET states = substr(states, 1, 40)",
        "UPDATE snapshot SET states = zeroblob(100)",
        "UPDATE snapshot SET digest = zeroblob(32)",
        "UPDATE snapshot SET at_ns = at_ns + 1",
        "UPDATE snapshot SET code = zeroblob(32)",
        "DROP TABLE snapshot",
    ],
)
def test_a_damaged_snapshot_is_passed_over(session, directory, monkeypatch, damage):
    monkeypatch.setattr(snapshots_module, "EVERY_ENVELOPES", 1)
    with LogReader(directory) as reader, Snapshots(directory) as kept:
        History(reader, "lobby", kept).at(session.position)
    database = sqlite3.connect(directory / "snapshots.sqlite3")
    database.execute(damage)
    database.commit()
    database.close()
    with LogReader(directory) as reader, Snapshots(directory) as kept:
        expected = History(reader, "lobby").at(session.position)
        found = History(reader, "lobby", kept).at(session.position)
    assert states_bytes(found.states) == states_bytes(expected.states)
    assert found.at_ns == expected.at_ns


def test_a_snapshot_file_that_is_none_is_passed_over(session, directory):
    (directory / "snapshots.sqlite3").write_bytes(b"not a database at all" * 300)
    with LogReader(directory) as reader, Snapshots(directory) as kept:
        assert History(reader, "lobby", kept).at(session.position).position == session.position


def test_a_document_that_follows_equals_one_made_anew(session):
    fold = Fold(session.room)
    document = Document(fold)
    touched_by = {}
    for envelope in session.envelopes():
        before = {name: repr(part) for name, part in document.root.items()}
        event = fold.apply(envelope)
        if event is None:
            continue
        touched = document.update(envelope.actor, event)
        touched_by[envelope.type] = touched
        assert document.root == render(fold), (envelope.position, envelope.type)
        for name, part in document.root.items():
            assert name in touched or repr(part) == before[name], (envelope.type, name)
    assert touched_by["ConsumerScored"] == {"consumers"}
    assert touched_by["ConsumerAdded"] == {"room", "consumers"}


def test_a_log_of_a_newer_release_is_named_with_its_position():
    session = Session()
    session.join()
    envelopes = session.envelopes()
    future = msgspec.structs.replace(envelopes[-1], version=99)
    fold = Fold("lobby")
    for envelope in envelopes[:-1]:
        fold.apply(envelope)
    with pytest.raises(LogNotUnderstood, match="PeerJoined version 99 is of a newer release"):
        fold.apply(future)


def test_an_event_that_does_not_fit_is_named_with_its_position():
    session = Session()
    session.leave(session.join())
    left = next(e for e in session.envelopes() if e.type == "PeerLeft")
    with pytest.raises(LogNotUnderstood, match=f"position {left.position}: PeerLeft does not fit"):
        Fold("lobby").apply(left)
