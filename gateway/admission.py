"""Who may come in: the rule of origins for pages, and join tokens for peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway import tokens
from gateway.addresses import is_loopback
from gateway.keys import Secret
from protocol.refusals import Refusal

ANY_ORIGIN = "*"


class Admission:
    """Decides by settings alone; holds no state.

    Without `allowed_origins`, a page may signal when it came from the host that it signals to, on
    whatever port. A server that is open because it only listens on loopback then also wants that
    host to be loopback, or a foreign page could reach it under a name of its own (DNS rebinding).
    Clients that are no pages send no origin and need none.
    """

    def __init__(
        self, *, secret: Secret | None, allowed_origins: tuple[str, ...], loopback_only: bool
    ) -> None:
        self._secret = secret
        self._origins = frozenset(allowed_origins)
        self._loopback_only = loopback_only and secret is None

    def allows_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of `origin` may signal to us under the name `host` (the Host header)."""
        if origin is None or ANY_ORIGIN in self._origins:
            return True
        if self._origins:
            return origin.lower() in self._origins
        page = _host_of(origin) if origin.startswith(("http://", "https://")) else None
        if page is None or (self._loopback_only and not is_loopback(page)):
            return False
        return page == _host_of(f"//{host or ''}")

    def admit(self, room: str, data: Mapping[str, Any]) -> dict[str, Any] | Refusal:
        """What replaces the fields of a `join` to `room` with `data`, or why it is refused."""
        if self._secret is None:
            return {}
        claims = tokens.check(self._secret, data.get("token"), room=room)
        if isinstance(claims, Refusal):
            return claims
        named = {} if claims.name is None else {"name": claims.name}
        return {"rights": claims.rights, **named}


def _host_of(address: str) -> str | None:
    """The host in an address, in lower case; None where there is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
