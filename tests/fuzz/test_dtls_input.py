"""Whatever arrives, a DTLS connection neither raises nor grows nor ends wrongly."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from media.dtls import MTU
from tests.unit.dtls_pair import Pair

_record = st.builds(
    lambda kind, version, epoch, seq, body, lie: (
        bytes([kind])
        + version
        + epoch.to_bytes(2, "big")
        + seq.to_bytes(6, "big")
        + max(0, len(body) + lie).to_bytes(2, "big")
        + body
    ),
    st.sampled_from([20, 21, 22, 23, 24, 0, 255]),
    st.sampled_from([b"\xfe\xfd", b"\xfe\xff", b"\x03\x03"]),
    st.sampled_from([0, 1, 2, 65535]),
    st.integers(0, 2**48 - 1) | st.integers(0, 10),
    st.binary(max_size=300)
    | st.builds(
        lambda kind, length, seq, offset, size, body: (
            bytes([kind])
            + length.to_bytes(3, "big")
            + seq.to_bytes(2, "big")
            + offset.to_bytes(3, "big")
            + size.to_bytes(3, "big")
            + body
        ),
        st.sampled_from([0, 1, 2, 3, 11, 12, 14, 15, 16, 20]),
        st.integers(0, 400) | st.integers(0, 2**24 - 1),
        st.integers(0, 4),
        st.integers(0, 400),
        st.integers(0, 400),
        st.binary(max_size=400),
    ),
    st.sampled_from([0, 0, 0, 1, -1, 1000]),
)
_datagram = st.binary(max_size=1500) | st.lists(_record, max_size=4).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(_datagram, max_size=12), st.sampled_from(["client", "server"]))
@example([b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"], "client")
def test_hostile_input_during_a_handshake_only_fails_it(datagrams: list[bytes], side: str) -> None:
    pair = Pair().start()
    end = pair.client if side == "client" else pair.server
    sent = len(b"".join(end.poll_datagrams()))
    for datagram in datagrams:
        end.handle_datagram(datagram)
        out = end.poll_datagrams()
        assert all(0 < len(one) <= MTU for one in out)
        sent += len(b"".join(out))
    assert end.state in ("connecting", "failed")
    assert (end.state == "failed") == (end.reason is not None)
    assert sent < 20 * (MTU + sum(map(len, datagrams)))


@settings(max_examples=100, deadline=None)
@given(st.lists(_datagram, max_size=12))
def test_hostile_input_to_a_connected_peer_changes_nothing(datagrams: list[bytes]) -> None:
    pair = Pair().start().exchange()
    keys = pair.server.srtp_keys()
    for datagram in datagrams:
        pair.server.handle_datagram(datagram)
    assert pair.server.state == "connected"
    assert pair.server.srtp_keys() == keys


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.sampled_from(["client", "server"]), st.integers(0, 3)),
    st.integers(0, MTU),
    st.integers(1, 255),
)
@example(("client", 1), 133, 38)  # a date in the certificate that is none
@example(("client", 1), 42, 62)  # a version that X.509 does not have
@example(("server", 0), 301, 114)  # a key whose parameters are not DER
def test_a_flipped_handshake_never_gives_differing_keys(
    where: tuple[str, int], place: int, mask: int
) -> None:
    """A byte changed on the way: dropped, refused or made up for, never half believed."""

    def deliver(sender: str, index: int, datagram: bytes) -> list[bytes]:
        if (sender, index) != where:
            return [datagram]
        at = place % len(datagram)
        return [datagram[:at] + bytes([datagram[at] ^ mask]) + datagram[at + 1 :]]

    pair = Pair(deliver=deliver).start().exchange()
    if pair.states == ("connected", "connected"):
        assert pair.client.srtp_keys().local == pair.server.srtp_keys().remote
        assert pair.client.srtp_keys().profile == pair.server.srtp_keys().profile
    else:
        assert {"failed", "connecting"} & set(pair.states)
