"""Lanes of a timeline: the room, its peers, and what each of them has.

A lane's `rows` are positions of what happened in it, by category; a peer's `inside` also counts
what happened in all lanes below it, so that a folded peer is answered without unfolding it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Any

from msgspec import Struct, field

from replay.timeline.categories import CATEGORIES

Rows = dict[int, array]  # type: ignore[type-arg]
"""Rising positions, by category."""


def positions() -> array[int]:
    """An empty list of positions, four bytes each."""
    return array("I")


def _small() -> array[int]:
    return array("b")


def _octets() -> array[int]:
    return array("B")


class Lane(Struct):
    """One lane. Positions are 0 where there is none."""

    key: str
    """`room`, `peer/ID`, or the address of an actor."""
    parent: int
    """Number of the lane that it lies in: a transport's peer, a consumer's transport; else -1."""
    session: int
    """Number of the session that it belongs to, from 0."""
    begin: int
    end: int = 0
    about: str = ""
    """`send`, `recv`, `audio`, `video`: what tells it from its like."""
    source: str = ""
    """The producer that a consumer shows."""
    reason: str = ""
    """Why it ended, in a word."""
    joined: int = 0
    """Of a peer: position of its `PeerJoined`, which bears its name."""
    ordinal: int = 0
    """Of a peer: how many came in its session before it."""
    children: list[int] = []
    rows: Rows = {}
    inside: Rows = {}
    spans: list[tuple[str, int, int]] = []
    """Stretches in an odd state: word, first position, last position or 0 while it lasts."""
    score_at: array[int] = field(default_factory=positions)
    score: array[int] = field(default_factory=_small)
    """0 to 10 at each of `score_at`."""
    layer_at: array[int] = field(default_factory=positions)
    layer: array[int] = field(default_factory=_small)
    """Spatial layer at each of `layer_at`; -1: nothing is sent."""
    keyframe_at: array[int] = field(default_factory=positions)
    keyframe: array[int] = field(default_factory=positions)
    """At each of `keyframe_at`: for how many a producer was asked for a keyframe, or how old the
    one was that a consumer began with from the cache, in tenths of a second."""
    priority_at: array[int] = field(default_factory=positions)
    priority: array[int] = field(default_factory=_octets)
    """Of a consumer: what its viewer gave it at each of `priority_at`; 1 before."""
    estimate_at: array[int] = field(default_factory=positions)
    estimate: array[int] = field(default_factory=positions)
    """Of a transport: what the log says that its way took at each of `estimate_at`, kbit/s."""
    asked_ns: list[int] = []
    """Times of the latest keyframe requests."""
    storm_ns: int = 0
    """When a storm of keyframe requests was last seen."""

    @property
    def kind(self) -> str:
        """`room`, `peer`, `transport`, `producer` or `consumer`."""
        return self.key.partition("/")[0]

    def note(self, position: int, category: int) -> None:
        """Something happened here."""
        rows = self.rows.get(category)
        if rows is None:
            rows = self.rows[category] = positions()
        rows.append(position)

    def note_inside(self, position: int, category: int) -> None:
        """Something happened in this lane or below it."""
        rows = self.inside.get(category)
        if rows is None:
            rows = self.inside[category] = positions()
        rows.append(position)

    def is_in(self, word: str) -> bool:
        """Whether it is in an odd state now."""
        return any(span[0] == word and not span[2] for span in self.spans)

    def enter(self, word: str, position: int) -> None:
        """An odd state begins, unless it is there already."""
        if not self.is_in(word):
            self.spans.append((word, position, 0))

    def leave(self, word: str, position: int) -> None:
        """An odd state ends, if it is there."""
        for index, (name, begin, end) in enumerate(self.spans):
            if name == word and not end:
                self.spans[index] = (name, begin, position)

    def close(self, position: int, reason: str) -> None:
        """The lane ends."""
        if not self.end:
            self.end, self.reason = position, reason
            self.spans = [(word, begin, end or position) for word, begin, end in self.spans]

    def stretch(self, after: int, up_to: int, *, folded: bool) -> list[tuple[int, int]]:
        """Position and category of what happened after `after` up to and with `up_to`."""
        found: list[tuple[int, int]] = []
        for category, rows in (self.inside if folded else self.rows).items():
            begin, end = bisect_left(rows, after + 1), bisect_left(rows, up_to + 1)
            found.extend((position, category) for position in rows[begin:end])
        found.sort()
        return found

    def packed(self) -> list[Any]:
        """For the cache file."""
        return [
            self.key, self.parent, self.session, self.begin, self.end, self.about, self.source,
            self.reason, self.children, _packed(self.rows), _packed(self.inside), self.spans,
            self.score_at.tobytes(), self.score.tobytes(), self.layer_at.tobytes(),
            self.layer.tobytes(), self.asked_ns, self.storm_ns, self.joined,
            self.ordinal, self.keyframe_at.tobytes(), self.keyframe.tobytes(),
            self.priority_at.tobytes(), self.priority.tobytes(),
            self.estimate_at.tobytes(), self.estimate.tobytes(),
        ]  # fmt: skip

    @classmethod
    def unpacked(cls, raw: list[Any]) -> Lane:
        """From the cache file."""
        return cls(
            key=raw[0], parent=raw[1], session=raw[2], begin=raw[3], end=raw[4], about=raw[5],
            source=raw[6], reason=raw[7], children=raw[8], rows=_unpacked(raw[9]),
            inside=_unpacked(raw[10]), spans=[tuple(span) for span in raw[11]],
            asked_ns=raw[16], storm_ns=raw[17],
            score_at=array("I", raw[12]), score=array("b", raw[13]),
            layer_at=array("I", raw[14]), layer=array("b", raw[15]), joined=raw[18],
            ordinal=raw[19], keyframe_at=array("I", raw[20]), keyframe=array("I", raw[21]),
            priority_at=array("I", raw[22]), priority=array("B", raw[23]),
            estimate_at=array("I", raw[24]), estimate=array("I", raw[25]),
        )  # fmt: skip


def _packed(rows: Rows) -> list[bytes]:
    return [rows[n].tobytes() if n in rows else b"" for n in range(len(CATEGORIES))]


def _unpacked(raw: list[bytes]) -> Rows:
    return {number: array("I", found) for number, found in enumerate(raw) if found}
