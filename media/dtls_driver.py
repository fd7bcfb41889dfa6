"""Runs a DTLS association for each transport of a plane: sans-IO, between rows and notices.

A handshake begins once the transport's row names the DTLS role and the peer's
fingerprints and ICE has verified a tuple, in either order. DTLS datagrams that
come earlier wait, a few of them. A transport that was taken over with its SRTP
keys needs no handshake; what it still receives is dropped.

Calling order: `set_transport`, `remove_transport`, `handle_*`, `take_over`;
after each, drain `poll_orders` first and `poll_notices` then, so that the keys
are on their way to the plane before anyone hears of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from media.dtls import DtlsConnection, DtlsContext, DtlsRole
from protocol.notices import DtlsState, DtlsStateChanged, IceState
from protocol.orders import SendDtls, SetSrtpKeys, SetTransport, SrtpProfile, TransportEntry

EARLY_DATAGRAMS_MAX = 8
"""DTLS datagrams that wait for a transport's row; the oldest is dropped, peers send it again."""

DriverOrder = SendDtls | SetSrtpKeys


class _Association:
    """What is known about one transport."""

    def __init__(self) -> None:
        self.role: DtlsRole | None = None
        self.fingerprints: tuple[tuple[str, str], ...] = ()
        self.tuple_verified = False
        self.has_keys = False
        self.connection: DtlsConnection | None = None
        self.said: DtlsState | None = None
        self.early: list[bytes] = []
        self.scheduled_ns: int | None = None


class DtlsDriver:
    """All DTLS associations of a plane. `clock` gives nanoseconds."""

    def __init__(self, context: DtlsContext, *, clock: Callable[[], int]) -> None:
        self._context = context
        self._clock = clock
        self._associations: dict[str, _Association] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._orders: list[DriverOrder] = []
        self._notices: list[DtlsStateChanged] = []

    def set_transport(self, row: SetTransport) -> None:
        """Learn of a transport, or of its peer's role and fingerprints.

        Another role or other fingerprints than before start a new handshake (RFC 8842, 5.1).
        """
        association = self._associations.setdefault(row.transport, _Association())
        fingerprints = tuple(
            (algorithm, value) for algorithm, value in row.fingerprints if isinstance(value, str)
        )
        if row.dtls_role is None or not fingerprints:
            return
        if (association.role, association.fingerprints) != (row.dtls_role, fingerprints):
            if association.role is not None:
                association.connection, association.said = None, None
                association.has_keys = False
            association.role, association.fingerprints = row.dtls_role, fingerprints
        self._begin_if_ready(row.transport, association)

    def remove_transport(self, transport: str) -> None:
        """Forget a transport; a connected peer is told, by orders to send before the removal."""
        association = self._associations.pop(transport, None)
        if association is not None and association.connection is not None:
            association.connection.close()
            self._send(transport, association.connection)

    def take_over(self, entries: Iterable[TransportEntry]) -> None:
        """Compare with a plane's table: forget what it lacks, send again the keys it lacks."""
        table = {entry.transport: entry for entry in entries}
        for transport in self._associations.keys() - table.keys():
            del self._associations[transport]
        for transport, entry in table.items():
            association = self._associations.setdefault(transport, _Association())
            association.tuple_verified = entry.ice_state == "connected"
            connection = association.connection
            if connection is None:
                association.has_keys = entry.srtp_profile is not None
            elif entry.srtp_profile is None and connection.state in ("connected", "closed"):
                self._hand_over_keys(transport, connection)
            self._begin_if_ready(transport, association)

    def forget_all(self) -> None:
        """Forget every transport: the plane that carried them is gone."""
        self._associations.clear()
        self._deadlines.clear()
        self._orders.clear()
        self._notices.clear()

    def handle_ice_state(self, transport: str, state: IceState) -> None:
        """Hear how ICE stands; `connected` lets a handshake begin."""
        association = self._associations.get(transport)
        if association is not None:
            association.tuple_verified = state == "connected"
            self._begin_if_ready(transport, association)

    def handle_datagrams(self, transport: str, datagrams: Iterable[bytes]) -> None:
        """Take DTLS datagrams that came from the transport's verified tuple."""
        association = self._associations.get(transport)
        if association is None or (association.has_keys and association.connection is None):
            return
        if association.connection is None:
            association.early = [*association.early, *datagrams][-EARLY_DATAGRAMS_MAX:]
            association.tuple_verified = True  # the plane hands over nothing else
            self._begin_if_ready(transport, association)
            return
        for datagram in datagrams:
            association.connection.handle_datagram(datagram)
        self._look_at(transport, association, association.connection)

    def handle_timeouts(self) -> None:
        """Retransmit and give up where that is due; call it at `deadline_ns`."""
        now_ns = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            at_ns, transport = heapq.heappop(self._deadlines)
            association = self._associations.get(transport)
            if association is None or association.scheduled_ns != at_ns:
                continue
            association.scheduled_ns = None
            if association.connection is not None:
                association.connection.handle_timeout()
                self._look_at(transport, association, association.connection)

    def deadline_ns(self) -> int | None:
        """When to call `handle_timeouts`; None: no handshake is under way."""
        return self._deadlines[0][0] if self._deadlines else None

    def poll_orders(self) -> list[DriverOrder]:
        """Take the orders that are to go to the plane now, in order."""
        orders, self._orders = self._orders, []
        return orders

    def poll_notices(self) -> list[DtlsStateChanged]:
        """Take what has happened since the last poll."""
        notices, self._notices = self._notices, []
        return notices

    def _begin_if_ready(self, transport: str, association: _Association) -> None:
        if (
            association.role is None
            or association.connection is not None
            or association.has_keys
            or not association.tuple_verified
        ):
            return
        connection = DtlsConnection(
            association.role, self._context, association.fingerprints, clock=self._clock
        )
        association.connection = connection
        connection.start()
        self._look_at(transport, association, connection)
        early, association.early = association.early, []
        for datagram in early:
            connection.handle_datagram(datagram)
        self._look_at(transport, association, connection)

    def _look_at(
        self, transport: str, association: _Association, connection: DtlsConnection
    ) -> None:
        """Do what a connection wants done after any input."""
        self._send(transport, connection)
        self._tell_state(transport, association, connection)
        deadline_ns = connection.deadline_ns()
        known_ns = association.scheduled_ns
        if deadline_ns is not None and (known_ns is None or deadline_ns < known_ns):
            association.scheduled_ns = deadline_ns
            heapq.heappush(self._deadlines, (deadline_ns, transport))

    def _send(self, transport: str, connection: DtlsConnection) -> None:
        datagrams = connection.poll_datagrams()
        if datagrams:
            self._orders.append(SendDtls(transport=transport, datagrams=tuple(datagrams)))

    def _hand_over_keys(self, transport: str, connection: DtlsConnection) -> SetSrtpKeys:
        keys = connection.srtp_keys()
        order = SetSrtpKeys(
            transport=transport, profile=keys.profile, local=keys.local, remote=keys.remote
        )
        self._orders.append(order)
        return order

    def _tell_state(
        self, transport: str, association: _Association, connection: DtlsConnection
    ) -> None:
        state = connection.state
        if state == "new" or state == association.said:  # noqa: PLR1714 - narrows the type
            return
        profile: SrtpProfile | None = None
        if state in ("connected", "closed") and association.said == "connecting":
            # A peer may say goodbye in the same breath: it was connected all the same.
            profile = self._hand_over_keys(transport, connection).profile
            if state == "closed":
                self._say(transport, "connected", profile, None)
                profile = None
        association.said = state
        self._say(transport, state, profile, connection.reason)

    def _say(
        self, transport: str, state: DtlsState, profile: SrtpProfile | None, reason: str | None
    ) -> None:
        self._notices.append(
            DtlsStateChanged(transport=transport, state=state, srtp_profile=profile, reason=reason)
        )
