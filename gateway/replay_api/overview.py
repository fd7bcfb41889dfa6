"""Answers about stretches of a session: its lanes, what happened in them, and its charts."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.replay_api import parameters
from gateway.replay_api.library import Library, Shelf
from gateway.replay_api.telling import Teller
from replay.store.errors import StoreMissing
from replay.timeline import queries
from replay.timeline.categories import CATEGORIES
from replay.timeline.division import divided, way_of
from replay.timeline.index import TimelineIndex
from replay.timeline.measured import measured

LANES_MAX = 300
BUCKETS_MAX = 2000
KEYS_MAX = 120
EVENTS_MAX = 1500
TAIL_WAIT_S = 20


class Overview:
    """Handlers that each give plain values for JSON."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def sessions(self, request: Request) -> Any:
        """All sessions of the log."""
        text = request.query_params.get("q", "").strip().casefold()[:100]
        state = request.query_params.get("state", "")
        offset = parameters.integer(request, "offset", 0)
        limit = parameters.integer(request, "limit", 100, 1, 500)
        try:
            summaries, damage = await self._library.read(lambda reader: reader.rooms())
        except StoreMissing:
            summaries, damage = [], []
        counts = {"open": 0, "closed": 0, "damaged": 0}
        found = []
        for summary in sorted(summaries, key=lambda each: each.last_at_ns, reverse=True):
            word = "damaged" if summary.damage else "open" if summary.open else "closed"
            counts[word] += 1
            if text in summary.room.casefold() and state in ("", word):
                found.append(msgspec.to_builtins(summary) | {"state": word})
        return {
            "sessions": found[offset : offset + limit],
            "total": len(found),
            "counts": counts,
            "damage": [str(each) for each in damage if each.room is None],
        }

    async def room(self, request: Request) -> Any:
        """A room: its span, runs and anomalies."""
        room = request.path_params["room"]
        shelf = await self._library.shelf(room)
        end, damage = await self._library.end(room)
        is_open = await self._library.read(lambda reader: reader.is_open(room))

        def tell(index: TimelineIndex) -> dict[str, Any]:
            counts: dict[str, int] = {}
            for anomaly in index.anomalies:
                counts[anomaly.kind] = counts.get(anomaly.kind, 0) + 1
            return {
                "room": room,
                "open": is_open,
                "damage": None if damage is None else str(damage),
                "end_ns": end.at_ns,
                "begin_ns": index.time(1),
                "sessions": queries.runs(index),
                "anomalies": counts,
                "lanes": len(index.lanes),
                "categories": list(CATEGORIES),
                **self._library.progress(shelf, end.position),
            }

        told = await self._library.ask(shelf, tell)
        if not shelf.index.position and end.position:
            first = await self._library.read(lambda reader: reader.some(room, [1]))
            told["begin_ns"] = first[0].at_ns if first else end.at_ns
        return told

    async def lanes(self, request: Request) -> Any:
        """Lanes of a run, or below others."""
        shelf = await self._shelf(request)
        wanted = parameters.words(request, "lane", 60)
        session = parameters.integer(request, "session", 0)
        offset = parameters.integer(request, "offset", 0)
        limit = parameters.integer(request, "limit", 100, 1, LANES_MAX)

        def tell(index: TimelineIndex) -> dict[str, Any]:
            if wanted:
                return {key: _below(index, key) for key in wanted if index.lane(key) is not None}
            peers = [
                number
                for number, lane in enumerate(index.lanes)
                if lane.session == session and lane.kind == "peer"
            ]
            return {
                "room": queries.lane_map(index, 0),
                "total": len(peers),
                "offset": offset,
                "lanes": [
                    queries.lane_map(index, n, name=shelf.names.get(index.lanes[n].key, ""))
                    for n in peers[offset : offset + limit]
                ],
            }

        return await self._library.ask(shelf, tell)

    async def density(self, request: Request) -> Any:
        """How much happened in lanes, in buckets of time."""
        shelf = await self._shelf(request)
        keys = parameters.words(request, "lanes", KEYS_MAX)
        from_ns, to_ns = parameters.span(request)
        buckets = parameters.integer(request, "buckets", 600, 1, BUCKETS_MAX)
        buckets = min(buckets, to_ns - from_ns)
        found = await self._library.ask(
            shelf, lambda index: queries.density(index, keys, from_ns, to_ns, buckets)
        )
        return {"from": from_ns, "to": to_ns, "buckets": buckets, "lanes": found}

    async def events(self, request: Request) -> Any:
        """Marks between two times without their text, or whole rows around a position."""
        shelf = await self._shelf(request)
        room = shelf.room
        around = parameters.optional_integer(request, "around")
        if around is not None:
            count = parameters.integer(request, "count", 40, 1, 200)
            first = max(1, around - count // 2)
            wanted = list(range(first, min(first + count, shelf.index.position + 1)))
            return {"events": await Teller(self._library, shelf).rows(wanted)}
        keys = parameters.words(request, "lanes", KEYS_MAX)
        from_ns, to_ns = parameters.span(request)
        limit = parameters.integer(request, "limit", EVENTS_MAX, 1, EVENTS_MAX)
        found = await self._library.ask(
            shelf, lambda index: queries.stretch(index, keys, from_ns, to_ns, limit)
        )
        if found is None:
            return {"room": room, "too_many": True, "marks": []}
        return {"too_many": False, "marks": await Teller(self._library, shelf).marks(found)}

    async def anomalies(self, request: Request) -> Any:
        """Some anomalies from a position on, or back from it; and the nearest one alone."""
        shelf = await self._shelf(request)
        after = parameters.integer(request, "after", 0)
        limit = parameters.integer(request, "limit", 200, 1, 500)
        back = request.query_params.get("direction") == "back"
        index = shelf.index
        if back:
            place = bisect_left(index.anomalies, after, key=lambda each: each.position)
            chosen = index.anomalies[max(0, place - limit) : place]
        else:
            place = bisect_left(index.anomalies, after + 1, key=lambda each: each.position)
            chosen = index.anomalies[place : place + limit]
        rows = await Teller(self._library, shelf).rows([each.position for each in chosen])
        words = {each.position: each.kind for each in chosen}
        return {
            "anomalies": [row | {"anomaly": words[row["position"]]} for row in rows],
            "total": len(index.anomalies),
            "before": place if not back else max(0, place - limit),
        }

    async def series(self, request: Request) -> Any:
        """Charts of lanes: from the log, and as measured."""
        shelf = await self._shelf(request)
        keys = parameters.words(request, "lanes", 24)
        from_ns, to_ns = parameters.span(request)

        session = parameters.integer(request, "session", 0)
        chosen = keys or _producers(shelf.index, session)

        def tell(index: TimelineIndex) -> list[dict[str, Any]]:
            told = []
            for key in chosen:
                lane = index.lane(key)
                for metric in queries.METRICS if lane is not None else ():
                    assert lane is not None
                    points = queries.series(index, lane, metric, from_ns, to_ns)
                    if points:
                        told.append(
                            {
                                "lane": key,
                                "about": lane.about,
                                "metric": metric,
                                "end_ns": index.time(lane.end or index.position),
                                "points": points,
                            }
                        )
            return told

        told = await self._library.ask(shelf, tell)
        lanes = queries.with_transports(shelf.index, chosen)
        directory = self._library.directory
        told += await self._library.read(
            lambda _reader: measured(directory, shelf.room, lanes, from_ns, to_ns)
        )
        return {"series": told}

    async def division(self, request: Request) -> Any:
        """How what a viewer's transport takes was divided among its consumers."""
        shelf = await self._shelf(request)
        keys = parameters.words(request, "lanes", 24)
        from_ns, to_ns = parameters.span(request)
        way = await self._library.ask(shelf, lambda index: way_of(index, keys, from_ns, to_ns))
        if way is None:
            return {"division": None}
        directory, names = self._library.directory, shelf.names
        told = await self._library.read(
            lambda _reader: divided(directory, shelf.room, way, from_ns, to_ns)
        )
        for share in told["shares"]:
            share["name"] = names.get(share["owner"], "")
        return {"division": told}

    async def tail(self, request: Request) -> Any:
        """The end of a log, once it is longer."""
        room = request.path_params["room"]
        after = parameters.integer(request, "after")
        wait_s = parameters.integer(request, "wait", TAIL_WAIT_S, 0, TAIL_WAIT_S)
        place = await self._library.follow(room, after, wait_s)
        is_open = await self._library.read(lambda reader: reader.is_open(room))
        return {"end": place.position, "end_ns": place.at_ns, "open": is_open}

    async def _shelf(self, request: Request) -> Shelf:
        return await self._library.shelf(request.path_params["room"])


def _producers(index: TimelineIndex, session: int) -> list[str]:
    """The first producers of a session: what a page charts before anything was chosen."""
    lanes = (lane for lane in index.lanes if lane.session == session)
    return [lane.key for lane in lanes if lane.kind == "producer"][:6]


def _below(index: TimelineIndex, key: str) -> list[dict[str, Any]]:
    number = index.number(key)
    return [
        queries.lane_map(index, each) | {"depth": depth}
        for each, depth in queries.below(index, number)[:LANES_MAX]
    ]
