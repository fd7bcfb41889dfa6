"""Alerts of a finished handshake, sealed and opened without OpenSSL's connection (RFC 5246, 7.2).

OpenSSL keeps some 96 KB for each connection, and all that SRTP's users want of DTLS after the
handshake is to say goodbye and to hear it. For that the traffic keys are enough: `AlertKeys` are
derived from the master secret (RFC 5246, 6.3) and take a hundred bytes.
"""

from __future__ import annotations

import hmac
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from msgspec import Struct
from OpenSSL import SSL

ALERT = 21
CLOSE_NOTIFY = b"\x01\x00"
"""A warning that no more comes (RFC 5246, 7.2.1)."""

_VERSION = b"\xfe\xfd"
_EPOCH = b"\x00\x01"
_HEADER = 13
_TAG = 16
_EXPLICIT = 8
"""Bytes of the nonce that go with each record of AES-GCM (RFC 5288, 3)."""
_FIRST_SEQUENCE = 1 << 40
"""Beyond what OpenSSL used: a sequence number, and with it a nonce, is never used twice."""

_SUITES: dict[str, tuple[Literal["gcm", "chacha"], int, int]] = {
    "AES128-GCM": ("gcm", 16, 4),
    "AES256-GCM": ("gcm", 32, 4),
    "CHACHA20-POLY1305": ("chacha", 32, 12),
}
"""Cipher, and the lengths of its key and of its fixed nonce, by what a suite's name contains."""


class AlertKeys(Struct):
    """What it takes to seal our alerts and to open the peer's."""

    cipher: Literal["gcm", "chacha"]
    local_key: bytes
    local_nonce: bytes
    remote_key: bytes
    remote_nonce: bytes
    sequence: int = _FIRST_SEQUENCE

    def __repr__(self) -> str:
        return f"AlertKeys(cipher={self.cipher!r}, keys=…)"

    def seal(self, alert: bytes) -> bytes:
        """The record of an alert, level and description, to send to the peer."""
        number = _EPOCH + self.sequence.to_bytes(6)
        self.sequence += 1
        extra = number + bytes((ALERT,)) + _VERSION + len(alert).to_bytes(2)
        explicit = number if self.cipher == "gcm" else b""
        nonce = self._nonce(self.local_nonce, explicit, number)
        sealed = explicit + self._aead(self.local_key).encrypt(nonce, alert, extra)
        return bytes((ALERT,)) + _VERSION + number + len(sealed).to_bytes(2) + sealed

    def open(self, record: bytes) -> bytes | None:
        """The alert in a whole record of the peer; None unless it is one, and authentic."""
        if record[0] != ALERT or record[3:5] != _EPOCH:
            return None
        explicit = _EXPLICIT if self.cipher == "gcm" else 0
        sealed = record[_HEADER:]
        length = len(sealed) - explicit - _TAG
        if length < len(CLOSE_NOTIFY):
            return None
        number = record[3:11]
        nonce = self._nonce(self.remote_nonce, sealed[:explicit], number)
        extra = number + record[:3] + length.to_bytes(2)
        try:
            return self._aead(self.remote_key).decrypt(nonce, sealed[explicit:], extra)
        except InvalidTag:
            return None

    def _nonce(self, fixed: bytes, explicit: bytes, number: bytes) -> bytes:
        if self.cipher == "gcm":
            return fixed + explicit
        padded = bytes(len(fixed) - len(number)) + number
        return bytes(a ^ b for a, b in zip(fixed, padded, strict=True))  # RFC 7905, 2

    def _aead(self, key: bytes) -> AESGCM | ChaCha20Poly1305:
        return AESGCM(key) if self.cipher == "gcm" else ChaCha20Poly1305(key)


def alert_keys(connection: SSL.Connection, *, is_client: bool) -> AlertKeys | None:
    """The keys of a finished handshake; None where its version or cipher is another."""
    name = connection.get_cipher_name() or ""
    suite = next((suite for part, suite in _SUITES.items() if part in name), None)
    master, client, server = (
        connection.master_key(),
        connection.client_random(),
        connection.server_random(),
    )
    if suite is None or connection.get_protocol_version_name() != "DTLSv1.2" or not master:
        return None
    assert client is not None
    assert server is not None
    cipher, key_length, nonce_length = suite
    digest = "sha384" if name.endswith("SHA384") else "sha256"
    seed = b"key expansion" + server + client
    block = _expand(master, seed, digest, 2 * (key_length + nonce_length))
    ends = (key_length, 2 * key_length, 2 * key_length + nonce_length)
    theirs, ours = (
        (block[: ends[0]], block[ends[1] : ends[2]]),
        (
            block[ends[0] : ends[1]],
            block[ends[2] :],
        ),
    )
    if is_client:
        theirs, ours = ours, theirs
    return AlertKeys(cipher, ours[0], ours[1], theirs[0], theirs[1])


def _expand(secret: bytes, seed: bytes, digest: str, length: int) -> bytes:
    """TLS 1.2's pseudorandom function (RFC 5246, 5)."""
    made, step = b"", seed
    while len(made) < length:
        step = hmac.digest(secret, step, digest)
        made += hmac.digest(secret, step + seed, digest)
    return made[:length]
