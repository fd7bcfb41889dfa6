"""A full ICE agent towards one ICE-lite candidate: controlling, sans-IO (RFC 8445, RFC 7675).

It checks the pair until a check succeeds, nominates it with a second check,
and then keeps consent fresh. Each check is a request of its own: an answer to
any of the last few counts.

After each call send what `poll_datagrams` yields, and call `handle_timeout` at
`deadline_ns`.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from aioice import stun

from protocol.transport_parameters import IceCandidate, IceParameters

CHECK_INTERVAL_NS = 100_000_000
"""Between checks while there is no answer yet."""
CONSENT_INTERVAL_NS = 2_500_000_000
CONSENT_EXPIRES_NS = 30_000_000_000
"""Without an answer for so long, the pair has failed (RFC 7675, 5.1)."""
CHECKS_REMEMBERED = 64
_PEER_REFLEXIVE_PRIORITY = (110 << 24) | (65535 << 8) | 255

IceAgentState = Literal["checking", "connected", "failed"]


class IceAgent:
    """One pair: our socket and the server's candidate."""

    def __init__(
        self, remote: IceParameters, candidate: IceCandidate, *, clock: Callable[[], int]
    ) -> None:
        self.candidate = candidate
        self.state: IceAgentState = "checking"
        self.nominated = False
        self.errors: list[int] = []
        """STUN error codes that came back, at most the last few."""
        self._clock = clock
        self._tie_breaker = secrets.randbits(64)
        self._checks: OrderedDict[bytes, bool] = OrderedDict()
        self._outgoing: list[bytes] = []
        self._answered_ns = clock()
        self._next_ns = clock()
        self._take_credentials(remote)

    def restart(self, remote: IceParameters) -> None:
        """Begin again with the server's new credentials and new ones of our own."""
        self._take_credentials(remote)
        self._checks.clear()
        self.nominated = False
        self.state = "checking"
        self._answered_ns = self._next_ns = self._clock()

    def handle_timeout(self) -> None:
        """Send the next check where one is due; give up when consent expired."""
        now_ns = self._clock()
        if self.state == "failed" or now_ns < self._next_ns:
            return
        if now_ns - self._answered_ns >= CONSENT_EXPIRES_NS:
            self.state = "failed"
            return
        settled = self.state == "connected" and self.nominated
        self._next_ns = now_ns + (CONSENT_INTERVAL_NS if settled else CHECK_INTERVAL_NS)
        self._check()

    def deadline_ns(self) -> int | None:
        """When to call `handle_timeout`; None once it has failed."""
        return None if self.state == "failed" else self._next_ns

    def handle_datagram(self, datagram: bytes) -> None:
        """Take a STUN message from the server; whatever is not an answer to us is dropped."""
        try:
            message = stun.parse_message(datagram)
        except ValueError:
            return
        nominating = self._checks.get(message.transaction_id)
        if nominating is None or message.message_method != stun.Method.BINDING:
            return
        if message.message_class == stun.Class.ERROR:
            self.errors = [*self.errors[-7:], message.error_code or 0]
            return
        if message.message_class != stun.Class.RESPONSE:
            return
        if not message.check_message_integrity(self._key):
            return
        del self._checks[message.transaction_id]
        self._answered_ns = self._clock()
        if self.state == "checking":
            self.state = "connected"
            self._next_ns = self._clock()
        if nominating:
            self.nominated = True
            self._next_ns = max(self._next_ns, self._answered_ns + CONSENT_INTERVAL_NS)

    def check_now(self) -> None:
        """Send a check at once, as after a change of our own address."""
        self._next_ns = self._clock()

    def poll_datagrams(self) -> list[bytes]:
        """Take the datagrams that are to be sent now."""
        datagrams, self._outgoing = self._outgoing, []
        return datagrams

    def _take_credentials(self, remote: IceParameters) -> None:
        self.username_fragment = secrets.token_hex(4)
        self._username = f"{remote.username_fragment}:{self.username_fragment}"
        self._key = remote.password.encode()

    def _check(self) -> None:
        nominate = self.state == "connected"
        attributes: dict[str, object] = {
            "USERNAME": self._username,
            "PRIORITY": _PEER_REFLEXIVE_PRIORITY,
            "ICE-CONTROLLING": self._tie_breaker,
        }
        if nominate:
            attributes["USE-CANDIDATE"] = None
        request = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.REQUEST,
            attributes=attributes,
        )
        request.add_message_integrity(self._key)
        self._checks[request.transaction_id] = nominate
        if len(self._checks) > CHECKS_REMEMBERED:
            self._checks.popitem(last=False)
        self._outgoing.append(bytes(request))
