"""Sends the first flight of a DTLS handshake again until it is answered, as browsers do. Sans-IO.

A server may not take DTLS yet when ICE has just ended: Janus drops what comes before it has
processed the nomination, a moment after it answered it. OpenSSL waits a second before its first
retransmission, libwebrtc 50 ms. So the first flight goes out again after 50 ms, 100 ms and so on
until anything is heard; from then on the handshake is OpenSSL's alone (RFC 6347, 4.2.4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

FIRST_NS = 50_000_000
"""Until the first repetition; each waits twice as long as the one before."""
LAST_NS = 400_000_000
"""The longest wait; then the handshake's own timer takes over."""


class _Flight:
    def __init__(self, datagrams: tuple[bytes, ...], now_ns: int) -> None:
        self.datagrams = datagrams
        self.wait_ns = FIRST_NS
        self.due_ns = now_ns + FIRST_NS


class FirstFlights:
    """The first flights that nobody has answered yet: as many as handshakes that just began."""

    def __init__(self) -> None:
        self._flights: dict[int, _Flight] = {}
        self._answered: set[int] = set()

    def handle_sent(self, client: int, datagrams: Sequence[bytes], now_ns: int) -> None:
        """A client sent DTLS; only its first flight matters."""
        if client not in self._answered and client not in self._flights:
            self._flights[client] = _Flight(tuple(datagrams), now_ns)

    def handle_answer(self, client: int) -> None:
        """A client heard DTLS."""
        self._flights.pop(client, None)
        self._answered.add(client)

    def forget(self, client: int) -> None:
        """A client is gone."""
        self._flights.pop(client, None)
        self._answered.discard(client)

    def deadline_ns(self) -> float:
        """When to call `poll_due`; infinite when nothing waits."""
        return min((flight.due_ns for flight in self._flights.values()), default=math.inf)

    def poll_due(self, now_ns: int) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """What is to be sent again now."""
        for client, flight in list(self._flights.items()):
            if flight.due_ns > now_ns:
                continue
            flight.wait_ns *= 2
            if flight.wait_ns > LAST_NS:
                self.handle_answer(client)
            flight.due_ns = now_ns + flight.wait_ns
            yield client, flight.datagrams
