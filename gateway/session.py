"""The signaling protocol on one socket: frames in, commands to the control plane, frames out.

A socket is *fresh* until its one `join` or `resume` is under way, *entering* until that is
answered (a refusal makes it fresh again), and *joined* from then on. What is asked while it is
entering waits for that and is then taken in order, so a client need not wait for its answer.
Requests are answered when their answers come, in whatever order. Whatever a client does wrong is
answered with a refusal, and counted: who goes on and on is closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import structlog
import trio
from structlog.contextvars import bound_contextvars

from gateway.admission import Admission
from gateway.attachment import Attachment
from gateway.control import Answered, Control
from gateway.entrance import Doorbook, Entrance
from gateway.keys import ServerKeys
from gateway.outbox import Outbox
from gateway.pace import Pace
from gateway.rate import TokenBucket
from gateway.settings import Limits
from protocol.answers import Answer, Entered, IceRestarted, TransportCreated
from protocol.commands import Command, Join, Leave, Resume
from protocol.messages import SocketEnd, SocketLost
from protocol.refusals import Refusal, RefusalCode
from protocol.signaling import (
    METHODS,
    BadFrame,
    CloseCode,
    Request,
    Subprotocol,
    command_of,
    decode_request,
    encode_answer,
    encode_refusal,
)

MISTAKES_BURST_MAX = 100
"""Malformed frames and requests over the rate that a socket may have at once."""
MISTAKES_PER_SECOND_MAX = 2.0

REQUEST_TIMEOUT_S = 30.0
"""After which a request is answered with a refusal, although it may still come into effect."""

_GONE = {
    RefusalCode.SESSION_NOT_FOUND: (CloseCode.EVICTED, "the peer is no longer in the room"),
    RefusalCode.ROOM_NOT_FOUND: (CloseCode.NORMAL, "the room is gone"),
}
"""Refusals of a joined socket's request that mean that its place in the room is no more."""

_log = structlog.get_logger()


class House(NamedTuple):
    """What all sessions share."""

    control: Control
    entrance: Entrance
    doorbook: Doorbook
    admission: Admission
    keys: ServerKeys
    limits: Limits
    pace: Pace


_ENDS: dict[CloseCode | None, SocketEnd] = {
    CloseCode.TOO_SLOW: "too_slow",
    CloseCode.TOO_MANY_ERRORS: "too_many_errors",
    CloseCode.TOO_LARGE: "too_large",
    CloseCode.IDLE: "idle",
    CloseCode.GOING_AWAY: "going_away",
    CloseCode.INTERNAL_ERROR: "internal_error",
}
"""Why a socket was closed by us, as the log says it."""


class Session:
    """One socket's protocol. `handle_frame` takes what arrives; the outbox has what leaves.

    `close` is called, any number of times, when the socket must close; the first call counts.
    The owner calls `lose` once when the socket is gone, whatever the reason.
    """

    def __init__(
        self,
        *,
        name: str,
        house: House,
        subprotocol: Subprotocol,
        outbox: Outbox,
        nursery: trio.Nursery,
        close: Callable[[CloseCode, str], None],
    ) -> None:
        now_s = trio.current_time()
        limits = house.limits
        self.name = name
        self.joined = trio.Event()
        self._house = house
        self._subprotocol = subprotocol
        self._outbox = outbox
        self._nursery = nursery
        self._close = close
        self._pending: set[int] = set()
        self._entering = False
        self._behind: deque[Request] = deque()
        self._attachment: Attachment | None = None
        self._rate = TokenBucket(limits.requests_per_second_max, limits.requests_burst_max, now_s)
        self._mistakes = TokenBucket(MISTAKES_PER_SECOND_MAX, MISTAKES_BURST_MAX, now_s)

    def handle_frame(self, frame: bytes | str) -> None:
        """Take one frame: refuse it at once, or start a task that answers it. Never waits."""
        now_s = trio.current_time()
        if isinstance(frame, str) and len(frame.encode()) > self._house.limits.message_bytes_max:
            self._close(CloseCode.TOO_LARGE, "a message over the limit")
            return
        request = decode_request(self._subprotocol, frame)
        if isinstance(request, BadFrame):
            self._refuse(request.id, request.refusal)
            self._count_mistake(now_s)
        elif not self._rate.take(now_s):
            self._refuse(request.id, _refusal(RefusalCode.RATE_LIMITED, "too many requests"))
            self._count_mistake(now_s)
        else:
            refusal = self._start(request)
            if refusal is not None:
                self._refuse(request.id, refusal)

    def lose(self, code: CloseCode | None = None) -> None:
        """The socket is gone, closed by us with a `code` or not: let the room know."""
        place = self._attachment
        if place is None:
            return
        self._attachment = None
        self._house.doorbook.leave(place.room, place.peer, place.number)
        place.unsubscribe()
        if not place.left:
            lost = SocketLost(peer=place.peer, attachment=place.number, reason=_ENDS.get(code, ""))
            self._house.control.post(place.room, lost)

    def check_place(self) -> None:
        """Close the socket if its room is no more without having said so. Call it now and then."""
        place = self._attachment
        if place is not None and self._house.control.feed(place.room) is not place.feed:
            place.left = True
            self._close(CloseCode.INTERNAL_ERROR, "the room is gone")

    def _start(self, request: Request) -> Refusal | None:
        """Begin to meet a request, or say why not."""
        if request.id in self._pending:
            return _refusal(
                RefusalCode.DUPLICATE_REQUEST_ID, f"request {request.id} waits for its answer"
            )
        if len(self._pending) >= self._house.limits.requests_pending_max:
            return _refusal(
                RefusalCode.TOO_MANY_REQUESTS_PENDING, "wait for answers before you ask for more"
            )
        if request.method not in METHODS:
            return _refusal(
                RefusalCode.UNKNOWN_METHOD, f"there is no method {request.method[:64]!r}"
            )
        if request.method in {"join", "resume"}:
            return self._start_entering(request)
        if self._entering:
            self._pending.add(request.id)
            self._behind.append(request)
            return None
        return self._start_command(request)

    def _start_command(self, request: Request) -> Refusal | None:
        """Begin to meet a request of who has joined, or say why not."""
        place = self._attachment
        if place is None:
            return _refusal(RefusalCode.NOT_JOINED, f"{request.method}: join a room first")
        command = command_of(request, peer=place.peer)
        if isinstance(command, Refusal):
            return command
        # The task takes its first step, which posts the command, before the next frame is read:
        # reading waits at least once, and trio runs what is ready before what is started later.
        self._pending.add(request.id)
        self._nursery.start_soon(self._perform, request.id, place, command)
        return None

    def _start_entering(self, request: Request) -> Refusal | None:
        if self._entering or self._attachment is not None:
            return _refusal(RefusalCode.ALREADY_JOINED, "this socket has joined a room")
        found = self._join(request) if request.method == "join" else self._resume(request)
        if isinstance(found, Refusal):
            return found
        room, command = found
        self._entering = True
        self._pending.add(request.id)
        self._nursery.start_soon(self._enter, request.id, room, command)
        return None

    def _join(self, request: Request) -> tuple[str, Command] | Refusal:
        command = command_of(request, peer=None)
        if isinstance(command, Refusal):
            return command
        assert isinstance(command, Join)
        admitted = self._house.admission.admit(command.room, request.data or {})
        if isinstance(admitted, Refusal):
            return admitted
        return command.room, msgspec.structs.replace(command, **admitted)

    def _resume(self, request: Request) -> tuple[str, Command] | Refusal:
        session = self._house.keys.session_of((request.data or {}).get("session"))
        if session is None:
            return _refusal(RefusalCode.SESSION_NOT_FOUND, "there is no such session")
        command = command_of(request, peer=session.peer)
        if isinstance(command, Refusal):
            return command
        return session.room, command

    async def _enter(self, request_id: int, room: str, command: Command) -> None:
        correlation = f"{self.name}/{request_id}"
        with bound_contextvars(room=room, correlation=correlation):
            outcome = await self._house.entrance.enter(room, command, correlation=correlation)
            self._pending.discard(request_id)
            if isinstance(outcome, Refusal):
                self._refuse(request_id, outcome)
                await self._take_behind()
                return
            entered = outcome.answer
            assert isinstance(entered, Entered)
            place = self._attach(room, entered)
            if place is None:
                return
            up_to = place.subscribe()
            joined = msgspec.structs.replace(
                entered.joined,
                session=self._house.keys.session_id(room, place.peer),
                position=entered.joined.position or outcome.position,
            )
            self._answer(request_id, Entered(joined=joined, attachment=entered.attachment))
            self.joined.set()
            await self._take_behind()
            after = outcome.position
            if isinstance(command, Resume):
                after = min(command.position, after)
            try:
                await place.catch_up(after, up_to)
            except Exception:  # noqa: BLE001 - of this socket alone, whatever it is
                _log.exception("missed_events_unreadable", peer=place.peer)
                self._close(CloseCode.INTERNAL_ERROR, "missed events cannot be read")

    async def _take_behind(self) -> None:
        """Take what was asked behind the request to enter, in order, now that this is answered.

        What comes meanwhile goes behind it. After a refusal nobody has joined, so all is refused
        at once.
        """
        while self._behind:
            request = self._behind.popleft()
            self._pending.discard(request.id)
            refusal = self._start_command(request)
            if refusal is not None:
                self._refuse(request.id, refusal)
            else:
                # The task that it started takes its first step before the next one is started.
                await trio.lowlevel.checkpoint()
        self._entering = False

    def _attach(self, room: str, entered: Entered) -> Attachment | None:
        """Take the place in the room, unless it is gone or a later socket of the peer has it."""
        peer = entered.joined.peer
        feed = self._house.control.feed(room)
        if feed is None:
            self._close(CloseCode.NORMAL, "the room closed")
            return None
        if not self._house.doorbook.enter(room, peer, entered.attachment, self._taken_over):
            self._close(CloseCode.TAKEN_OVER, "the session was resumed on another socket")
            return None
        self._attachment = Attachment(
            room=room,
            peer=peer,
            number=entered.attachment,
            feed=feed,
            subprotocol=self._subprotocol,
            outbox=self._outbox,
            close=self._close,
        )
        return self._attachment

    def _taken_over(self) -> None:
        place = self._attachment
        if place is not None:
            place.left = True
            place.unsubscribe()
        self._close(CloseCode.TAKEN_OVER, "the session was resumed on another socket")

    async def _perform(self, request_id: int, place: Attachment, command: Command) -> None:
        correlation = f"{place.peer}/{request_id}"
        with bound_contextvars(room=place.room, correlation=correlation):
            outcome: Answered | Refusal
            outcome = _refusal(RefusalCode.OVERLOADED, "the server found no answer in time")
            try:
                with trio.move_on_after(REQUEST_TIMEOUT_S):
                    outcome = await self._house.control.request(
                        place.room, command, correlation=correlation
                    )
            except Exception:  # noqa: BLE001 - a fault of ours must not close the socket
                _log.exception("request_failed", method=type(command).__name__)
                outcome = _refusal(RefusalCode.INTERNAL_ERROR, "the server made a mistake")
            self._pending.discard(request_id)
            if isinstance(outcome, Refusal):
                self._refuse(request_id, outcome)
                if outcome.code in _GONE:
                    place.left = True
                    self._close(*_GONE[outcome.code])
                return
            self._answer(request_id, self._with_password(outcome.answer))
            if isinstance(command, Leave):
                place.left = True
                place.unsubscribe()
                self._close(CloseCode.NORMAL, "the peer left")

    def _with_password(self, answer: Answer) -> Answer:
        """Fill in the ICE password, which the control plane does not know."""
        if not isinstance(answer, TransportCreated | IceRestarted):
            return answer
        ice = answer.ice_parameters
        password = self._house.keys.ice_password(ice.username_fragment)
        return msgspec.structs.replace(
            answer, ice_parameters=msgspec.structs.replace(ice, password=password)
        )

    def _answer(self, request_id: int, answer: Answer) -> None:
        self._put(encode_answer(self._subprotocol, request_id, answer))

    def _refuse(self, request_id: int | None, refusal: Refusal) -> None:
        self._put(encode_refusal(self._subprotocol, request_id, refusal))

    def _put(self, frame: Any) -> None:
        if not self._outbox.put(frame):
            self._close(CloseCode.TOO_SLOW, "answers are not read fast enough")

    def _count_mistake(self, now_s: float) -> None:
        if not self._mistakes.take(now_s):
            self._close(CloseCode.TOO_MANY_ERRORS, "too many malformed frames or requests")


def _refusal(code: RefusalCode, message: str) -> Refusal:
    return Refusal(code, message)
