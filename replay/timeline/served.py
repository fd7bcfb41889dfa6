"""How well media came, for the page: the figures of `stats`, of the time that is seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from replay.errors import ReplayError
from replay.recordings import Recordings
from replay.session_telemetry import figures_of
from replay.store.errors import StoreError, StoreMissing
from replay.telemetry import Entity, Telemetry, quality_of
from replay.timeline import queries
from replay.timeline.index import TimelineIndex

RECORDINGS_MAX = 200


class Viewed(Struct, frozen=True):
    """A peer whose streams are wanted."""

    lane: str
    name: str
    streams: Sequence[tuple[str, str]]
    """Lane and sort of media (`audio`, `video`) of its producers and consumers."""
    freezes: int
    """Of its consumers in that time, as the log says."""


def served(
    directory: Path, room: str, peers: Sequence[Viewed], from_ns: int, to_ns: int
) -> dict[str, Any]:
    """Quality and streams of some peers between two times. Blocks."""
    ids = {lane.partition("/")[2] for peer in peers for lane, _ in peer.streams}
    try:
        folded = Telemetry(directory).fold(room, from_ns, to_ns, points=1, ids=ids)
    except StoreMissing:
        return {"problem": "There is no telemetry of this session.", "peers": []}
    except (StoreError, ReplayError) as error:
        return {"problem": f"Telemetry cannot be read: {error}.", "peers": []}
    known: dict[str, list[Entity]] = {}
    for entity in folded.entities():
        known.setdefault(f"{entity.kind}/{entity.id}", []).append(entity)
    told = []
    for peer in peers:
        streams = [
            {"lane": lane, "about": about, **msgspec.to_builtins(figures_of(folded, entity))}
            for lane, about in peer.streams
            for entity in known.get(lane, ())
        ]
        consumers = [
            lane.partition("/")[2]
            for lane, _ in peer.streams
            if lane.startswith("consumer/") and lane in known
        ]
        if not streams:
            continue
        quality = quality_of(folded, consumers, peer.freezes) if consumers else None
        told.append(
            {
                "lane": peer.lane,
                "name": peer.name,
                "quality": msgspec.to_builtins(quality),
                "streams": streams,
            }
        )
    problem = None if told else "Nothing was measured here in the time that is seen."
    return {"problem": problem, "peers": told}


def recordings(directory: Path, room: str, first: int, last: int) -> list[dict[str, Any]]:
    """The flight recorder's recordings that some positions asked for, the latest last. Blocks."""
    try:
        found = Recordings(directory).of_room(room)
    except (StoreError, ReplayError):
        return []
    chosen = [one for one in found if first <= one.position <= last]
    return [one._asdict() for one in chosen[-RECORDINGS_MAX:]]


def peers_of(index: TimelineIndex, session: int, keys: list[str]) -> list[int]:
    """The peers that some lanes belong to, or all of a session without any."""
    if not keys:
        return [
            number
            for number, lane in enumerate(index.lanes)
            if lane.session == session and lane.kind == "peer"
        ]
    found: dict[int, None] = {}
    for key in keys:
        number = index.number(key) if index.lane(key) is not None else -1
        while number >= 0 and index.lanes[number].kind != "peer":
            number = index.lanes[number].parent
        if number >= 0:
            found[number] = None
    return list(found)


def viewed(
    index: TimelineIndex, number: int, names: dict[str, str], from_ns: int, to_ns: int
) -> Viewed:
    """A peer's streams, and how often they froze between two times."""
    lanes = {each for each, _ in queries.below(index, number)}
    streams = [
        (index.lanes[each].key, index.lanes[each].about)
        for each in sorted(lanes)
        if index.lanes[each].kind in ("producer", "consumer")
    ]
    freezes = sum(
        each.kind == "frozen"
        and each.lane in lanes
        and from_ns <= index.time(each.position) <= to_ns
        for each in index.anomalies
    )
    key = index.lanes[number].key
    return Viewed(key, names.get(key, ""), streams, freezes)
