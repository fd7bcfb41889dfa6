"""Refusals: what a peer is told when its request cannot be met.

A refusal is the peer's fault, expected and answered. It is a value: deciders and the functions of
`protocol.negotiation` return it, they do not raise it.
"""

from enum import StrEnum

import msgspec


class RefusalCode(StrEnum):
    """The closed list of reasons. Clients branch on these words; they never change meaning."""

    INVALID_RTP_CAPABILITIES = "invalid_rtp_capabilities"
    """RTP capabilities that contradict themselves."""
    INVALID_RTP_PARAMETERS = "invalid_rtp_parameters"
    """RTP parameters that contradict themselves or exceed a bound."""
    UNSUPPORTED_CODEC = "unsupported_codec"
    """RTP parameters name a codec that this router does not route."""
    CANNOT_CONSUME = "cannot_consume"
    """The endpoint shares no codec with the producer."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was not met."""

    code: RefusalCode
    message: str
