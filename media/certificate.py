"""The server's DTLS certificate, and the OpenSSL context made of it.

One self-signed ECDSA P-256 certificate serves all transports. It is kept as
`dtls.pem` (key and certificate, mode 0600) in the data directory, so that a
restart keeps its fingerprints. Peers check the fingerprint and nothing else
(RFC 8827, 6.5); validity is kept in order all the same: a certificate that
ends within `RENEW_BEFORE` is replaced when the server starts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Self

from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCCertificate,
    SRTPProtectionProfile,
    generate_certificate,
)
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from protocol.orders import SrtpProfile

FILE_NAME = "dtls.pem"
FILE_BYTES_MAX = 64 * 1024
RENEW_BEFORE = timedelta(days=7)
"""A certificate that ends sooner than this is replaced at the next start."""

SRTP_PROFILES: dict[SrtpProfile, SRTPProtectionProfile] = {
    "AEAD_AES_128_GCM": SRTP_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": SRTP_AEAD_AES_256_GCM,
    "AES128_CM_HMAC_SHA1_80": SRTP_AES128_CM_SHA1_80,
}
"""SRTP protection profiles (RFC 5764, 4.1.2; RFC 7714, 14.2), preferred ones first."""

_DTLS_1_2 = 0xFEFD

# Our own certificate is ECDSA; RSA is for servers that we are the client of.
_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    b":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    b":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
    b":ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"
)

Origin = Literal["created", "loaded", "renewed", "replaced"]


class DtlsCertificate:
    """A certificate with its key. Its repr shows no key.

    `origin` says where it comes from: `created` (there was none), `loaded`,
    `renewed` (the old one was about to end) or `replaced` (the file was damaged).
    """

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        origin: Origin = "created",
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._rtc = RTCCertificate(key=key, cert=certificate)
        self.origin: Origin = origin

    def __repr__(self) -> str:
        return f"DtlsCertificate(expires={self.expires.isoformat()}, origin={self.origin!r})"

    @classmethod
    def generate(cls, origin: Origin = "created") -> Self:
        """Make a new one with a new P-256 key, valid for 30 days."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, generate_certificate(key), origin)

    @classmethod
    def open(cls, directory: Path, *, now: datetime | None = None) -> Self:
        """Load `dtls.pem` from the data directory, or make it anew where need be.

        Raises `OSError` when the file can't be read or written. A file that
        others may read is given mode 0600 again.
        """
        path = directory / FILE_NAME
        at = now or datetime.now(UTC)
        origin: Origin = "created"
        if path.exists():
            path.chmod(0o600)
            loaded = cls._parse(path)
            if loaded is None:
                origin = "replaced"
            elif not loaded.is_valid(at):
                origin = "renewed"
            else:
                return loaded
        made = cls.generate(origin)
        _write_private(path, made.to_pem())
        return made

    @classmethod
    def _parse(cls, path: Path) -> Self | None:
        """Read a certificate file; None when it is damaged."""
        with path.open("rb") as file:
            pem = file.read(FILE_BYTES_MAX)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(pem)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                return None
            if key.public_key() != certificate.public_key():
                return None
        except (ValueError, TypeError):
            return None
        return cls(key, certificate, "loaded")

    @property
    def expires(self) -> datetime:
        """The end of its validity."""
        return self._rtc.expires

    @property
    def fingerprints(self) -> tuple[tuple[str, str], ...]:
        """Pairs of algorithm (`sha-256`, `sha-384`, `sha-512`) and value, as RFC 8122 writes it."""
        return tuple((print_.algorithm, print_.value) for print_ in self._rtc.getFingerprints())

    def is_valid(self, at: datetime) -> bool:
        """Say whether it holds at a time and for `RENEW_BEFORE` from then on."""
        begins = self._certificate.not_valid_before_utc
        return begins <= at and at + RENEW_BEFORE < self.expires

    def to_pem(self) -> bytes:
        """Return key and certificate as PEM: a secret."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ) + self._certificate.public_bytes(serialization.Encoding.PEM)

    def ssl_context(self, profiles: Sequence[SrtpProfile]) -> SSL.Context:
        """Make an OpenSSL context for DTLS-SRTP with these profiles, preferred ones first.

        It asks for the peer's certificate; who uses it sets what verifies it.
        """
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        # With NO_QUERY_MTU, OpenSSL keeps to the MTU that each connection is given.
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.use_certificate(self._certificate)
        context.use_privatekey(self._key)
        context.set_cipher_list(_CIPHERS)
        names = [SRTP_PROFILES[profile].openssl_profile for profile in profiles]
        context.set_tlsext_use_srtp(b":".join(names))
        return context


def _write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
