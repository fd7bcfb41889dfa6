"""DTLS-SRTP of one transport on OpenSSL, without socket or task (RFC 5764, RFC 8827).

Calling order of a `DtlsConnection`:

    start() ─▶ poll_datagrams() ─▶ [ handle_datagram() | handle_timeout() ─▶ poll_datagrams() ]*

After each call that is not a poll: send what `poll_datagrams` yields, look at
`state`, and wait for `deadline_ns` at most. States go one way:

    new ─▶ connecting ─▶ connected ─▶ closed
               └─▶ failed (`reason`)

What OpenSSL leaves to its user, and this module does:

- A memory BIO knows no datagrams. What comes in is fed one datagram at a
  time, and only its well-formed records; what goes out is split at the record
  headers and packed into datagrams of at most `MTU` bytes.
- A malformed handshake fragment or a forged alert in the clear would end a
  handshake. The first is dropped here; for the second, callers hand over only
  what came from a tuple that ICE verified. Once connected, alerts in the clear
  are dropped as well.
- Once connected, OpenSSL's connection is let go, for it takes some 96 KB: what
  is left to do, goodbyes and our last flight once more for a peer that missed
  it, is done here (`media.dtls_alerts`). Only a cipher that is not known there
  keeps it.
- OpenSSL's own clock times the retransmissions: 1 s, then doubled.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from typing import Literal

from aiortc.rtcdtlstransport import X509_DIGEST_ALGORITHMS
from msgspec import Struct
from OpenSSL import SSL, crypto

from media.certificate import SRTP_PROFILES, DtlsCertificate
from media.dtls_alerts import CLOSE_NOTIFY, AlertKeys, alert_keys
from protocol.orders import SrtpProfile

DtlsRole = Literal["client", "server"]
DtlsConnectionState = Literal["new", "connecting", "connected", "failed", "closed"]
FailureReason = Literal[
    "fingerprint_mismatch", "timeout", "alert", "no_srtp_profile", "protocol_error"
]

MTU = 1200
"""Largest datagram that we send, in bytes."""
DATAGRAM_BYTES_MAX = 4096
"""Larger datagrams are dropped."""
HANDSHAKE_TIMEOUT_NS = 30_000_000_000
"""A handshake that takes longer fails with `timeout`."""
HANDSHAKE_RECORDS_MAX = 512
"""Records that a peer may send before its handshake ends; more is a `protocol_error`.

A handshake takes about ten; the rest is for retransmissions and small fragments."""
LATE_RECORDS_PER_SECOND_MAX = 100
"""Records of a connected peer that are looked at in each second; the rest is dropped."""
LAST_FLIGHTS_PER_SECOND_MAX = 4
"""How often in a second a peer is sent our last flight again."""
HANDSHAKE_MESSAGE_BYTES_MAX = 64 * 1024

_RECORD_HEADER = 13
_FRAGMENT_HEADER = 12
_ALERT, _HANDSHAKE = 21, 22
_FATAL = 2
_CONTENT_TYPES = frozenset({20, _ALERT, _HANDSHAKE, 23})
_VERSIONS = frozenset({b"\xfe\xff", b"\xfe\xfd"})
_STRONGEST_FIRST = tuple(sorted(X509_DIGEST_ALGORITHMS, reverse=True))


class SrtpKeys(Struct, frozen=True, kw_only=True):
    """Keys of a finished handshake, each followed by its salt (RFC 5764, 4.2)."""

    profile: SrtpProfile
    local: bytes
    remote: bytes

    def __repr__(self) -> str:
        return f"SrtpKeys(profile={self.profile!r}, keys=…)"


class DtlsContext:
    """What the connections of a server share: certificate and SRTP profiles, preferred first."""

    def __init__(
        self,
        certificate: DtlsCertificate,
        profiles: Sequence[SrtpProfile] = tuple(SRTP_PROFILES),
    ) -> None:
        self.certificate = certificate
        self.profiles = tuple(profiles)
        self._ssl = certificate.ssl_context(self.profiles)
        self._ssl.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)

    def _connection(self) -> SSL.Connection:
        connection = SSL.Connection(self._ssl)
        connection.set_ciphertext_mtu(MTU)
        return connection


class DtlsConnection:
    """One DTLS association, as client or as server.

    `remote_fingerprints` are pairs of algorithm and value. The peer's
    certificate must match one of those with the strongest algorithm among
    them that we know (RFC 8122, 5); with none that we know it is refused.
    `clock` gives nanoseconds; only the limit of the whole handshake and that
    of late records are taken from it.
    """

    def __init__(
        self,
        role: DtlsRole,
        context: DtlsContext,
        remote_fingerprints: Sequence[tuple[str, str]],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.role: DtlsRole = role
        self.state: DtlsConnectionState = "new"
        self.reason: FailureReason | None = None
        self.datagrams_dropped = 0
        """Datagrams of which nothing was looked at: malformed, too large, too many, too late."""
        self._context = context
        self._clock = clock
        self._expected = _Expected(remote_fingerprints)
        self._ssl: SSL.Connection | None = context._connection()
        self._ssl.set_app_data(self._expected)
        self._alerts: AlertKeys | None = None
        self._last_flight: tuple[bytes, ...] = ()
        self._outgoing: list[bytes] = []
        self._fails_at_ns = 0
        self._handshake_records = 0
        self._late_second = -1
        self._late_records = 0
        self._last_flights = 0
        self._keys: SrtpKeys | None = None

    def __repr__(self) -> str:
        return f"DtlsConnection(role={self.role!r}, state={self.state!r}, reason={self.reason!r})"

    def start(self) -> None:
        """Begin the handshake: a client says hello, a server waits for it for 30 s at most."""
        if self.state != "new":
            return
        self.state = "connecting"
        self._fails_at_ns = self._clock() + HANDSHAKE_TIMEOUT_NS
        connection = self._openssl
        if self.role == "client":
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        self._advance()

    def handle_datagram(self, datagram: bytes) -> None:
        """Take one datagram from the peer; starts a connection that is new."""
        self.start()
        if self.state not in ("connecting", "connected") or len(datagram) > DATAGRAM_BYTES_MAX:
            self.datagrams_dropped += 1
            return
        records = _acceptable_records(datagram, in_clear_only_handshake=self.state == "connected")
        if not records or not self._count(len(records)):
            self.datagrams_dropped += 1
            return
        if self._alerts is not None:
            self._take_late(records, self._alerts)
            return
        self._openssl.bio_write(b"".join(records))
        self._advance()

    def handle_timeout(self) -> None:
        """Retransmit a flight or give up, where that is due; call it at `deadline_ns`."""
        if self.state != "connecting":
            return
        if self._clock() >= self._fails_at_ns:
            self._fail("timeout")
            return
        try:
            self._openssl.DTLSv1_handle_timeout()
        except SSL.Error:
            self._fail("timeout")
        self._collect()

    def close(self) -> None:
        """Tell the peer that we leave (close_notify); the datagram waits in `poll_datagrams`."""
        if self.state == "connected":
            self._say_goodbye()
        if self.state != "failed":
            self.state = "closed"

    def poll_datagrams(self) -> list[bytes]:
        """Take what is to be sent to the peer now, in order, each at most `MTU` bytes."""
        datagrams, self._outgoing = self._outgoing, []
        return datagrams

    def deadline_ns(self) -> int | None:
        """When to call `handle_timeout`, on the connection's clock; None: never."""
        if self.state != "connecting":
            return None
        remaining_s: float | None = self._openssl.DTLSv1_get_timeout()
        if remaining_s is None:
            return self._fails_at_ns
        return min(self._clock() + int(remaining_s * 1e9), self._fails_at_ns)

    def srtp_keys(self) -> SrtpKeys:
        """Return the SRTP keys of a connection that is or was connected."""
        assert self._keys is not None, "no keys before the handshake is done"
        return self._keys

    def _count(self, records: int) -> bool:
        """Count records against their bound; False: drop them."""
        if self.state == "connecting":
            self._handshake_records += records
            if self._handshake_records > HANDSHAKE_RECORDS_MAX:
                self._fail("protocol_error")
                return False
            return True
        second = self._clock() // 1_000_000_000
        if second != self._late_second:
            self._late_second, self._late_records, self._last_flights = second, 0, 0
        self._late_records += records
        return self._late_records <= LATE_RECORDS_PER_SECOND_MAX

    def _advance(self) -> None:
        """Let OpenSSL work on what it was given."""
        connecting = self.state == "connecting"
        if connecting:
            self._shake_hands()
        if self.state == "connected":
            self._read_late_records()
        self._collect()
        if connecting and self.state == "connected":
            self._let_go()

    @property
    def _openssl(self) -> SSL.Connection:
        assert self._ssl is not None, "let go of once connected"
        return self._ssl

    def _let_go(self) -> None:
        """Keep what is needed once the handshake is done, and free OpenSSL's connection."""
        self._alerts = alert_keys(self._openssl, is_client=self.role == "client")
        if self._alerts is not None:
            if self.role == "server":
                self._last_flight = tuple(self._outgoing)
            self._ssl = None

    def _take_late(self, records: Sequence[bytes], alerts: AlertKeys) -> None:
        """Look for goodbyes, and for a handshake that goes on as our last flight was lost."""
        for record in records:
            alert = alerts.open(record)
            if alert is not None and alert[0] == _FATAL:
                self.state = "closed"
            elif alert == CLOSE_NOTIFY:
                self._say_goodbye()
                self.state = "closed"
            if self.state == "closed":
                return
        if any(record[0] == _HANDSHAKE for record in records):
            self._last_flights += 1
            if self._last_flights <= LAST_FLIGHTS_PER_SECOND_MAX:
                self._outgoing += self._last_flight

    def _shake_hands(self) -> None:
        try:
            self._openssl.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            self._fail(self._reason_of(error))
            return
        if not self._expected.matched:
            self._fail("fingerprint_mismatch")
            return
        self._keys = self._export_keys()
        if self._keys is None:
            self._say_goodbye()
            self._fail("no_srtp_profile")
            return
        self.state = "connected"

    def _read_late_records(self) -> None:
        """Read until OpenSSL wants more. Application data is not ours: it is dropped."""
        while self.state == "connected":
            try:
                self._openssl.recv(DATAGRAM_BYTES_MAX)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self._say_goodbye()
                self.state = "closed"
            except SSL.Error as error:
                if self._reason_of(error) == "alert":
                    self.state = "closed"
                else:
                    self.datagrams_dropped += 1
                    return

    def _reason_of(self, error: SSL.Error) -> FailureReason:
        if self._expected.refused:
            return "fingerprint_mismatch"
        entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
        if any(" alert " in f" {entry[-1]} " for entry in entries):
            return "alert"
        return "protocol_error"

    def _export_keys(self) -> SrtpKeys | None:
        selected = self._openssl.get_selected_srtp_profile()
        for name in self._context.profiles:
            profile = SRTP_PROFILES[name]
            if profile.openssl_profile == selected:
                break
        else:
            return None
        material = self._openssl.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        ours = 0 if self.role == "client" else 1
        return SrtpKeys(
            profile=name,
            local=profile.get_key_and_salt(material, ours),
            remote=profile.get_key_and_salt(material, 1 - ours),
        )

    def _fail(self, reason: FailureReason) -> None:
        self.state, self.reason = "failed", reason

    def _say_goodbye(self) -> None:
        if self._alerts is not None:
            self._outgoing.append(self._alerts.seal(CLOSE_NOTIFY))
            return
        try:
            self._openssl.shutdown()
        except SSL.Error:
            return
        finally:
            self._collect()

    def _collect(self) -> None:
        """Move what OpenSSL wrote into datagrams."""
        written = bytearray()
        while True:
            try:
                written += self._openssl.bio_read(65536)
            except SSL.Error:
                break
        datagram = b""
        for record in _split_records(bytes(written)):
            if datagram and len(datagram) + len(record) > MTU:
                self._outgoing.append(datagram)
                datagram = b""
            datagram += record
        if datagram:
            self._outgoing.append(datagram)


class _Expected:
    """The fingerprints that a peer's certificate must match, and what came of it."""

    def __init__(self, fingerprints: Sequence[tuple[str, str]]) -> None:
        known = [(algorithm.lower(), value.upper()) for algorithm, value in fingerprints]
        self._algorithm = next(
            (name for name in _STRONGEST_FIRST if any(name == one for one, _ in known)), None
        )
        self._values = [value.encode() for name, value in known if name == self._algorithm]
        self.matched = False
        self.refused = False

    def check(self, certificate: crypto.X509) -> bool:
        if self._algorithm is not None:
            # OpenSSL hashes the bytes as they came. Parsing them may fail: they are the peer's.
            digest = certificate.digest(X509_DIGEST_ALGORITHMS[self._algorithm].name)
            # No early end: how long it takes says nothing about what was expected.
            results = [hmac.compare_digest(digest, value) for value in self._values]
            self.matched = any(results)
        self.refused = not self.matched
        return self.matched


def _verify(
    connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int
) -> bool:
    """Accept the peer's own certificate by its fingerprint alone; OpenSSL sends the alert."""
    if depth > 0:
        return True
    expected = connection.get_app_data()
    assert isinstance(expected, _Expected)
    return expected.check(certificate)


def _split_records(written: bytes) -> list[bytes]:
    """Split whole records that OpenSSL wrote (RFC 6347, 4.1)."""
    records = []
    at = 0
    while at < len(written):
        end = at + _RECORD_HEADER + int.from_bytes(written[at + 11 : at + 13], "big")
        records.append(written[at:end])
        at = end
    return records


def _acceptable_records(datagram: bytes, *, in_clear_only_handshake: bool) -> list[bytes]:
    """Pick the records of a datagram that are worth OpenSSL's time, up to the first broken one."""
    records = []
    at = 0
    while len(datagram) - at > _RECORD_HEADER:
        header = datagram[at : at + _RECORD_HEADER]
        end = at + _RECORD_HEADER + int.from_bytes(header[11:13], "big")
        if header[0] not in _CONTENT_TYPES or header[1:3] not in _VERSIONS or end > len(datagram):
            break
        in_clear = header[3:5] == b"\0\0"
        content = datagram[at + _RECORD_HEADER : end]
        if not in_clear:
            records.append(datagram[at:end])
        elif header[0] == _HANDSHAKE:
            if _has_whole_fragments(content):
                records.append(datagram[at:end])
        elif not in_clear_only_handshake and header[0] != 23 and content:
            records.append(datagram[at:end])
        at = end
    return records


def _has_whole_fragments(content: bytes) -> bool:
    """Say whether a record in the clear holds only sound handshake fragments (RFC 6347, 4.2.2)."""
    at = 0
    while at < len(content):
        header = content[at : at + _FRAGMENT_HEADER]
        if len(header) < _FRAGMENT_HEADER:
            return False
        length = int.from_bytes(header[1:4], "big")
        offset = int.from_bytes(header[6:9], "big")
        fragment = int.from_bytes(header[9:12], "big")
        if length > HANDSHAKE_MESSAGE_BYTES_MAX or offset + fragment > length:
            return False
        at += _FRAGMENT_HEADER + fragment
    return at == len(content) and at > 0
