"""Join tokens for the rooms of a load test (docs/signaling.md)."""

from __future__ import annotations

import time
from collections.abc import Callable

import jwt

from load.options import LoadOptions

LIFETIME_S = 24 * 3600
SECRET_BYTES_MIN = 32
"""As servers want it of theirs (RFC 7518, 3.2)."""


def token_source(options: LoadOptions) -> Callable[[str], str | None]:
    """Say which token to show for a room: the one that was given, or one made of the secret."""
    secret = options.secret
    if secret is None:
        return lambda _room: options.token

    def made(room: str) -> str:
        claims = {"room": room, "exp": int(time.time()) + LIFETIME_S}
        return jwt.encode(claims, secret, algorithm="HS256")

    return made
