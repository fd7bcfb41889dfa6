"""Envelopes and lanes as the page gets them."""

from __future__ import annotations

from typing import Any

from gateway.replay_api.library import Library, Shelf
from protocol.envelope import Envelope
from replay.explain import sentence
from replay.timeline import queries
from replay.timeline.categories import CATEGORIES


def event_map(envelope: Envelope, shelf: Shelf) -> dict[str, Any]:
    """What is told of an envelope wherever it stands in a list."""
    lane, category = shelf.index.place(envelope)
    owner = shelf.index.owner(lane)
    return {
        "position": envelope.position,
        "at_ns": envelope.at_ns,
        "kind": envelope.kind,
        "type": envelope.type,
        "actor": envelope.actor,
        "lane": lane.key,
        "owner": owner.key,
        "ordinal": owner.ordinal,
        "category": CATEGORIES[category],
        "cause": envelope.cause,
        "correlation": envelope.correlation,
        "sentence": sentence(envelope),
    }


class Teller:
    """Tells what stands at positions of one room."""

    def __init__(self, library: Library, shelf: Shelf) -> None:
        self._library = library
        self._shelf = shelf

    async def rows(self, positions: list[int]) -> list[dict[str, Any]]:
        """Whole rows for lists."""
        return await self._library.read(
            lambda reader: [
                event_map(envelope, self._shelf)
                for envelope in reader.revealer.envelopes(reader.some(self._shelf.room, positions))
            ]
        )

    async def marks(self, found: list[tuple[int, int, str]]) -> list[list[Any]]:
        """Position, time, category, lane as asked for, kind and type of each."""

        def tell(reader: Any) -> list[list[Any]]:
            placed = {position: (category, key) for position, category, key in found}
            index = self._shelf.index
            return [
                [
                    envelope.position,
                    index.time(envelope.position),
                    placed[envelope.position][0],
                    placed[envelope.position][1],
                    envelope.kind,
                    envelope.type,
                ]
                for envelope in reader.some(self._shelf.room, placed)
            ]

        return await self._library.read(tell)

    def lane(self, number: int) -> dict[str, Any]:
        """A lane that a search found, with the peer that it belongs to."""
        index = self._shelf.index
        lane = index.lanes[number]
        owner = index.owner(lane)
        return queries.lane_map(index, number, name=self._shelf.names.get(owner.key, "")) | {
            "owner": owner.key,
            "ordinal": owner.ordinal,
            "session": lane.session,
        }
