"""A plane in memory, for tests of the control plane: the same promises, no packets.

`FakePlane` passes the same contract suite as the real one (tests/contract).
A test drives what the network would do: `inject` a notice, `crash` the plane,
`restart` it, `lose_connection` to it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import trio

from media.fake_entries import FakeEntries
from media.frames import OrderError
from media.interface import QUERY_TIMEOUT_S, PlaneDown, PlaneItem, PlaneUnavailable, PlaneUp
from media.plane_connection import subject_of
from protocol.notices import (
    DtlsReceived,
    DtlsStateChanged,
    IceStateChanged,
    Notice,
    OrderRefused,
    PlaneLost,
)
from protocol.orders import (
    PLANE_PROTOCOL,
    Order,
    PlaneInfo,
    Quit,
    Remove,
    RequestKeyFrame,
    SendDtls,
    SetConsumer,
    SetProducer,
    SetSrtpKeys,
    SetTransport,
    Stats,
    StreamStats,
    Table,
    TransportEntry,
    TransportStats,
    WorkerInfo,
)

FAKE_WORKERS = (
    WorkerInfo(worker=0, host="127.0.0.1", port=10000),
    WorkerInfo(worker=1, host="127.0.0.1", port=10001),
)


class FakeTable:
    """The table of a plane: rows with the same refusals and the same cascade."""

    def __init__(self) -> None:
        self.transports: dict[str, SetTransport] = {}
        self.producers: dict[str, SetProducer] = {}
        self.consumers: dict[str, SetConsumer] = {}
        self.ice: dict[str, IceStateChanged] = {}
        self.srtp: dict[str, SetSrtpKeys] = {}
        self.dtls_sent: dict[str, list[bytes]] = {}
        self.entries = FakeEntries()

    def apply(self, order: Order) -> OrderError | None:
        """Carry out a row or an act; what is refused changes nothing."""
        match order:
            case SetTransport():
                return self._set_transport(order)
            case SetProducer():
                return self._set_producer(order)
            case SetConsumer():
                return self._set_consumer(order)
            case Remove():
                self._remove(order)
            case RequestKeyFrame(consumer=consumer) if consumer not in self.consumers:
                return OrderError("unknown_consumer")
            case SendDtls(transport=transport) | SetSrtpKeys(transport=transport):
                if transport not in self.transports:
                    return OrderError("unknown_transport")
                if isinstance(order, SetSrtpKeys):
                    self.srtp[transport] = order
                else:
                    self.dtls_sent.setdefault(transport, []).extend(order.datagrams)
            case _:
                pass
        return None

    def describe(self) -> Table:
        """List all that is in it."""
        return Table(
            transports=tuple(self._entry(row) for row in self.transports.values()),
            producers=tuple(self.producers),
            consumers=tuple(self.consumers),
            producer_entries=self.entries.producers(self.producers.values()),
            consumer_entries=self.entries.consumers(self.consumers),
        )

    def stats(self, ids: Sequence[str], at_ns: int) -> tuple[Stats, ...]:
        """Count nothing, for those of the ids that are there."""
        known = []
        for entry in ids:
            if entry in self.transports:
                described = self._entry(self.transports[entry])
                counters = TransportStats(ice_state=described.ice_state, remote=described.remote)
                known.append(Stats(id=entry, kind="transport", at_ns=at_ns, transport=counters))
            elif entry in self.producers:
                streams = tuple(
                    StreamStats(ssrc=one.ssrc or 0, rid=one.rid)
                    for one in self.producers[entry].encodings
                )
                known.append(Stats(id=entry, kind="producer", at_ns=at_ns, streams=streams))
            elif entry in self.consumers:
                stream = StreamStats(ssrc=self.consumers[entry].ssrc)
                known.append(Stats(id=entry, kind="consumer", at_ns=at_ns, streams=(stream,)))
        return tuple(known)

    def note(self, notice: Notice) -> None:
        """Keep what a notice says about an entry, so that the table tells the same."""
        self.entries.note(notice)
        if isinstance(notice, IceStateChanged) and notice.transport in self.transports:
            self.ice[notice.transport] = notice
        if isinstance(notice, DtlsStateChanged) and notice.srtp_profile is not None:
            self.srtp[notice.transport] = SetSrtpKeys(
                transport=notice.transport, profile=notice.srtp_profile, local=b"", remote=b""
            )

    def _entry(self, row: SetTransport) -> TransportEntry:
        ice, srtp = self.ice.get(row.transport), self.srtp.get(row.transport)
        return TransportEntry(
            transport=row.transport,
            worker=row.worker,
            ice_state=ice.state if ice else "new",
            remote=ice.remote if ice and isinstance(ice.remote, str) else None,
            srtp_profile=srtp.profile if srtp else None,
        )

    def _set_transport(self, row: SetTransport) -> OrderError | None:
        present = self.transports.get(row.transport)
        if present and (present.direction, present.worker) != (row.direction, row.worker):
            return OrderError("immutable_field")
        others = (one for one in self.transports.values() if one is not present)
        ufrags = {ice.ufrag for ice in row.ice}
        if any(ice.ufrag in ufrags for other in others for ice in other.ice):
            return OrderError("ufrag_in_use")
        self.transports[row.transport] = row
        return None

    def _set_producer(self, row: SetProducer) -> OrderError | None:
        present = self.producers.get(row.producer)
        if present and (present.transport, present.kind) != (row.transport, row.kind):
            return OrderError("immutable_field")
        transport = self.transports.get(row.transport)
        if transport is None:
            return OrderError("unknown_transport")
        if transport.direction != "send":
            return OrderError("wrong_direction")
        self.producers[row.producer] = row
        return None

    def _set_consumer(self, row: SetConsumer) -> OrderError | None:
        present = self.consumers.get(row.consumer)
        fixed = (row.transport, row.producer, row.kind)
        if present and (present.transport, present.producer, present.kind) != fixed:
            return OrderError("immutable_field")
        transport = self.transports.get(row.transport)
        if transport is None:
            return OrderError("unknown_transport")
        if transport.direction != "recv":
            return OrderError("wrong_direction")
        if row.producer not in self.producers:
            return OrderError("unknown_producer")
        self.consumers[row.consumer] = row
        return None

    def _remove(self, order: Remove) -> None:
        if order.kind == "transport":
            for store in (self.transports, self.ice, self.srtp, self.dtls_sent):
                store.pop(order.id, None)
            for producer in [p for p, row in self.producers.items() if row.transport == order.id]:
                self._remove(Remove(kind="producer", id=producer))
            self.consumers = {
                name: row for name, row in self.consumers.items() if row.transport != order.id
            }
        elif order.kind == "producer":
            self.producers.pop(order.id, None)
            self.consumers = {
                name: row for name, row in self.consumers.items() if row.producer != order.id
            }
        else:
            self.consumers.pop(order.id, None)


class FakePlane:
    """A `MediaPlane` in memory. It begins down; `restart` brings it up.

    `submitted` lists all orders that were taken, in order. Where the real one
    waits for a slow reader of `notices`, this one lets them wait without bound.
    """

    def __init__(self, *, workers: Sequence[WorkerInfo] = FAKE_WORKERS) -> None:
        self.table = FakeTable()
        self.submitted: list[Order] = []
        self._workers = tuple(workers)
        self._send, self._receive = trio.open_memory_channel[PlaneItem](math.inf)
        self._info: PlaneInfo | None = None
        self._alive = False
        self._incarnations = itertools.count(1)
        self._incarnation = ""

    @property
    def info(self) -> PlaneInfo | None:
        """The plane that answers now, None while it is down."""
        return self._info

    @property
    def notices(self) -> trio.MemoryReceiveChannel[PlaneItem]:
        """Where notices, `PlaneUp` and `PlaneDown` come out."""
        return self._receive

    def submit(self, orders: Sequence[Order]) -> None:
        """Carry out orders at once; see `MediaPlane.submit`."""
        for order in orders:
            if self._info is None:
                continue
            self.submitted.append(order)
            if isinstance(order, Quit):
                self.crash("exit 0")
                continue
            error = self.table.apply(order)
            subject = subject_of(order)
            if error is not None and subject is not None:
                refused = OrderRefused(
                    kind=subject[0], id=subject[1], code=error.code, message=error.message
                )
                self._send.send_nowait(refused)

    async def query_stats(
        self, ids: Sequence[str], *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> tuple[Stats, ...]:
        """Return statistics without counts; see `MediaPlane.query_stats`."""
        await self._answer(timeout_s)
        return self.table.stats(ids, int(trio.current_time() * 1e9))

    async def describe(self, *, timeout_s: float = QUERY_TIMEOUT_S) -> Table:
        """Return the whole table. Raises `PlaneUnavailable`."""
        await self._answer(timeout_s)
        return self.table.describe()

    def restart(self) -> None:
        """Bring the plane up: with its table after `lose_connection`, else a fresh one."""
        assert self._info is None, "it is up"
        fresh = not self._alive
        if fresh:
            self.table = FakeTable()
            self._incarnation = f"fake-{next(self._incarnations)}"
        self._alive = True
        self._info = PlaneInfo(
            protocol=PLANE_PROTOCOL,
            version="fake",
            incarnation=self._incarnation,
            pid=1,
            workers=self._workers,
        )
        self._send.send_nowait(PlaneUp(info=self._info, table=self.table.describe(), fresh=fresh))

    def crash(self, reason: str = "signal SIGKILL") -> None:
        """End the plane: all that it carried is lost."""
        self._info, self._alive = None, False
        for transport in sorted(self.table.transports):
            self._send.send_nowait(PlaneLost(transport=transport, reason=reason))
        self.table = FakeTable()
        self._send.send_nowait(PlaneDown(reason=reason))

    def lose_connection(self) -> None:
        """Cut the connection, not the plane: `restart` brings the same one back."""
        assert self._info is not None, "it is down"
        self._info = None
        self._send.send_nowait(PlaneDown(reason="connection_lost"))

    def inject(self, *notices: Notice) -> None:
        """Let the plane say something. The table follows what is described of entries."""
        for notice in notices:
            assert not isinstance(notice, DtlsReceived), "the face keeps those to itself"
            self.table.note(notice)
            if self._info is not None:
                self._send.send_nowait(notice)

    async def _answer(self, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            await trio.lowlevel.checkpoint()
        if self._info is None:
            raise PlaneUnavailable("the plane is down")
