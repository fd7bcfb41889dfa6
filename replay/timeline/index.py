"""The index of a room's log: which lanes there are, and what lies where in them.

`TimelineIndex.take` reads envelopes in order and only ever appends, so it goes on wherever it
stopped: for a live room, and from a cache file. It bears ids and words of ours, but no names,
addresses or other content of the log.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import Any

import msgspec
from msgspec import Struct

from protocol.envelope import Envelope, genesis
from replay.timeline.anomalies import anomaly_of
from replay.timeline.categories import TROUBLE, category_of
from replay.timeline.lanes import Lane, Rows, positions

ROOM_LANE = 0


class Said(Struct):
    """What the index looks at in a payload, of whatever type; the rest is skipped."""

    peer: str | None = None
    transport: str | None = None
    producer: str | None = None
    consumer: str | None = None
    direction: str = ""
    kind: str = ""
    state: str = ""
    reason: str = ""
    by: str = ""
    active: bool | None = None
    frozen: bool | None = None
    paused: bool | None = None
    score: int | None = None
    scores: tuple[int, ...] = ()
    spatial_layer: int | None = None
    requests: int = 0
    keyframe_age_ns: int | None = None
    priority: int | None = None
    bitrate_bps: int | None = None


_TENTH_NS = 100_000_000
_MOST = 2**32 - 1
_NOTHING = Said()
_decoder = msgspec.msgpack.Decoder(Said)
_CHILDREN = {
    "TransportAdded": "transport",
    "ProducerAdded": "producer",
    "ConsumerAdded": "consumer",
}
_REMOVED = {
    "TransportRemoved": "transport",
    "ProducerRemoved": "producer",
    "ConsumerRemoved": "consumer",
    "PeerLeft": "peer",
}
_READ = frozenset(
    (
        "IceChanged", "TransportClosed", "ProducerActive", "ProducerDemandNoted",
        "ProducerPaused", "ProducerResumed",
        "ProducerScored", "ConsumerScored", "ConsumerPaused", "ConsumerResumed",
        "ConsumerLayersChanged", "ConsumerFreezeChanged", "ConsumerOpened",
        "KeyFrameAsked", "ConsumerPrioritized", "BandwidthChanged",
    )
)  # fmt: skip
"""Types of actors other than the room's whose payload matters here."""


class Anomaly(Struct, array_like=True):
    """Something that an engineer wants to be led to."""

    position: int
    kind: str
    """A word of `replay.timeline.anomalies`."""
    lane: int


class Session(Struct, array_like=True):
    """A run of the room, from its opening to its end."""

    begin: int
    end: int = 0
    """Position of its `RoomClosed`; 0 while it runs or if it was cut off."""
    peers: int = 0
    peers_max: int = 0


class TimelineIndex:
    """The index of one room, as far as `position`."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.position = 0
        self.hash = genesis(room)
        """Of the envelope at `position`: tells whether this index belongs to a log."""
        self.times: array[int] = array("q")
        """Time of position n at index n - 1; never falls, as clocks that were set back may."""
        self.lanes: list[Lane] = [Lane(key="room", parent=-1, session=0, begin=1)]
        self.types: dict[str, array[int]] = {}
        """Positions of each type."""
        self.all: Rows = {}
        """All positions by category."""
        self.anomalies: list[Anomaly] = []
        self.sessions: list[Session] = []
        self._numbers: dict[str, int] = {"room": ROOM_LANE}
        self._present = 0

    def lane(self, key: str) -> Lane | None:
        """The lane of a key."""
        number = self._numbers.get(key)
        return None if number is None else self.lanes[number]

    def number(self, key: str) -> int:
        """The number of a lane; the room's for what has none of its own."""
        return self._numbers.get(key, ROOM_LANE)

    def time(self, position: int) -> int:
        """Time of a position, of the nearest one if it is outside."""
        if not self.times:
            return 0
        return self.times[min(max(position, 1), self.position) - 1]

    def place(self, envelope: Envelope) -> tuple[Lane, int]:
        """The lane and the category of an envelope, as `take` found them."""
        position = envelope.position
        number = self._numbers.get(envelope.actor, ROOM_LANE)
        if envelope.actor == "room":
            first = bisect_left(self.lanes, position, lo=1, key=lambda lane: lane.begin)
            if first < len(self.lanes) and self.lanes[first].begin == position:
                number = first  # a request to join names no peer
            else:
                said = _said(envelope)
                number = self._numbers.get(f"peer/{said.peer}", ROOM_LANE)
            if self.lanes[number].kind != "peer":
                number = ROOM_LANE if envelope.type == "Join" else self._owner(number)
        at = bisect_left(self.anomalies, position, key=lambda each: each.position)
        odd = at < len(self.anomalies) and self.anomalies[at].position == position
        return self.lanes[number], TROUBLE if odd else category_of(envelope.type)

    def owner(self, lane: Lane) -> Lane:
        """The peer that a lane belongs to; the room's lane and peers' own are themselves."""
        while lane.parent >= 0:
            lane = self.lanes[lane.parent]
        return lane

    def position_at(self, at_ns: int) -> int:
        """The last position that is not later than a time; 0 if there is none."""
        return bisect_right(self.times, at_ns)

    def _owner(self, number: int) -> int:
        while self.lanes[number].parent >= 0:
            number = self.lanes[number].parent
        return number

    def take(self, envelope: Envelope) -> None:
        """Go on by the next envelope."""
        position = self.position = envelope.position
        self.hash = envelope.hash
        at_ns = max(envelope.at_ns, self.times[-1]) if self.times else envelope.at_ns
        while len(self.times) < position:  # what was pruned before it takes its time
            self.times.append(at_ns)
        name, actor = envelope.type, envelope.actor
        types = self.types.get(name)
        if types is None:
            types = self.types[name] = positions()
        types.append(position)
        said = _NOTHING
        if actor == "room" or name in _READ:
            said = _said(envelope)
        if actor == "room":
            number = self._room_row(envelope, said)
        else:
            number = self._numbers.get(actor, ROOM_LANE)
        lane = self.lanes[number]
        kind = anomaly_of(envelope, said, lane, at_ns)
        category = category_of(name)
        if kind is not None:
            category = TROUBLE
            self.anomalies.append(Anomaly(position, kind, number))
        if said is not _NOTHING and actor != "room" and envelope.kind == "event":
            _follow(lane, name, said, position)
        self._note(number, position, category)

    def _note(self, number: int, position: int, category: int) -> None:
        lane = self.lanes[number]
        lane.note(position, category)
        rows = self.all.get(category)
        if rows is None:
            rows = self.all[category] = positions()
        rows.append(position)
        while lane.parent >= 0:
            lane = self.lanes[lane.parent]
        if lane.key != "room":
            lane.note_inside(position, category)

    def _room_row(self, envelope: Envelope, said: Said) -> int:
        """Follow what the room's actor took or decided; give the lane that it belongs to."""
        name, position = envelope.type, envelope.position
        if envelope.kind == "message":
            if name == "OpenRoom" or not self.sessions:
                self._open_session(position)
            return self._numbers.get(f"peer/{said.peer}", ROOM_LANE)
        if name == "RoomClosed":
            self._close_session(position, said.reason)
        elif name == "PeerJoined":
            session = self.sessions[-1]
            lane = self._add(f"peer/{said.peer}", -1, position)
            lane.joined, lane.ordinal = position, session.peers
            self._present += 1
            session.peers += 1
            session.peers_max = max(session.peers_max, self._present)
            self._move_cause(envelope)
        elif name in _CHILDREN:
            kind = _CHILDREN[name]
            owner = f"peer/{said.peer}" if kind == "transport" else f"transport/{said.transport}"
            parent = self._numbers.get(owner, self._numbers.get(f"peer/{said.peer}", ROOM_LANE))
            lane = self._add(f"{kind}/{getattr(said, kind)}", parent, position)
            lane.about = said.direction if kind == "transport" else said.kind
            if kind == "consumer":
                lane.source = said.producer or ""
                source = self.lane(f"producer/{said.producer}")
                lane.about = source.about if source is not None else ""
        elif name in _REMOVED:
            gone = self.lane(f"{_REMOVED[name]}/{getattr(said, _REMOVED[name])}")
            if gone is not None:
                gone.close(position, said.reason)
            self._present -= name == "PeerLeft"
        peer = self.lane(f"peer/{said.peer}")
        if peer is None:
            return ROOM_LANE
        if name == "PeerDetached":
            peer.enter("away", position)
        elif name == "PeerAttached":
            peer.leave("away", position)
        return self._numbers[peer.key]

    def _add(self, key: str, parent: int, position: int) -> Lane:
        lane = Lane(key=key, parent=parent, session=len(self.sessions) - 1, begin=position)
        number = len(self.lanes)
        self.lanes.append(lane)
        self._numbers[key] = number
        if parent >= 0:
            self.lanes[parent].children.append(number)
        return lane

    def _move_cause(self, joined: Envelope) -> None:
        """A request to join names no peer: put it into the lane of the peer that came of it."""
        room, cause = self.lanes[ROOM_LANE], joined.cause
        for category, rows in room.rows.items():
            if rows and rows[-1] == cause:
                rows.pop()
                lane = self.lanes[-1]
                lane.note(joined.cause or 0, category)
                lane.note_inside(joined.cause or 0, category)
                lane.begin = joined.cause or lane.begin

    def _open_session(self, position: int) -> None:
        if self.sessions:
            self._end_lanes(position - 1, "cut off")
        self.sessions.append(Session(position))
        self._present = 0

    def _close_session(self, position: int, reason: str) -> None:
        if self.sessions:
            self.sessions[-1].end = position
        self._end_lanes(position, reason)

    def _end_lanes(self, position: int, reason: str) -> None:
        for lane in reversed(self.lanes):
            if lane.key != "room" and lane.session == len(self.sessions) - 1:
                lane.close(position, reason)

    # The cache file.

    def packed(self) -> dict[str, Any]:
        """Plain values to write down."""
        return {
            "room": self.room,
            "position": self.position,
            "hash": self.hash,
            "times": self.times.tobytes(),
            "lanes": [lane.packed() for lane in self.lanes],
            "types": {name: rows.tobytes() for name, rows in self.types.items()},
            "all": {str(number): rows.tobytes() for number, rows in self.all.items()},
            "anomalies": self.anomalies,
            "sessions": self.sessions,
            "present": self._present,
        }

    @classmethod
    def unpacked(cls, raw: dict[str, Any]) -> TimelineIndex:
        """The index that was written down. Raises `KeyError`, `ValueError` or `TypeError`."""
        index = cls(raw["room"])
        index.position, index.hash = raw["position"], raw["hash"]
        index.times = array("q", raw["times"])
        index.lanes = [Lane.unpacked(lane) for lane in raw["lanes"]]
        index.types = {name: array("I", rows) for name, rows in raw["types"].items()}
        index.all = {int(number): array("I", rows) for number, rows in raw["all"].items()}
        index.anomalies = [Anomaly(*each) for each in raw["anomalies"]]
        index.sessions = [Session(*each) for each in raw["sessions"]]
        index._present = raw["present"]
        index._numbers = {lane.key: number for number, lane in enumerate(index.lanes)}
        if len(index.times) != index.position:
            raise ValueError("it does not have a time for each position")
        return index


def _said(envelope: Envelope) -> Said:
    """What matters of a payload; nothing of one that does not decode."""
    try:
        return _decoder.decode(envelope.data)
    except msgspec.MsgspecError:
        return _NOTHING


def _follow(lane: Lane, name: str, said: Said, position: int) -> None:
    """Follow the state of a transport, producer or consumer as far as it is drawn."""
    match name:
        case "IceChanged":
            if said.state in ("disconnected", "failed"):
                lane.enter("ice lost", position)
            else:
                lane.leave("ice lost", position)
        case "ProducerActive":
            if said.active:
                lane.leave("silent", position)
            elif not lane.is_in("unused"):
                lane.enter("silent", position)
        case "ProducerDemandNoted":
            (lane.enter if said.spatial_layer is None else lane.leave)("unused", position)
        case "ProducerPaused" | "ConsumerOpened":
            lane.enter("paused", position)
        case "ProducerResumed":
            lane.leave("paused", position)
        case "ConsumerPaused":
            lane.enter("paused" if said.by == "viewer" else "source paused", position)
        case "ConsumerResumed":
            lane.leave("paused" if said.by == "viewer" else "source paused", position)
        case "ConsumerFreezeChanged":
            (lane.enter if said.frozen else lane.leave)("frozen", position)
        case "ConsumerScored" | "ProducerScored":
            _follow_score(lane, said, position)
        case "ConsumerLayersChanged":
            _follow_layers(lane, said, position)
        case "KeyFrameAsked":
            _note_keyframe(lane, position, said.requests)
        case "ConsumerPrioritized" | "BandwidthChanged":
            _follow_division(lane, said, position)


def _follow_score(lane: Lane, said: Said, position: int) -> None:
    """The score of a consumer, or the best one of a producer."""
    scores = said.scores if said.score is None else (said.score,)
    if scores:
        lane.score_at.append(position)
        lane.score.append(min(max(*scores, 0), 10))


def _follow_layers(lane: Lane, said: Said, position: int) -> None:
    """What a consumer is sent, and how old the keyframe was if it came from the cache."""
    layer = -1 if said.spatial_layer is None else said.spatial_layer
    lane.layer_at.append(position)
    lane.layer.append(min(max(layer, -1), 100))
    if said.keyframe_age_ns is not None:
        _note_keyframe(lane, position, said.keyframe_age_ns // _TENTH_NS)


def _follow_division(lane: Lane, said: Said, position: int) -> None:
    """What a consumer matters beside others, or what a transport's way takes."""
    if said.bitrate_bps is not None:
        lane.estimate_at.append(position)
        lane.estimate.append(min(max(said.bitrate_bps, 0) // 1000, _MOST))
    elif said.priority is not None:
        lane.priority_at.append(position)
        lane.priority.append(min(max(said.priority, 1), 255))


def _note_keyframe(lane: Lane, position: int, value: int) -> None:
    lane.keyframe_at.append(position)
    lane.keyframe.append(min(max(value, 0), _MOST))
