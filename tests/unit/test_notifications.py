"""Which events clients are told of, in which words, and who is told."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from protocol import events
from protocol.answers import PeerView, ProducerView
from protocol.commands import Rights
from protocol.notifications import NOTIFYING_TYPES, Everyone, Only, Several, notification_of
from tests.control.samples import rtp_parameters

PRODUCER_ADDED = events.ProducerAdded(
    producer="s",
    peer="p",
    transport="t",
    kind="audio",
    paused=True,
    app_data={"a": 1},
    rtp_parameters=rtp_parameters("audio"),
    consumable=rtp_parameters("audio"),
    type="simple",
)
PRODUCER_VIEW = ProducerView(id="s", peer="p", kind="audio", paused=True, app_data={"a": 1})

CASES: list[tuple[Any, str, dict[str, Any], Any]] = [
    (
        events.PeerJoined(peer="p", name="Ann", rights=Rights()),
        "peerJoined",
        {"peer": PeerView(id="p", name="Ann")},
        Everyone(but="p"),
    ),
    (
        events.PeerLeft(peer="p", reason="requested"),
        "peerLeft",
        {"peer": "p", "reason": "requested"},
        Everyone(but="p"),
    ),
    (
        events.PeerLeft(peer="p", reason="evicted"),
        "peerLeft",
        {"peer": "p", "reason": "evicted"},
        Everyone(),
    ),
    (
        events.PeerLeft(peer="p", reason="evicted", announced=False),
        "peerLeft",
        {"peer": "p", "reason": "evicted"},
        Only("p"),
    ),
    (
        events.PeerAnnounced(peer="p", name="Ann"),
        "peerJoined",
        {"peer": PeerView(id="p", name="Ann")},
        Everyone(but="p"),
    ),
    (
        events.PeersCounted(peers=700, at_ns=1, publishers=("p", "q")),
        "peerCount",
        {"peers": 700},
        Several(("p", "q")),
    ),
    (
        events.PeersCounted(peers=700, at_ns=1, publishers=None),
        "peerCount",
        {"peers": 700},
        Everyone(),
    ),
    (PRODUCER_ADDED, "producerAdded", {"producer": PRODUCER_VIEW}, Everyone(but="p")),
    (
        events.ProducerPauseNoted(producer="s", peer="p", paused=True),
        "producerPaused",
        {"producer": "s"},
        Everyone(but="p"),
    ),
    (
        events.ProducerPauseNoted(producer="s", peer="p", paused=False),
        "producerResumed",
        {"producer": "s"},
        Everyone(but="p"),
    ),
    (
        events.ProducerRemoved(producer="s", peer="p", reason="requested"),
        "producerClosed",
        {"producer": "s", "reason": "requested"},
        Everyone(but="p"),
    ),
    (
        events.ProducerRemoved(producer="s", peer="p", reason="peer_left"),
        "producerClosed",
        {"producer": "s", "reason": "peer_left"},
        Everyone(but="p"),
    ),
    (
        events.ProducerRemoved(producer="s", peer="p", reason="transport_closed"),
        "producerClosed",
        {"producer": "s", "reason": "transport_closed"},
        Everyone(),
    ),
    (
        events.ProducerScored(producer="s", peer="p", scores=(9, 10)),
        "score",
        {"producer": "s", "score": [9, 10]},
        Only("p"),
    ),
    (
        events.ProducerDemandNoted(producer="s", peer="p", spatial_layer=1),
        "producerDemand",
        {"producer": "s", "maxSpatialLayer": 1},
        Only("p"),
    ),
    (
        events.ProducerDemandNoted(producer="s", peer="p", spatial_layer=None),
        "producerDemand",
        {"producer": "s", "maxSpatialLayer": None},
        Only("p"),
    ),
    (
        events.TransportRemoved(transport="t", peer="p", reason="ice_failed"),
        "transportClosed",
        {"transport": "t", "reason": "ice_failed"},
        Only("p"),
    ),
    (
        events.ConsumerRemoved(consumer="c", peer="p", reason="producer_closed"),
        "consumerClosed",
        {"consumer": "c", "reason": "producer_closed"},
        Only("p"),
    ),
    (
        events.ConsumerPaused(consumer="c", peer="p", by="producer"),
        "consumerPaused",
        {"consumer": "c"},
        Only("p"),
    ),
    (
        events.ConsumerResumed(consumer="c", peer="p", by="producer"),
        "consumerResumed",
        {"consumer": "c"},
        Only("p"),
    ),
    (
        events.ConsumerLayersChanged(consumer="c", peer="p", spatial_layer=1, temporal_layer=None),
        "layersChanged",
        {"consumer": "c", "spatialLayer": 1, "temporalLayer": None},
        Only("p"),
    ),
    (
        events.ConsumerLayersChanged(
            consumer="c", peer="p", spatial_layer=None, temporal_layer=None, reason="bandwidth"
        ),
        "layersChanged",
        {"consumer": "c", "spatialLayer": None, "temporalLayer": None, "reason": "bandwidth"},
        Only("p"),
    ),
    (
        events.ConsumerScored(consumer="c", peer="p", score=8, producer_score=9),
        "score",
        {"consumer": "c", "score": 8, "producerScore": 9},
        Only("p"),
    ),
    (
        events.StreamingStarted(producer="s", peer="p"),
        "streamingStarted",
        {"producer": "s", "peer": "p"},
        Everyone(),
    ),
    (
        events.ActiveSpeakerChanged(
            producer="s", peer="p", level=-20, before="t", before_level=-70
        ),
        "activeSpeaker",
        {"producer": "s", "peer": "p"},
        Everyone(),
    ),
    (
        events.StreamingStopped(reason="plane_failed"),
        "streamingStopped",
        {"reason": "plane_failed"},
        Everyone(),
    ),
    (events.RoomClosed(reason="empty"), "roomClosed", {"reason": "empty"}, Everyone()),
]

SILENT = [
    events.TransportRemoved(transport="t", peer="p", reason="requested"),
    events.TransportRemoved(transport="t", peer="p", reason="peer_left"),
    events.ConsumerRemoved(consumer="c", peer="p", reason="requested"),
    events.ConsumerRemoved(consumer="c", peer="p", reason="peer_left"),
    events.ConsumerPaused(consumer="c", peer="p", by="viewer"),
    events.ConsumerResumed(consumer="c", peer="p", by="viewer"),
    events.ProducerPaused(producer="s", peer="p"),
    events.PeerDetached(peer="p", leaves_at_ns=1),
    events.PeerAttached(peer="p", attachment=2),
    events.CommandRefused(code="forbidden", message=""),
]


@pytest.mark.parametrize(("event", "name", "data", "audience"), CASES)
def test_an_event_is_told(event: Any, name: str, data: dict[str, Any], audience: Any) -> None:
    notification = notification_of(event)
    assert notification is not None
    assert (notification.name, notification.data) == (name, data)
    assert notification.audience == audience
    assert type(notification.audience) is type(audience)


@pytest.mark.parametrize("event", SILENT, ids=lambda event: type(event).__name__)
def test_what_one_did_or_what_concerns_nobody_is_not_told(event: Any) -> None:
    assert notification_of(event) is None


def test_the_audience_decides_whom_it_concerns() -> None:
    joined, _, _, _ = CASES[0]
    notification = notification_of(joined)
    assert notification is not None
    assert notification.concerns("q")
    assert not notification.concerns("p")
    only = notification_of(events.ProducerScored(producer="s", peer="p", scores=()))
    assert only is not None
    assert only.concerns("p")
    assert not only.concerns("q")


def test_every_notification_of_the_contract_is_tried_here() -> None:
    told = {name for _, name, _, _ in CASES}
    assert told == {
        "peerJoined",
        "peerLeft",
        "peerCount",
        "producerAdded",
        "producerPaused",
        "producerResumed",
        "producerClosed",
        "consumerPaused",
        "consumerResumed",
        "consumerClosed",
        "layersChanged",
        "producerDemand",
        "score",
        "transportClosed",
        "streamingStarted",
        "streamingStopped",
        "activeSpeaker",
        "roomClosed",
    }
    assert {type(event).__name__ for event, *_ in CASES} == set(NOTIFYING_TYPES)
    assert {kind.__name__ for kind in get_args(events.Event)} >= set(NOTIFYING_TYPES)
