"""Refusals: what a peer is told when its request cannot be met.

A refusal is the peer's fault, expected and answered. It is a value: deciders and the functions of
`protocol.negotiation` return it, they do not raise it.
"""

from enum import StrEnum

import msgspec


class RefusalCode(StrEnum):
    """The closed list of reasons. Clients branch on these words; they never change meaning."""

    INVALID_RTP_PARAMETERS = "invalid_rtp_parameters"
    """RTP parameters that contradict themselves or exceed a bound."""
    UNSUPPORTED_CODEC = "unsupported_codec"
    """RTP parameters name a codec that this router does not route."""
    CANNOT_CONSUME = "cannot_consume"
    """The endpoint shares no codec with the producer."""

    MALFORMED_FRAME = "malformed_frame"
    """Not a frame of the subprotocol: not msgpack or JSON, too deep, or without id or method."""
    FRAME_TOO_LARGE = "frame_too_large"
    """A frame over the limit of message size."""
    UNKNOWN_METHOD = "unknown_method"
    """No such method."""
    INVALID_DATA = "invalid_data"
    """The method's data has a wrong type, lacks a field or exceeds a bound."""
    DUPLICATE_REQUEST_ID = "duplicate_request_id"
    """A request with this id is under way."""
    RATE_LIMITED = "rate_limited"
    """Too many requests; ask again later."""
    TOO_MANY_REQUESTS_PENDING = "too_many_requests_pending"
    """Too many requests without an answer yet."""
    OVERLOADED = "overloaded"
    """A queue of the server is full; ask again later."""

    UNAUTHORIZED = "unauthorized"
    """The token is missing, expired, forged, or for another room."""
    FORBIDDEN = "forbidden"
    """The token, or ownership, does not allow it."""
    NOT_JOINED = "not_joined"
    """The socket has not joined a room."""
    ALREADY_JOINED = "already_joined"
    """The socket is in a room."""
    SESSION_NOT_FOUND = "session_not_found"
    """No such session, or its grace period is over."""

    ROOM_NOT_FOUND = "room_not_found"
    TRANSPORT_NOT_FOUND = "transport_not_found"
    PRODUCER_NOT_FOUND = "producer_not_found"
    CONSUMER_NOT_FOUND = "consumer_not_found"
    """No such thing, or it is closed."""

    LIMIT_REACHED = "limit_reached"
    """One more would exceed a limit of the server; the message says which."""
    WRONG_DIRECTION = "wrong_direction"
    """A `recv` transport cannot produce, a `send` transport cannot consume."""
    ALREADY_CONNECTED = "already_connected"
    """The transport has its DTLS parameters."""
    UNSUPPORTED_FINGERPRINT = "unsupported_fingerprint"
    """No fingerprint by SHA-256, SHA-384 or SHA-512."""

    PLANE_UNAVAILABLE = "plane_unavailable"
    """The media plane is being restarted; ask again shortly."""
    STORAGE_UNAVAILABLE = "storage_unavailable"
    """The event log cannot be written; nothing was done."""
    LOG_DAMAGED = "log_damaged"
    """The room's log is damaged; an operator must look at it."""
    SHUTTING_DOWN = "shutting_down"
    """The server is about to stop."""
    INTERNAL_ERROR = "internal_error"
    """A fault of ours; it is in the log."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was not met."""

    code: RefusalCode
    message: str
