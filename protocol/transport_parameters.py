"""ICE and DTLS parameters of a transport, in mediasoup's shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol.personal import Concealed


class IceParameters(Struct, frozen=True, kw_only=True, rename="camel"):
    """Local ICE credentials of one generation (RFC 8445, 5.3)."""

    username_fragment: str
    password: str = ""
    """Empty inside the control plane and in the log; filled in on the way to the client."""
    ice_lite: bool = True


class IceCandidate(Struct, frozen=True, kw_only=True, rename="camel"):
    """A host candidate (RFC 8445, 5.1.1)."""

    foundation: str
    priority: int
    ip: str
    address: str
    protocol: Literal["udp"] = "udp"
    port: int
    type: Literal["host"] = "host"


DtlsRole = Literal["auto", "client", "server"]
"""Who begins the handshake: `client` does (RFC 5763, 5)."""


class DtlsFingerprint(Struct, frozen=True, kw_only=True):
    """Hash of a certificate (RFC 8122): pairs of hex digits parted by colons."""

    algorithm: Literal["sha-256", "sha-384", "sha-512", "sha-1", "sha-224"]
    value: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){19,63}\Z")] | Concealed


class DtlsParameters(Struct, frozen=True, kw_only=True):
    """What one side says of its DTLS: role and certificate fingerprints."""

    fingerprints: Annotated[tuple[DtlsFingerprint, ...], Meta(min_length=1, max_length=8)]
    role: DtlsRole = "auto"
