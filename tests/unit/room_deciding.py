"""A room with a host and a viewer, for the tests of its decider."""

from __future__ import annotations

from typing import Any

from actors.core.decider import Tell
from actors.core.room import ROOM_DECIDER
from protocol import events
from protocol.commands import Rights
from protocol.messages import Close
from protocol.negotiation import negotiate_producer
from protocol.refusals import Refusal
from tests.control.given import Given, given
from tests.control.samples import (
    EPOCH_NS,
    ROUTER,
    WORKERS,
    S,
    room_settings,
    rtp_parameters,
)

SETTINGS = room_settings(
    peers_max=3,
    transports_per_peer_max=2,
    producers_per_peer_max=2,
    consumers_per_peer_max=2,
)
OPENED = events.RoomOpened(settings=SETTINGS, workers=WORKERS, closes_at_ns=EPOCH_NS + 5 * S)
NEGOTIATED = negotiate_producer("video", rtp_parameters(), ROUTER)
assert not isinstance(NEGOTIATED, Refusal)


def peer(name: str, **rights: bool) -> events.PeerJoined:
    return events.PeerJoined(peer=name, name=name.upper(), rights=Rights(**rights))


def transport(name: str, owner: str, direction: Any, worker: int = 0) -> events.TransportAdded:
    return events.TransportAdded(transport=name, peer=owner, direction=direction, worker=worker)


def producer(name: str, owner: str, carrier: str, number: int = 0) -> events.ProducerAdded:
    assert not isinstance(NEGOTIATED, Refusal)
    parameters = rtp_parameters(number=number)
    return events.ProducerAdded(
        producer=name,
        peer=owner,
        transport=carrier,
        kind="video",
        paused=False,
        app_data={"source": "camera"},
        rtp_parameters=parameters,
        consumable=NEGOTIATED.consumable_rtp_parameters,
        type="simple",
    )


def consumer(
    name: str, owner: str, carrier: str, source: str, ssrcs: tuple[int, ...] = (1, 2)
) -> events.ConsumerAdded:
    return events.ConsumerAdded(
        consumer=name, peer=owner, transport=carrier, producer=source, ssrcs=ssrcs
    )


LIVE = (
    OPENED,
    peer("host"),
    peer("viewer"),
    transport("send", "host", "send"),
    transport("recv", "viewer", "recv"),
    producer("track", "host", "send"),
    events.StreamingStarted(producer="track", peer="host"),
    consumer("see", "viewer", "recv", "track"),
)


def live(*more: Any) -> Given:
    return given(ROOM_DECIDER, *LIVE, *more)


def closings(*pairs: tuple[Any, str]) -> list[Tell]:
    return [Tell(address, Close(reason=reason)) for address, reason in pairs]
