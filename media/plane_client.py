"""The face of a media plane: one connection to it after another, orders in, notices out.

    submit ─▶ queue ─ writer ─▶ socket            socket ─ reader ─▶ DTLS driver ─▶ notices

Queues, and what their overflow means:

- Orders that wait for the writer (`ORDERS_MAX`): a plane that lets them pile
  up is not one to lose orders to silently, so the connection is closed with
  `order_queue_overflow`; the next one begins with the table as it is.
- Frames without an answer: the writer waits.
- Notices (`NOTICES_MAX`): the reader waits, and the socket with it.
- Questions without an answer (`QUESTIONS_MAX`): refused with `PlaneUnavailable`.

A plane that answers nothing for a while ends its connection too: `media.heartbeat`.

Who starts planes and connects to them is `media.plane_process`; it calls
`serve` for each connection and `report_down` after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import trio

from media import heartbeat
from media.dtls import DtlsContext
from media.dtls_driver import DtlsDriver
from media.frames import FrameError, PlaneFrame
from media.interface import (
    NOTICES_MAX,
    QUERY_TIMEOUT_S,
    PlaneDown,
    PlaneItem,
    PlaneUnavailable,
    PlaneUp,
)
from media.plane_connection import (
    ConnectionEnded,
    PlaneConnection,
    Question,
    decode_answer,
    subject_of,
)
from protocol.notices import DtlsReceived, IceStateChanged, OrderRefused, PlaneLost
from protocol.orders import (
    PLANE_PROTOCOL,
    Describe,
    Hello,
    Order,
    PlaneInfo,
    QueryStats,
    Remove,
    SetTransport,
    Stats,
    Table,
)

ORDERS_MAX = 262_144
"""More than the rows of a full table, which are all submitted at once when a plane comes up."""
QUESTIONS_MAX = 256
QUERY_IDS_MAX = 500
"""Ids in one `QueryStats`; more are asked for in several, so that answers stay small."""
HELLO_TIMEOUT_S = 5.0
HELLO_TIMEOUT = "hello_timeout"
"""The reason of a connection whose plane does not greet."""

IcePassword = Callable[[str], str]
"""Gives the password that belongs to a local ufrag. It is never in the log."""


class Plane:
    """The control process's side of a media plane; see `media.interface.MediaPlane`.

    `context` holds the DTLS certificate, `ice_password` fills what rows leave
    empty, `version` is told to the plane, and `grace_ms` is how long it goes
    on without us.
    """

    def __init__(
        self,
        context: DtlsContext,
        *,
        ice_password: IcePassword,
        version: str,
        grace_ms: int,
        notices_max: int = NOTICES_MAX,
    ) -> None:
        self._ice_password = ice_password
        self._hello = Hello(protocol=PLANE_PROTOCOL, version=version, grace_ms=grace_ms)
        self._driver = DtlsDriver(context, clock=lambda: int(trio.current_time() * 1e9))
        self._send, self._receive = trio.open_memory_channel[PlaneItem](notices_max)
        self._connection: PlaneConnection | None = None
        self._info: PlaneInfo | None = None
        self._incarnation: str | None = None
        self._carried: set[str] = set()
        self._questions = 0

    @property
    def info(self) -> PlaneInfo | None:
        """The plane that answers now, None while it is down."""
        return self._info

    @property
    def notices(self) -> trio.MemoryReceiveChannel[PlaneItem]:
        """Where notices, `PlaneUp` and `PlaneDown` come out; see `MediaPlane.notices`."""
        return self._receive

    def submit(self, orders: Sequence[Order]) -> None:
        """Send orders after all those submitted before; see `MediaPlane.submit`."""
        connection = self._connection
        wanted: list[Order] = []
        for order in orders:
            match order:
                case Remove(kind="transport", id=transport):
                    self._carried.discard(transport)
                    self._driver.remove_transport(transport)
                    wanted += self._driver.poll_orders()
                    wanted.append(order)
                case SetTransport() if connection is not None:
                    wanted.append(order)
                    self._carried.add(order.transport)
                    self._driver.set_transport(order)
                    wanted += self._driver.poll_orders()
                case _:
                    wanted.append(order)
        if connection is None:
            return
        connection.enqueue(wanted)
        connection.timer_wakes.set()
        if len(connection.queue) > ORDERS_MAX:
            self.disconnect("order_queue_overflow")

    def disconnect(self, reason: str = "disconnected") -> None:
        """End the connection, if there is one; nothing more is taken for it from here on."""
        connection = self._connection
        if connection is not None:
            self._connection, self._info = None, None
            connection.end(reason)

    async def query_stats(
        self, ids: Sequence[str], *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> tuple[Stats, ...]:
        """Return the statistics of the named entries; see `MediaPlane.query_stats`."""
        stats: list[Stats] = []
        with trio.move_on_after(timeout_s):
            for at in range(0, len(ids), QUERY_IDS_MAX):
                data = await self._ask(QueryStats(ids=tuple(ids[at : at + QUERY_IDS_MAX])))
                stats += decode_answer(data, list[Stats])
            return tuple(stats)
        raise PlaneUnavailable("the plane did not answer in time")

    async def describe(self, *, timeout_s: float = QUERY_TIMEOUT_S) -> Table:
        """Return the whole table of the plane. Raises `PlaneUnavailable`."""
        with trio.move_on_after(timeout_s):
            return decode_answer(await self._ask(Describe()), Table)
        raise PlaneUnavailable("the plane did not answer in time")

    async def serve(
        self,
        stream: trio.abc.Stream,
        *,
        fresh: bool,
        on_up: Callable[[PlaneInfo], None] = lambda _info: None,
    ) -> str:
        """Say hello on a connection and run it until it ends; return the reason.

        `fresh` says whether the process behind it was started just now, and
        `on_up` is called when orders are taken. Closes the stream. Call
        `report_down` afterwards. Raises `PlaneRefused` when the plane answers
        `Hello` with an error; nothing has happened then.
        """
        assert self._connection is None, "one connection at a time"
        connection = PlaneConnection(stream, prepare=self._with_passwords, refuse=self._refuse)
        try:
            async with stream:
                try:
                    early = await self._greet(connection, fresh=fresh)
                    if self._info is not None:
                        on_up(self._info)
                    return await self._run(connection, early)
                except ConnectionEnded as ended:
                    return ended.reason
                except FrameError as error:
                    return f"protocol_error: {error}"
        finally:
            self._connection, self._info = None, None
            connection.leave_questions()

    async def report_down(self, reason: str, *, lost: bool) -> None:
        """Say that the plane is down; with `lost`, that what its process carried is gone too."""
        if lost:
            await self._report_lost(reason)
        await self._send.send(PlaneDown(reason=reason))

    async def _report_lost(self, reason: str) -> None:
        self._driver.forget_all()
        self._incarnation = None
        carried, self._carried = sorted(self._carried), set()
        for transport in carried:
            await self._send.send(PlaneLost(transport=transport, reason=reason))

    async def _greet(self, connection: PlaneConnection, *, fresh: bool) -> list[PlaneFrame]:
        """Take the plane over and say so; returns frames that came meanwhile."""
        try:
            with trio.fail_after(HELLO_TIMEOUT_S):
                info, table, early = await connection.greet(self._hello)
        except trio.TooSlowError as error:
            raise ConnectionEnded(HELLO_TIMEOUT) from error
        if self._incarnation is not None and self._incarnation != info.incarnation:
            await self._report_lost("another plane took its place")
        self._incarnation = info.incarnation
        self._carried = {entry.transport for entry in table.transports}
        self._driver.take_over(table.transports)
        self._connection, self._info = connection, info
        await self._send.send(PlaneUp(info=info, table=table, fresh=fresh))
        await self._drain_driver(connection)
        return early

    async def _run(self, connection: PlaneConnection, early: list[PlaneFrame]) -> str:
        reason: str | None = None
        with connection.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.write)
                nursery.start_soon(self._run_timers, connection)
                nursery.start_soon(heartbeat.watch, connection)
                try:
                    await self._read(connection, early)
                except ConnectionEnded as ended:
                    reason = ended.reason
                except FrameError as error:
                    reason = f"protocol_error: {error}"
                nursery.cancel_scope.cancel()
        reason = connection.end_reason or reason
        assert reason is not None
        return reason

    async def _read(self, connection: PlaneConnection, frames: list[PlaneFrame]) -> None:
        while True:
            for frame in frames:
                if frame.seq is not None:
                    await connection.handle_answers(frame.seq, frame.results)
                for notice in frame.notices:
                    if isinstance(notice, DtlsReceived):
                        self._driver.handle_datagrams(notice.transport, notice.datagrams)
                        # A handshake costs a millisecond: let others run.
                        await trio.lowlevel.checkpoint()
                    else:
                        await self._send.send(notice)
                        if isinstance(notice, IceStateChanged):
                            self._driver.handle_ice_state(notice.transport, notice.state)
                    connection.timer_wakes.set()
                    await self._drain_driver(connection)
            frames = await connection.receive_frames()

    async def _refuse(self, order: Order, code: str, message: str) -> None:
        subject = subject_of(order)
        if subject is not None:
            kind, entry = subject
            await self._send.send(OrderRefused(kind=kind, id=entry, code=code, message=message))

    async def _drain_driver(self, connection: PlaneConnection) -> None:
        """Queue what the DTLS driver orders, then tell what it has to say."""
        connection.enqueue(self._driver.poll_orders())
        for notice in self._driver.poll_notices():
            await self._send.send(notice)

    async def _run_timers(self, connection: PlaneConnection) -> None:
        """Keep the deadlines of handshakes, and tell what `submit` set off."""
        while True:
            deadline_ns = self._driver.deadline_ns()
            with trio.move_on_at(math.inf if deadline_ns is None else deadline_ns / 1e9):
                await connection.timer_wakes.wait()
            connection.timer_wakes = trio.Event()
            self._driver.handle_timeouts()
            await self._drain_driver(connection)

    def _with_passwords(self, order: Order) -> Order:
        if not isinstance(order, SetTransport):
            return order
        filled = tuple(
            ice if ice.pwd else msgspec.structs.replace(ice, pwd=self._ice_password(ice.ufrag))
            for ice in order.ice
        )
        return msgspec.structs.replace(order, ice=filled)

    async def _ask(self, order: Order) -> msgspec.Raw:
        connection = self._connection
        if connection is None:
            raise PlaneUnavailable("the plane is down")
        if self._questions >= QUESTIONS_MAX:
            raise PlaneUnavailable("too many questions wait for the plane")
        question = Question(order)
        connection.enqueue([question])
        self._questions += 1
        try:
            await question.answered.wait()
        finally:
            self._questions -= 1
        if question.data is None:
            raise PlaneUnavailable(question.problem)
        return question.data
