"""Names of things: rooms as clients call them, everything else as drawn by an actor.

Ids are plain strings on every wire. Those drawn by actors start with a letter
that tells what they name, so that a reader of the log knows at sight.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, NewType

from msgspec import Meta

RoomId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
"""A room's name, chosen by clients: 1 to 64 letters, digits, `-` and `_`."""

EntityId = Annotated[str, Meta(min_length=1, max_length=64)]
"""An id that a client sends back to us."""

PeerId = str
TransportId = str
ProducerId = str
ConsumerId = str

Address = NewType("Address", str)
"""Where an actor is reached within its room: `room`, `transport/ID`, `producer/ID`, …"""

ROOM = Address("room")


def transport_address(transport: TransportId) -> Address:
    """Address of a transport's actor."""
    return Address(f"transport/{transport}")


def producer_address(producer: ProducerId) -> Address:
    """Address of a producer's actor."""
    return Address(f"producer/{producer}")


def consumer_address(consumer: ConsumerId) -> Address:
    """Address of a consumer's actor."""
    return Address(f"consumer/{consumer}")


def kind_of(address: Address) -> str:
    """`room`, `transport`, `producer` or `consumer`."""
    return address.partition("/")[0]


_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class Draw:
    """Random choices from the entropy that comes with a message.

    The same entropy and label give the same choice, so a replay draws what the
    live system drew. Labels must differ within one decision. The source is
    asked only when a choice is made; then `entropy` must be kept with the message.
    """

    ENTROPY_BYTES = 16

    def __init__(self, source: Callable[[], bytes]) -> None:
        self._source = source
        self._entropy = b""

    @property
    def entropy(self) -> bytes:
        """What was drawn from: `ENTROPY_BYTES`, or nothing if no choice was made."""
        return self._entropy

    def bytes(self, label: str) -> bytes:
        """32 bytes that nobody can guess who does not know the entropy."""
        if not self._entropy:
            self._entropy = self._source()
            assert len(self._entropy) == self.ENTROPY_BYTES
        return sha256(self._entropy + label.encode()).digest()

    def id(self, letter: str, label: str = "") -> str:
        """An id of 80 bits: `letter`, `_` and 16 characters."""
        digest = self.bytes(f"id/{letter}/{label}")
        return f"{letter}_" + "".join(_ALPHABET[byte & 31] for byte in digest[:16])

    def ufrag(self) -> str:
        """An ICE username fragment of 80 bits (RFC 8445, 5.3 asks for at least 24)."""
        digest = self.bytes("ufrag")
        return "".join(_ALPHABET[byte & 31] for byte in digest[:16])

    def ssrc(self, label: str) -> int:
        """An SSRC, never zero (RFC 3550, 8.1)."""
        return int.from_bytes(self.bytes(f"ssrc/{label}")[:4]) or 1
