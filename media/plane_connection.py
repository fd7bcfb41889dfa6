"""One connection to a media plane: what waits to be sent, and what waits for its answer.

Orders that wait are bounded by who queues them (`media.plane_client`); frames
without an answer by `FRAMES_IN_FLIGHT_MAX`: the writer waits for the plane.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, NoReturn, TypeVar

import msgspec
import trio

from media.frames import (
    FrameError,
    FrameSplitter,
    OrderResult,
    PlaneFrame,
    decode_frame,
    encode_order,
    encode_orders,
)
from media.interface import PlaneUnavailable
from protocol.orders import (
    FRAME_BYTES_MAX,
    Describe,
    Hello,
    Order,
    PlaneInfo,
    Remove,
    RequestKeyFrame,
    SendDtls,
    SetConsumer,
    SetProducer,
    SetSrtpKeys,
    SetTransport,
    Table,
)

FRAMES_IN_FLIGHT_MAX = 64
FRAME_ORDERS_MAX = 1024
FRAME_BYTES_WANTED = 256 * 1024
"""A frame is closed once it holds this much; a single order may be larger."""
RECEIVE_BYTES = 256 * 1024

EntryKind = Literal["transport", "producer", "consumer"]
Answer = TypeVar("Answer")


class PlaneRefused(Exception):
    """The plane answered `Hello` with an error, such as `protocol_mismatch`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class ConnectionEnded(Exception):
    """The connection can't go on; `reason` is that of `PlaneDown`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Question:
    """An order whose answer somebody waits for: `data`, or `problem` where it is None."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.answered = trio.Event()
        self.data: msgspec.Raw | None = None
        self.problem = "the connection ended"

    def answer(self, result: OrderResult | None) -> None:
        """Note the plane's result and wake who waits."""
        if result is None:
            self.problem = "the plane answered with nothing"
        elif result.error is not None:
            self.problem = f"{result.error.code}: {result.error.message}"
        else:
            self.data = result.data
        self.answered.set()


Sent = Order | Question
Refuse = Callable[[Order, str, str], Awaitable[None]]
"""Told of an order that could not be carried out: order, code, message."""


class PlaneConnection:
    """Queue, answers and stream of one connection; `prepare` completes an order as it is sent."""

    def __init__(
        self, stream: trio.abc.Stream, *, prepare: Callable[[Order], Order], refuse: Refuse
    ) -> None:
        self.queue: deque[Sent] = deque()
        self.timer_wakes = trio.Event()
        self.scope = trio.CancelScope()
        self.end_reason: str | None = None
        self.waiting_since_s: float | None = None
        """Since when the plane is listened to without a word of it, on trio's clock."""
        self._stream = stream
        self._prepare = prepare
        self._refuse = refuse
        self._splitter = FrameSplitter()
        self._in_flight: dict[int, tuple[Sent, ...]] = {}
        self._writer_wakes = trio.Event()
        self._seqs = itertools.count(1)

    def enqueue(self, orders: Iterable[Sent]) -> None:
        """Queue orders behind all others."""
        self.queue.extend(orders)
        self._writer_wakes.set()

    def end(self, reason: str) -> None:
        """End the connection from anywhere, without waiting; the first reason stays."""
        if self.end_reason is None:
            self.end_reason = reason
        self.scope.cancel()

    def leave_questions(self) -> None:
        """Wake all who wait for an answer that will not come."""
        for sent in itertools.chain(self.queue, *self._in_flight.values()):
            if isinstance(sent, Question):
                sent.answered.set()

    async def greet(self, hello: Hello) -> tuple[PlaneInfo, Table, list[PlaneFrame]]:
        """Take the plane over: returns who it is, its table, and frames that came meanwhile.

        Raises `PlaneRefused`, `ConnectionEnded`, `FrameError`.
        """
        await self._send_all(encode_orders(0, [encode_order(hello), encode_order(Describe())]))
        others: list[PlaneFrame] = []
        while True:
            frames = await self.receive_frames()
            for at, frame in enumerate(frames):
                if frame.seq == 0:
                    info, table = _decode_greeting(frame)
                    return info, table, others + frames[at + 1 :]
                others.append(frame)

    async def receive_frames(self) -> list[PlaneFrame]:
        """Wait for bytes and return the frames that they complete.

        Raises `ConnectionEnded`, `FrameError`.
        """
        self.waiting_since_s = trio.current_time()
        try:
            received = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionEnded("connection_lost") from error
        self.waiting_since_s = None
        if not received:
            raise ConnectionEnded("connection_lost")
        return [decode_frame(body) for body in self._splitter.handle_bytes(bytes(received))]

    async def handle_answers(self, seq: int, results: tuple[OrderResult | None, ...]) -> None:
        """Match the answers to one frame with its orders. Raises `FrameError`."""
        sent = self._in_flight.pop(seq, None)
        if sent is None or len(sent) != len(results):
            raise FrameError(f"an answer that fits no question: {seq}")
        self._writer_wakes.set()
        for order, result in zip(sent, results, strict=True):
            if isinstance(order, Question):
                order.answer(result)
            elif result is not None and result.error is not None:
                await self._refuse(order, result.error.code, result.error.message)

    async def write(self) -> NoReturn:
        """Write what is queued, many orders a frame, until cancelled."""
        while True:
            await self._writer_wakes.wait()
            self._writer_wakes = trio.Event()
            while self.queue and len(self._in_flight) < FRAMES_IN_FLIGHT_MAX:
                await self._write_frame()

    async def _write_frame(self) -> None:
        encoded: list[bytes] = []
        sent: list[Sent] = []
        size = 0
        while self.queue and len(sent) < FRAME_ORDERS_MAX and size < FRAME_BYTES_WANTED:
            one = self.queue.popleft()
            order = one.order if isinstance(one, Question) else self._prepare(one)
            data = encode_order(order)
            if size + len(data) > FRAME_BYTES_MAX - 64:
                if sent:
                    self.queue.appendleft(one)
                    break
                await self._refuse(order, "too_large", f"an order of {len(data)} bytes")
                continue
            encoded.append(data)
            sent.append(one)
            size += len(data)
        if sent:
            seq = next(self._seqs)
            self._in_flight[seq] = tuple(sent)
            try:
                await self._send_all(encode_orders(seq, encoded))
            except ConnectionEnded as ended:
                self.end(ended.reason)
                await trio.lowlevel.checkpoint()

    async def _send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionEnded("connection_lost") from error


def decode_answer(data: msgspec.Raw, kind: type[Answer]) -> Answer:
    """Decode the data of an answer. Raises `PlaneUnavailable` when it has another shape."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.MsgspecError as wrong:
        raise PlaneUnavailable(f"an answer of another shape: {wrong}") from wrong


def subject_of(order: Order) -> tuple[EntryKind, str] | None:
    """Name the entry that an order is about, None where it is about the whole plane."""
    match order:
        case SetTransport(transport=entry) | SetSrtpKeys(transport=entry):
            return "transport", entry
        case SendDtls(transport=entry):
            return "transport", entry
        case SetProducer(producer=entry):
            return "producer", entry
        case SetConsumer(consumer=entry) | RequestKeyFrame(consumer=entry):
            return "consumer", entry
        case Remove(kind=kind, id=entry):
            return kind, entry
        case _:
            return None


def _decode_greeting(frame: PlaneFrame) -> tuple[PlaneInfo, Table]:
    results = [result for result in frame.results if result is not None]
    if not results or len(results) != len(frame.results):
        raise FrameError("no answer to Hello")
    error = results[0].error
    if error is not None:
        raise PlaneRefused(error.code, error.message)
    if len(results) != 2 or results[1].error is not None:
        raise FrameError("no table after Hello")
    try:
        return (
            msgspec.msgpack.decode(results[0].data, type=PlaneInfo),
            msgspec.msgpack.decode(results[1].data, type=Table),
        )
    except msgspec.MsgspecError as wrong:
        raise FrameError(str(wrong)) from wrong
