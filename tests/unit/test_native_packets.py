"""The native packet layer against libraries that nobody here wrote: libsrtp and aioice."""

from __future__ import annotations

import struct

import pytest
from aioice import stun as aioice_stun
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Error as LibsrtpError
from pylibsrtp import Policy, Session

from media import _native

PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes(range(12))

# OpenSSL's name, libsrtp's number, length of key and salt
PROFILES = [
    ("SRTP_AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    ("SRTP_AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
    ("SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
]
each_profile = pytest.mark.parametrize(
    ("name", "number", "key_len"), PROFILES, ids=[name for name, _, _ in PROFILES]
)


def keys(key_len: int) -> tuple[bytes, bytes]:
    return bytes(range(key_len)), bytes(range(100, 100 + key_len))


def libsrtp(number: int, key: bytes, direction: int) -> Session:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=number)
    policy.window_size = 1024
    return Session(policy)


def rtp(sequence_number: int, payload: bytes, ssrc: int = 7) -> bytes:
    return struct.pack("!BBHLL", 0x80, 96, sequence_number & 0xFFFF, 90_000, ssrc) + payload


def compound(ssrc: int) -> bytes:
    return struct.pack("!BBHL", 0x80, 201, 1, ssrc) + struct.pack("!BBHL", 0x81, 203, 1, ssrc)


@each_profile
def test_libsrtp_reads_our_rtp_across_the_rollover(name: str, number: int, key_len: int) -> None:
    local, remote = keys(key_len)
    ours = _native.SrtpSession(name, local, remote)
    theirs = libsrtp(number, local, Policy.SSRC_ANY_INBOUND)
    for sequence in [65_530, 65_534, 65_536, 65_535, 65_537, 90_000, 120_000, 131_072]:
        packet = rtp(sequence, b"payload %d" % sequence)
        protected = ours.protect_rtp(packet)
        assert protected[12:] != packet[12:]
        assert theirs.unprotect(protected) == packet


@each_profile
def test_we_read_the_rtp_of_libsrtp_across_the_rollover(
    name: str, number: int, key_len: int
) -> None:
    local, remote = keys(key_len)
    ours = _native.SrtpSession(name, local, remote)
    theirs = libsrtp(number, remote, Policy.SSRC_ANY_OUTBOUND)
    for sequence in range(65_500, 65_600):
        packet = rtp(sequence, bytes(sequence % 50))
        assert ours.unprotect_rtp(theirs.protect(packet)) == packet


@each_profile
def test_rtcp_goes_both_ways(name: str, number: int, key_len: int) -> None:
    local, remote = keys(key_len)
    ours = _native.SrtpSession(name, local, remote)
    inbound = libsrtp(number, local, Policy.SSRC_ANY_INBOUND)
    outbound = libsrtp(number, remote, Policy.SSRC_ANY_OUTBOUND)
    for ssrc in [1, 2, 1]:
        assert inbound.unprotect_rtcp(ours.protect_rtcp(compound(ssrc))) == compound(ssrc)
        assert ours.unprotect_rtcp(outbound.protect_rtcp(compound(ssrc))) == compound(ssrc)


@each_profile
def test_replays_and_forgeries_are_refused_by_both(name: str, number: int, key_len: int) -> None:
    local, remote = keys(key_len)
    ours = _native.SrtpSession(name, remote, local)
    theirs = libsrtp(number, local, Policy.SSRC_ANY_INBOUND)
    packet = _native.SrtpSession(name, local, remote).protect_rtp(rtp(1, b"payload"))
    forged = packet[:-1] + bytes([packet[-1] ^ 1])
    with pytest.raises(_native.SrtpError, match="authentication failed"):
        ours.unprotect_rtp(forged)
    with pytest.raises(LibsrtpError):
        theirs.unprotect(forged)
    assert ours.unprotect_rtp(packet) == theirs.unprotect(packet)
    with pytest.raises(_native.SrtpError, match="replayed"):
        ours.unprotect_rtp(packet)
    with pytest.raises(LibsrtpError):
        theirs.unprotect(packet)


@given(
    profile=st.sampled_from(PROFILES),
    payload=st.binary(max_size=1_300),
    extension_words=st.integers(0, 8),
    csrcs=st.integers(0, 15),
    sequence_number=st.integers(0, 65_535),
)
def test_any_packet_is_protected_as_libsrtp_does(
    profile: tuple[str, int, int],
    payload: bytes,
    extension_words: int,
    csrcs: int,
    sequence_number: int,
) -> None:
    name, number, key_len = profile
    local, remote = keys(key_len)
    packet = struct.pack("!BBHLL", 0x90 | csrcs, 96, sequence_number, 1, 2) + bytes(4 * csrcs)
    packet += struct.pack("!HH", 0xBEDE, extension_words) + bytes(4 * extension_words) + payload
    packet = packet[:1_340]  # pylibsrtp takes no more
    ours = _native.SrtpSession(name, local, remote).protect_rtp(packet)
    theirs = libsrtp(number, local, Policy.SSRC_ANY_OUTBOUND).protect(packet)
    assert ours == theirs


def test_an_index_is_not_used_twice() -> None:
    session = _native.SrtpSession("SRTP_AEAD_AES_128_GCM", *keys(28))
    session.protect_rtp(rtp(5, b"one"))
    with pytest.raises(_native.SrtpError, match="used before"):
        session.protect_rtp(rtp(5, b"other"))


def test_sessions_refuse_other_profiles_and_key_lengths_and_show_no_keys() -> None:
    with pytest.raises(ValueError, match="no SRTP profile"):
        _native.SrtpSession("SRTP_NULL", b"", b"")
    with pytest.raises(ValueError, match="wrong length"):
        _native.SrtpSession("SRTP_AEAD_AES_128_GCM", bytes(28), bytes(27))
    session = _native.SrtpSession("SRTP_AEAD_AES_128_GCM", *keys(28))
    assert repr(session) == 'SrtpSession("AEAD_AES_128_GCM")'


@pytest.mark.parametrize("controlling", [True, False])
def test_aioice_verifies_our_checks(controlling: bool) -> None:
    data = _native.stun_binding_request(
        TRANSACTION,
        username="remote:local",
        password=PASSWORD,
        priority=1_853_817_087,
        tie_breaker=1 << 63,
        controlling=controlling,
        use_candidate=controlling,
    )
    message = aioice_stun.parse_message(data)
    assert message.check_message_integrity(PASSWORD.encode())
    assert message.message_class is aioice_stun.Class.REQUEST
    assert message.transaction_id == TRANSACTION
    attributes = dict(message.attributes)
    assert attributes["USERNAME"] == "remote:local"
    assert attributes["PRIORITY"] == 1_853_817_087
    role = "ICE-CONTROLLING" if controlling else "ICE-CONTROLLED"
    assert attributes[role] == 1 << 63
    assert ("USE-CANDIDATE" in attributes) is controlling


def test_we_verify_the_checks_of_aioice() -> None:
    message = aioice_stun.Message(
        message_method=aioice_stun.Method.BINDING,
        message_class=aioice_stun.Class.REQUEST,
        transaction_id=TRANSACTION,
    )
    message.attributes["USERNAME"] = "remote:local"
    message.attributes["PRIORITY"] = 77
    message.attributes["ICE-CONTROLLING"] = 99
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(PASSWORD.encode())
    read = _native.parse_stun(bytes(message))
    assert read.message_class == "request"
    assert read.method == 1
    assert read.transaction_id == TRANSACTION
    assert read.username == "remote:local"
    assert read.priority == 77
    assert read.role == ("controlling", 99)
    assert read.use_candidate
    assert read.has_fingerprint
    assert read.unknown_attributes == []
    assert read.verify(PASSWORD)
    assert not read.verify("another")


@pytest.mark.parametrize("address", [("192.0.2.1", 20_000), ("2001:db8::7", 30_000)])
def test_mapped_addresses_agree_with_aioice(address: tuple[str, int]) -> None:
    data = _native.stun_binding_success(TRANSACTION, mapped_address=address, password=PASSWORD)
    message = aioice_stun.parse_message(data)
    assert message.check_message_integrity(PASSWORD.encode())
    assert message.attributes["XOR-MAPPED-ADDRESS"] == address
    read = _native.parse_stun(data)
    assert (read.message_class, read.xor_mapped_address) == ("success", address)


def test_what_is_not_stun_is_refused() -> None:
    for data in [b"", bytes(20), b"\x80" * 40]:
        with pytest.raises(ValueError, match="malformed"):
            _native.parse_stun(data)
    with pytest.raises(ValueError, match="12 bytes"):
        _native.stun_binding_success(b"short", mapped_address=("::1", 1), password=PASSWORD)
