"""Who may look at sessions.

| server | who |
| --- | --- |
| with a secret | who bears an operator's token (`reprise token --operator`), or the secret itself |
| without one, on loopback | pages and programs of this machine |
| without one, open to a network (`--open`) | nobody: sessions hold names and addresses |
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from msgspec import Struct
from starlette.requests import Request

from gateway import tokens
from gateway.addresses import is_loopback
from gateway.keys import Secret
from protocol.refusals import Refusal


class ReplayAccess(Struct, frozen=True):
    """The rule, from the server's settings."""

    secret: Secret | None
    loopback_only: bool

    def refusal(self, request: Request) -> tuple[int, str, str] | None:
        """Status, code and words if a request may not look; None if it may."""
        if self.secret is not None:
            return self._without_token(request, self.secret)
        if not self.loopback_only:
            words = "This server is open to a network without a secret, so it shows no sessions "
            words += "over HTTP. Set a secret, or use `reprise replay` on the server."
            return 403, "forbidden", words
        # A foreign page could reach this server under a name of its own (DNS rebinding).
        origin = request.headers.get("origin")
        names = [f"//{request.headers.get('host', '')}", *([origin] if origin else [])]
        if not all(_is_loopback_name(name) for name in names):
            return 403, "forbidden", "Sessions can be looked at from this machine only."
        return None

    @staticmethod
    def _without_token(request: Request, secret: Secret) -> tuple[int, str, str] | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            words = "An operator's token is needed: `reprise token --operator` makes one."
            return 401, "unauthorized", words
        if hmac.compare_digest(given.encode(), secret.reveal().encode()):
            return None
        found = tokens.check_operator(secret, given)
        if isinstance(found, Refusal):
            return 401, "unauthorized", f"No session is shown: {found.message}."
        return None


def _is_loopback_name(address: str) -> bool:
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
