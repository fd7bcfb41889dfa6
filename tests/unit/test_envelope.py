"""Envelopes: every field is under the hash, and drafts that no log may hold are refused."""

import hashlib

import msgpack
import msgspec
import pytest

from protocol.envelope import Draft, chain, genesis, seal

DRAFT = Draft(
    at_ns=1_700_000_000_000_000_000,
    actor="room",
    kind="event",
    type="PeerJoined",
    version=2,
    cause=4,
    correlation="c7",
    data=b"\x81\xa4peer\xa1p",
    entropy=bytes(range(16)),
)
ENVELOPE = seal(genesis("lobby"), "lobby", 5, DRAFT)


def test_the_hash_is_sha256_over_the_previous_hash_and_a_msgpack_array():
    fields = [
        "lobby", 5, DRAFT.at_ns, "room", "event", "PeerJoined", 2, 4, "c7", DRAFT.data,
        DRAFT.entropy,
    ]  # fmt: skip
    expected = hashlib.sha256(genesis("lobby") + msgpack.packb(fields)).digest()
    assert ENVELOPE.hash == expected


def test_the_hash_format_never_changes():
    """Logs outlive releases: this value was computed once and may not move."""
    assert ENVELOPE.hash.hex() == (
        "b1f6f1af743ea341714d237bfea774cafbda3ea4c24ac89af1bc8a33e7ca64a0"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("room", "lobbz"),
        ("position", 6),
        ("at_ns", DRAFT.at_ns + 1),
        ("actor", "transport/t_1"),
        ("kind", "message"),
        ("type", "PeerLeft"),
        ("version", 3),
        ("cause", None),
        ("correlation", None),
        ("data", b"\x80"),
        ("entropy", b""),
    ],
)
def test_every_field_is_under_the_hash(field, value):
    changed = msgspec.structs.replace(ENVELOPE, **{field: value})
    assert chain(genesis("lobby"), changed.room, changed.position, changed) != ENVELOPE.hash


def test_all_fields_are_covered_by_the_parameters_above():
    covered = set(test_every_field_is_under_the_hash.pytestmark[0].args[1])
    assert {name for name, _ in covered} | {"hash"} == set(ENVELOPE.__struct_fields__)


def test_the_previous_hash_is_under_the_hash():
    assert chain(bytes(32), "lobby", 5, DRAFT) != ENVELOPE.hash


def test_moving_bytes_from_one_field_to_the_next_changes_the_hash():
    left = msgspec.structs.replace(DRAFT, actor="ab", type="c")
    right = msgspec.structs.replace(DRAFT, actor="a", type="bc")
    assert chain(bytes(32), "r", 5, left) != chain(bytes(32), "r", 5, right)


def test_chain_of_an_envelope_equals_chain_of_its_draft():
    assert chain(genesis("lobby"), "lobby", 5, ENVELOPE) == ENVELOPE.hash


def test_rooms_begin_with_hashes_of_their_own():
    assert genesis("a") != genesis("b")
    assert len(genesis("a")) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"cause": 5},
        {"cause": 6},
        {"cause": 0},
        {"version": 0},
        {"version": 2**63},
        {"at_ns": 2**63},
        {"entropy": b"short"},
        {"actor": "\ud800"},
    ],
)
def test_a_draft_that_no_log_may_hold_is_refused(change):
    with pytest.raises(ValueError):
        seal(bytes(32), "lobby", 5, msgspec.structs.replace(DRAFT, **change))


@pytest.mark.parametrize("position", [0, -1, 2**63])
def test_positions_count_from_one(position):
    with pytest.raises(ValueError):
        seal(bytes(32), "lobby", position, msgspec.structs.replace(DRAFT, cause=None))
