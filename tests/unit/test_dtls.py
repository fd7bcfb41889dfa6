"""DTLS-SRTP: both roles against each other, and what the network may do to them."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import trio

from media.certificate import DtlsCertificate
from media.dtls import (
    DATAGRAM_BYTES_MAX,
    HANDSHAKE_RECORDS_MAX,
    HANDSHAKE_TIMEOUT_NS,
    LAST_FLIGHTS_PER_SECOND_MAX,
    LATE_RECORDS_PER_SECOND_MAX,
    MTU,
    DtlsConnection,
    DtlsContext,
)
from media.dtls_alerts import AlertKeys, alert_keys
from protocol.orders import SrtpProfile
from tests.unit.dtls_pair import Pair, contexts

ALERT_IN_CLEAR = bytes.fromhex("15fefd000000000000000700020228")
KEY_BYTES: dict[SrtpProfile, int] = {
    "AEAD_AES_128_GCM": 16 + 12,
    "AEAD_AES_256_GCM": 32 + 12,
    "AES128_CM_HMAC_SHA1_80": 16 + 14,
}


def test_both_roles_connect_and_hold_mirrored_keys_of_the_preferred_profile() -> None:
    pair = Pair().start().exchange()
    assert pair.states == ("connected", "connected")
    ours, theirs = pair.client.srtp_keys(), pair.server.srtp_keys()
    assert ours.profile == theirs.profile == "AEAD_AES_128_GCM"
    assert (ours.local, ours.remote) == (theirs.remote, theirs.local)
    assert ours.local != ours.remote
    assert pair.client.deadline_ns() is None


@pytest.mark.parametrize("profile", KEY_BYTES)
def test_each_profile_can_be_the_only_one(profile: SrtpProfile) -> None:
    client, server = contexts()
    pair = Pair(client=DtlsContext(client.certificate, [profile]), server=server).start().exchange()
    assert pair.server.srtp_keys().profile == profile
    assert len(pair.server.srtp_keys().local) == KEY_BYTES[profile]


def test_the_servers_order_of_profiles_decides() -> None:
    client, server = contexts()
    wanted: list[SrtpProfile] = ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM"]
    pair = Pair(client=client, server=DtlsContext(server.certificate, wanted)).start().exchange()
    assert pair.client.srtp_keys().profile == "AEAD_AES_256_GCM"


def test_peers_without_a_common_profile_fail_with_that_reason() -> None:
    client, server = contexts()
    pair = Pair(
        client=DtlsContext(client.certificate, ["AEAD_AES_128_GCM"]),
        server=DtlsContext(server.certificate, ["AES128_CM_HMAC_SHA1_80"]),
    )
    pair.start().exchange()
    assert pair.states == ("failed", "failed")
    assert pair.client.reason == pair.server.reason == "no_srtp_profile"


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
def test_one_fingerprint_of_any_known_algorithm_is_enough(algorithm: str) -> None:
    client, _server = contexts()
    expected = tuple(one for one in client.certificate.fingerprints if one[0] == algorithm)
    pair = Pair(server_expects=expected).start().exchange()
    assert pair.states == ("connected", "connected")


def test_fingerprints_may_be_written_in_either_case() -> None:
    client, _server = contexts()
    expected = tuple(
        (name.upper(), value.lower()) for name, value in client.certificate.fingerprints
    )
    assert Pair(server_expects=expected).start().exchange().states == ("connected", "connected")


def test_one_of_several_fingerprints_of_the_strongest_algorithm_may_match() -> None:
    client, server = contexts()
    other = server.certificate.fingerprints[2]
    assert other[0] == "sha-512"
    pair = Pair(server_expects=(other, *client.certificate.fingerprints)).start().exchange()
    assert pair.states == ("connected", "connected")


@pytest.mark.parametrize(
    "wrong",
    [
        [("sha-256", ":".join(["00"] * 32))],
        [("sha-1", ":".join(["00"] * 20))],
        [("sha-256", "")],
        [("sha-256", "zz")],
    ],
    ids=["other", "unknown algorithm", "empty", "no hex"],
)
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_certificate_that_does_not_match_is_refused_and_told(
    side: str, wrong: list[tuple[str, str]]
) -> None:
    if side == "server":
        pair = Pair(server_expects=tuple(wrong))
    else:
        pair = Pair(client_expects=tuple(wrong))
    pair.start().exchange()
    refuser, refused = pair.server, pair.client
    if side == "client":
        refuser, refused = refused, refuser
    assert (refuser.state, refuser.reason) == ("failed", "fingerprint_mismatch")
    assert (refused.state, refused.reason) == ("failed", "alert")


def test_a_weaker_fingerprint_that_matches_does_not_outweigh_a_stronger_one_that_does_not() -> None:
    client, server = contexts()
    weak_right = client.certificate.fingerprints[0]
    strong_wrong = server.certificate.fingerprints[2]
    pair = Pair(server_expects=(weak_right, strong_wrong)).start().exchange()
    assert pair.server.reason == "fingerprint_mismatch"


def test_no_datagram_is_larger_than_the_mtu() -> None:
    sizes: list[int] = []

    def deliver(_sender: str, _index: int, datagram: bytes) -> list[bytes]:
        sizes.append(len(datagram))
        return [datagram]

    assert Pair(deliver=deliver).start().exchange().states == ("connected", "connected")
    assert sizes
    assert max(sizes) <= MTU


@pytest.mark.parametrize("seed", range(20))
def test_duplicated_datagrams_do_no_harm(seed: int) -> None:
    rng = random.Random(seed)
    pair = Pair(deliver=lambda _s, _i, datagram: [datagram] * rng.randint(1, 3))
    assert pair.start().exchange().states == ("connected", "connected")


async def _run_through_losses(pairs: list[Pair], clock_s_max: float) -> None:
    """Drive all pairs at once: OpenSSL times retransmissions by the real clock alone."""
    with trio.fail_after(clock_s_max):
        waiting = [pair.start().exchange() for pair in pairs]
        while True:
            waiting = [pair for pair in waiting if pair.states != ("connected", "connected")]
            if not waiting:
                return
            ends = [pair.client for pair in waiting] + [pair.server for pair in waiting]
            deadlines = [end.deadline_ns() for end in ends]
            next_ns = min(at for at in deadlines if at is not None)
            await trio.sleep(max(0, next_ns - time.monotonic_ns()) / 1e9)
            for pair in waiting:
                pair.client.handle_timeout()
                pair.server.handle_timeout()
                pair.exchange()


async def test_any_one_or_two_lost_datagrams_are_made_up_for_by_retransmission() -> None:
    """Includes the server's last flight, which only a late record of the client brings back."""
    calm = Pair().start().exchange()
    places = [(side, index) for side, count in calm.sent.items() for index in range(count)]

    def losing(lost: set[tuple[str, int]]) -> Pair:
        return Pair(deliver=lambda s, i, d: [] if (s, i) in lost else [d])

    pairs = [losing({a, b}) for a in places for b in places if a <= b]
    assert len(pairs) >= 10
    await _run_through_losses(pairs, 20)
    for pair in pairs:
        assert pair.client.srtp_keys().local == pair.server.srtp_keys().remote


async def test_handshake_survives_reordering() -> None:
    class Reordering(Pair):
        """Delivers each flight record by record, in a random order."""

        def __init__(self, seed: int) -> None:
            super().__init__()
            self.rng = random.Random(seed)

        def _carry(self, name: str, sender: DtlsConnection, receiver: DtlsConnection) -> bool:
            records = [r for d in sender.poll_datagrams() for r in split(d)]
            self.rng.shuffle(records)
            for record in records:
                receiver.handle_datagram(record)
            return bool(records)

    def split(datagram: bytes) -> list[bytes]:
        records = []
        while datagram:
            size = 13 + int.from_bytes(datagram[11:13], "big")
            records.append(datagram[:size])
            datagram = datagram[size:]
        return records

    await _run_through_losses([Reordering(seed) for seed in range(30)], 20)


def test_records_forged_after_the_handshake_do_no_harm() -> None:
    pair = Pair().start().exchange()
    rng = random.Random(7)
    for end in (pair.client, pair.server):
        for forged in (
            ALERT_IN_CLEAR,
            ALERT_IN_CLEAR[:3] + b"\0\1" + ALERT_IN_CLEAR[5:],
            bytes.fromhex("17fefd00010000000000050020") + rng.randbytes(32),
            bytes.fromhex("16fefd00000000000000090010") + rng.randbytes(16),
            b"\x14" * 40,
        ):
            end.handle_datagram(forged)
    assert pair.states == ("connected", "connected")
    pair.client.close()
    pair.exchange()
    assert pair.server.state == "closed"


def test_malformed_records_do_not_end_a_handshake() -> None:
    rng = random.Random(5)
    junk = [
        b"",
        b"\x16",
        bytes.fromhex("16fefd0000000000000009ffff") + rng.randbytes(50),  # longer than the datagram
        bytes.fromhex("16fefd00000000000000090010") + b"\xff" * 16,  # fragment beyond its message
        bytes.fromhex("16fefd0000000000000009000c") + bytes.fromhex("0bffffff0000000000000000"),
        bytes.fromhex("16030300000000000000090001") + b"\0",  # another protocol's version
        bytes.fromhex("18fefd00000000000000090001") + b"\0",  # no such content type
        rng.randbytes(DATAGRAM_BYTES_MAX + 1),
    ]
    pair = Pair(deliver=lambda _s, _i, datagram: [*junk, datagram, *junk])
    pair.start().exchange()
    assert pair.states == ("connected", "connected")
    assert pair.server.datagrams_dropped >= len(junk)


def test_an_alert_during_the_handshake_fails_it() -> None:
    pair = Pair()
    pair.start()
    pair.client.handle_datagram(ALERT_IN_CLEAR)
    assert (pair.client.state, pair.client.reason) == ("failed", "alert")


def test_a_handshake_that_takes_too_long_times_out() -> None:
    now_ns = 5
    pair = Pair(clock=lambda: now_ns)
    pair.start()
    deadline_ns = pair.client.deadline_ns()
    assert deadline_ns is not None
    assert 0.9e9 < deadline_ns <= 1e9 + 5  # OpenSSL's first retransmission
    assert pair.server.deadline_ns() == 5 + HANDSHAKE_TIMEOUT_NS
    now_ns += HANDSHAKE_TIMEOUT_NS - 1
    pair.server.handle_timeout()
    assert pair.server.state == "connecting"
    now_ns += 1
    pair.server.handle_timeout()
    assert (pair.server.state, pair.server.reason) == ("failed", "timeout")
    assert pair.server.deadline_ns() is None


def test_endless_records_fail_a_handshake() -> None:
    pair = Pair().start()
    hello = pair.client.poll_datagrams()[0]
    for _ in range(HANDSHAKE_RECORDS_MAX):
        pair.server.handle_datagram(hello)
    assert pair.server.state == "connecting"
    pair.server.handle_datagram(hello)
    assert (pair.server.state, pair.server.reason) == ("failed", "protocol_error")


def test_late_records_are_bounded_in_each_second() -> None:
    now_ns = 0
    pair = Pair(clock=lambda: now_ns).start().exchange()
    late = bytes.fromhex("17fefd0001000000000005000a") + bytes(10)
    before = pair.server.datagrams_dropped
    for _ in range(LATE_RECORDS_PER_SECOND_MAX + 7):
        pair.server.handle_datagram(late)
    assert pair.server.datagrams_dropped == before + 7
    now_ns += 1_000_000_000
    pair.client.close()
    pair.exchange()
    assert pair.server.state == "closed"


def test_close_notify_closes_the_other_side_and_answers_once() -> None:
    pair = Pair().start().exchange()
    pair.server.close()
    pair.exchange()
    assert pair.states == ("closed", "closed")
    assert pair.client.reason is None
    pair.client.handle_datagram(ALERT_IN_CLEAR)
    assert pair.client.poll_datagrams() == []


@pytest.mark.parametrize("closer", ["client", "server"])
@pytest.mark.parametrize("keeper", ["client", "server", "nobody"])
@pytest.mark.parametrize(
    "suite",
    [
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-ECDSA-AES128-SHA",
    ],
)
def test_goodbyes_are_understood_with_openssl_and_without(
    suite: bytes, keeper: str, closer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One side keeps OpenSSL's connection, so that what the other seals and opens is checked."""

    def keys(connection: Any, *, is_client: bool) -> AlertKeys | None:
        if keeper == ("client" if is_client else "server"):
            return None
        return alert_keys(connection, is_client=is_client)

    monkeypatch.setattr("media.dtls.alert_keys", keys)
    client = DtlsContext(DtlsCertificate.generate())
    client._ssl.set_cipher_list(suite)
    pair = Pair(client=client).start().exchange()
    assert pair.states == ("connected", "connected")
    for side, connection in (("client", pair.client), ("server", pair.server)):
        kept = connection._ssl is not None
        assert kept is (side == keeper or suite.endswith(b"-SHA"))
    (pair.client if closer == "client" else pair.server).close()
    pair.exchange()
    assert pair.states == ("closed", "closed")


def test_an_alert_that_was_tampered_with_closes_nothing() -> None:
    pair = Pair().start().exchange()
    pair.client.close()
    (goodbye,) = pair.client.poll_datagrams()
    for at in range(3, len(goodbye)):
        forged = bytearray(goodbye)
        forged[at] ^= 1
        pair.server.handle_datagram(bytes(forged))
        assert pair.server.state == "connected"
    pair.server.handle_datagram(goodbye)
    assert pair.server.state == "closed"


def test_the_last_flight_is_sent_again_but_not_without_end() -> None:
    now_ns = 0
    pair = Pair(clock=lambda: now_ns).start().exchange()
    late = bytes.fromhex("16fefd0001000000000005000a") + bytes(10)

    def flights() -> int:
        pair.server.handle_datagram(late)
        return len(pair.server.poll_datagrams())

    assert sum(flights() for _ in range(50)) == LAST_FLIGHTS_PER_SECOND_MAX
    now_ns += 1_000_000_000
    assert flights() == 1
    pair.client.handle_datagram(late)
    assert pair.client.poll_datagrams() == []  # the server's flight was the last one


def test_secrets_are_in_no_repr() -> None:
    pair = Pair().start().exchange()
    keys = pair.client.srtp_keys()
    for text in (repr(keys), repr(pair.client), repr(contexts()[0].certificate), str(keys)):
        assert keys.local.hex() not in text
        assert repr(keys.local) not in text
    assert "keys=…" in repr(keys)
