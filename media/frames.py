"""Frames on the plane's socket, as protocol/orders.py describes them: pure, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from protocol.notices import Notice
from protocol.orders import FRAME_BYTES_MAX, Order

LENGTH_BYTES = 4


class FrameError(Exception):
    """The other side of the socket does not keep to the protocol; the connection ends."""


class OrderError(Struct, frozen=True):
    """Why an order was refused."""

    code: str
    message: str = ""


class OrderResult(Struct, frozen=True):
    """A result that is not nil: an error, or data whose type depends on the order."""

    error: OrderError | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class PlaneFrame(Struct, frozen=True):
    """A frame from the plane: answers to the frame `seq`, or notices."""

    seq: int | None = None
    results: tuple[OrderResult | None, ...] = ()
    notices: tuple[Notice, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_frames = msgspec.msgpack.Decoder(PlaneFrame)


def encode_order(order: Order) -> bytes:
    """Encode one order, for `encode_orders`."""
    return _encoder.encode(order)


def encode_orders(seq: int, orders: Sequence[bytes]) -> bytes:
    """Make one frame of encoded orders, its length before it."""
    body = _encoder.encode({"seq": seq, "orders": [msgspec.Raw(order) for order in orders]})
    assert len(body) <= FRAME_BYTES_MAX
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_frame(body: bytes) -> PlaneFrame:
    """Decode and check the body of a frame from the plane. Raises `FrameError`."""
    try:
        return _frames.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


class FrameSplitter:
    """Cuts a stream of bytes into frame bodies; holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def handle_bytes(self, received: bytes) -> Iterable[bytes]:
        """Take what arrived and return the bodies that are whole. Raises `FrameError`."""
        self._buffer += received
        bodies = []
        at = 0
        while len(self._buffer) - at >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[at : at + LENGTH_BYTES], "big")
            if length > FRAME_BYTES_MAX:
                raise FrameError(f"a frame of {length} bytes")
            end = at + LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[at + LENGTH_BYTES : end]))
            at = end
        del self._buffer[:at]
        return bodies
