"""Which decider runs at which address."""

from __future__ import annotations

from actors.core.consumer import CONSUMER
from actors.core.decider import Decider
from actors.core.producer import PRODUCER
from actors.core.room import ROOM_DECIDER
from actors.core.transport import TRANSPORT
from protocol.ids import Address

_DECIDERS = {
    "room": ROOM_DECIDER,
    "transport": TRANSPORT,
    "producer": PRODUCER,
    "consumer": CONSUMER,
}


def decider_at(address: Address) -> Decider:
    """The decider of the actor at `address`."""
    return _DECIDERS[address.partition("/")[0]]
