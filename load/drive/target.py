"""The server that is driven, and what all clients of a drive share."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import trio
from trio_websocket import DisconnectionTimeout, HandshakeError

from load.client import SignalingClosed, connect
from media.certificate import DtlsCertificate
from media.dtls import DtlsContext

CONNECT_TIMEOUT_S = 10.0

TokenMaker = Callable[[str, str, bool, bool], str | None]
"""A join token for a room, a name, and the rights to publish and to subscribe."""


class DriveFailed(Exception):
    """Nothing could be driven; the message is one line that says why."""


def _no_token(_room: str, _name: str, _publish: bool, _subscribe: bool) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to connect."""

    signaling_url: str
    ssl_context: ssl.SSLContext | None = None
    token_for: TokenMaker = _no_token
    dtls: DtlsContext = field(default_factory=lambda: DtlsContext(DtlsCertificate.generate()))
    """One certificate for all clients: making one each would cost time and prove nothing."""


async def greet(target: Target) -> None:
    """Connect once, before the crowd. Raises `DriveFailed`."""
    url = target.signaling_url
    try:
        async with connect(
            url, ssl_context=target.ssl_context, timeout_s=CONNECT_TIMEOUT_S
        ) as client:
            if client.welcome.get("server") not in ("reprise", None):
                raise DriveFailed(f"{url} is no Reprise server")
    except (HandshakeError, OSError, DisconnectionTimeout, ValueError) as error:
        raise DriveFailed(f"no server at {url}: {reason_of(error)}") from error
    except SignalingClosed as error:
        raise DriveFailed(f"{url} closed the connection: {error}") from error
    except trio.TooSlowError as error:
        raise DriveFailed(f"{url} does not answer") from error


def reason_of(error: BaseException) -> str:
    """An error in a few words."""
    if isinstance(error, BaseExceptionGroup):
        return reason_of(error.exceptions[0])
    if isinstance(error, HandshakeError):
        status = getattr(error, "status_code", None)
        if status:
            return f"it answers HTTP {status}, not as signaling does"
        cause = error.__cause__ or error.__context__
        return "the WebSocket handshake failed" if cause is None else reason_of(cause)
    if isinstance(error, trio.TooSlowError | DisconnectionTimeout):
        return "it does not answer"
    if isinstance(error, OSError) and error.__cause__ is not None:
        return reason_of(error.__cause__)
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()) or type(error).__name__
