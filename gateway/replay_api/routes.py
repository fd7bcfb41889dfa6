"""What the replay page may ask, all by GET, all read-only; times are nanoseconds since 1970.

| path | answer |
| --- | --- |
| `/api/replay` | sessions: `q`, `state` (open, closed, damaged), `offset`, `limit` |
| `/api/replay/ROOM` | a room's span, sessions, anomaly counts, and how far its index is |
| `…/lanes` | peers of a `session`, or all below a `lane` |
| `…/density` | counts of `lanes` in `buckets` between `from` and `to` |
| `…/events` | what happened in `lanes` between `from` and `to`, or `around` a position |
| `…/event/POSITION` | one envelope with its payload |
| `…/state` | the state `at` a position as far as it is unfolded, and what changed |
| `…/why/POSITION` | causes and effects |
| `…/search` | `q` behind a position |
| `…/anomalies` | what deserves attention |
| `…/series` | charts: scores and layers of `lanes` |
| `…/media` | how well media came in a stretch of time, and the recordings |
| `…/recording/POSITION/TRANSPORT` | a recording as redacted pcapng |
| `…/tail` | waits for news of a live session |
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.replay_api import parameters
from gateway.replay_api.access import ReplayAccess
from gateway.replay_api.library import Library, Shelf, TooManyFollowers
from gateway.replay_api.telling import Teller, event_map
from protocol.store_error import StoreError
from replay.causes import story
from replay.errors import ReplayError
from replay.export import pcapng
from replay.grounds import grounds
from replay.history import History
from replay.reader import LogReader
from replay.recordings import Recordings
from replay.redact import Redactor
from replay.snapshots import Snapshots
from replay.store.errors import LogDamaged, StoreMissing, UnknownRoom
from replay.text import as_map as envelope_map
from replay.timeline import finder, queries
from replay.timeline.categories import CATEGORIES
from replay.timeline.index import TimelineIndex
from replay.timeline.measured import measured
from replay.timeline.outline import outline
from replay.timeline.served import Viewed, peers_of, recordings, served, viewed

LANES_MAX = 300
BUCKETS_MAX = 2000
KEYS_MAX = 120
EVENTS_MAX = 1500
MEDIA_PEERS_MAX = 40
EFFECTS_MAX = 300
EFFECTS_SEARCHED = 100_000
"""How far behind a decision its effects are looked for."""
CHANGES_MAX = 200
TAIL_WAIT_S = 20
_Handler = Callable[[Request], Awaitable[Any]]


def replay_routes(library: Library, access: ReplayAccess) -> list[Route]:
    """The routes of the API, each guarded by `access`."""
    desk = _Desk(library)
    paths: list[tuple[str, _Handler]] = [
        ("", desk.sessions),
        ("/{room}", desk.room),
        ("/{room}/lanes", desk.lanes),
        ("/{room}/density", desk.density),
        ("/{room}/events", desk.events),
        ("/{room}/event/{position:int}", desk.event),
        ("/{room}/state", desk.state),
        ("/{room}/why/{position:int}", desk.why),
        ("/{room}/search", desk.search),
        ("/{room}/anomalies", desk.anomalies),
        ("/{room}/series", desk.series),
        ("/{room}/media", desk.media),
        ("/{room}/recording/{position:int}/{transport}", desk.recording),
        ("/{room}/tail", desk.tail),
    ]
    return [Route(f"/api/replay{path}", _guarded(handler, access)) for path, handler in paths]


def page_opened(library: Library, access: ReplayAccess) -> Callable[[Request], None]:
    """What is to be called when the page of a room is asked for: its index is made ready.

    The page's scripts take their time to arrive. Only for those who may look anyway; an operator's
    token does not come with the page.
    """

    def expect(request: Request) -> None:
        if access.refusal(request) is None:
            library.expect(request.path_params["room"])

    return expect


def _guarded(handler: _Handler, access: ReplayAccess) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        refused = access.refusal(request)
        if refused is not None:
            return _error(*refused)
        try:
            answer = await handler(request)
            return answer if isinstance(answer, Response) else _json(answer)
        except parameters.WrongParameter as error:
            return _error(400, "invalid_data", f"{error}.")
        except UnknownRoom as error:
            return _error(404, "room_not_found", f"{error}.")
        except StoreMissing:
            return _error(404, "room_not_found", "There are no sessions yet.")
        except LogDamaged as error:
            return _error(409, "log_damaged", f"{error}.", position=error.position)
        except ReplayError as error:
            return _error(400, "cannot_answer", f"{error}.")
        except TooManyFollowers:
            return _error(503, "overloaded", "Too many follow live sessions; try again later.")
        except StoreError as error:
            return _error(503, "storage_unavailable", f"{error}.")

    return answered


class _Desk:
    """The handlers. Each gives plain values for JSON."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def sessions(self, request: Request) -> Any:
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
                "sessions": _sessions(index),
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

    async def event(self, request: Request) -> Any:
        shelf = await self._shelf(request)
        position = request.path_params["position"]
        rows = await self._library.read(
            lambda reader: reader.revealer.envelopes(reader.some(shelf.room, [position]))
        )
        if not rows:
            raise parameters.WrongParameter(f"there is nothing at position {position}")
        return event_map(rows[0], shelf) | {"data": envelope_map(rows[0])["data"]}

    async def state(self, request: Request) -> Any:
        shelf = await self._shelf(request)
        room = shelf.room
        at_ns = parameters.optional_integer(request, "time")
        if at_ns is None:
            position = parameters.integer(request, "at")
        else:
            position = max(1, shelf.index.position_at(at_ns))
        since = parameters.optional_integer(request, "since")
        unfolded = parameters.paths(request, "open", 400)
        viewer = request.query_params.get("viewer", "")[:40]
        end, _ = await self._library.end(room)
        if position > end.position:
            raise parameters.WrongParameter(
                f"position {position} is past the end of the log, {end.position}"
            )

        def tell(shown: Any) -> dict[str, Any]:
            changes = shown.changes[:CHANGES_MAX]
            return {
                "position": shown.position,
                "at_ns": shown.at_ns,
                "since": shown.since,
                "tree": outline(shown.document, unfolded, [each.path for each in changes]),
                "changes": [
                    {
                        "path": list(each.path),
                        "change": each.change,
                        "before": _small(each.before),
                        "after": _small(each.after),
                    }
                    for each in changes
                ],
                "changed": len(shown.changes),
            }

        told = await self._library.state(room, viewer, position, since, tell)
        rows = await Teller(self._library, shelf).rows([position])
        return told | {"event": rows[0] if rows else None}

    async def why(self, request: Request) -> Any:
        shelf = await self._shelf(request)
        room, position = shelf.room, request.path_params["position"]

        def tell(reader: LogReader) -> dict[str, Any]:
            end, _ = reader.end(room)
            if position > end.position:
                raise parameters.WrongParameter(f"there is nothing at position {position}")
            until = min(end.position, position + EFFECTS_SEARCHED)
            told = story(reader, room, position, until)
            effects: list[dict[str, Any]] = []
            rest = [(told.effects, 0)]
            while rest and len(effects) < EFFECTS_MAX:
                link, depth = rest.pop(0)
                effects.append(event_map(link.envelope, shelf) | {"depth": depth})
                rest.extend((each, depth + 1) for each in link.effects)
            with Snapshots(self._library.directory) as snapshots:
                known = grounds(reader, History(reader, room, snapshots), told.chain[-1])
            return {
                "position": position,
                "correlation": told.correlation,
                "grounds": known,
                "causes": [event_map(each, shelf) for each in told.chain],
                "effects": effects,
                "effects_total": told.effects.count(),
                "searched_to": until,
            }

        return await self._library.read(tell)

    async def search(self, request: Request) -> Any:
        shelf = await self._shelf(request)
        text = request.query_params.get("q", "")
        after = parameters.integer(request, "after", 0)

        def look(reader: LogReader) -> finder.Found:
            with Snapshots(self._library.directory) as snapshots:
                history = History(reader, shelf.room, snapshots)
                return finder.look(text, shelf.index, shelf.names, reader, history, after)

        async with shelf.lock:
            found = await self._library.read(look)
        end, _ = await self._library.end(shelf.room)
        teller = Teller(self._library, shelf)
        return {
            "events": await teller.rows(found.positions),
            "lanes": [teller.lane(number) for number in found.lanes],
            "searched_to": found.searched_to,
            "end": end.position,
            "total": found.total,
        }

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
        shelf = await self._shelf(request)
        keys = parameters.words(request, "lanes", 24)
        from_ns, to_ns = parameters.span(request)

        session = parameters.integer(request, "session", 0)
        chosen = keys or _producers(shelf.index, session)

        def tell(index: TimelineIndex) -> list[dict[str, Any]]:
            told = []
            for key in chosen:
                lane = index.lane(key)
                for metric in ("score", "layer") if lane is not None else ():
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

    async def media(self, request: Request) -> Any:
        shelf = await self._shelf(request)
        room, directory = shelf.room, self._library.directory
        keys = parameters.words(request, "lanes", 24)
        from_ns, to_ns = parameters.span(request)
        session = parameters.integer(request, "session", 0)

        def choose(index: TimelineIndex) -> tuple[list[Viewed], int, tuple[int, int]]:
            numbers = peers_of(index, session, keys)
            chosen = [
                viewed(index, number, shelf.names, from_ns, to_ns)
                for number in numbers[:MEDIA_PEERS_MAX]
            ]
            runs = _sessions(index)
            run = next((each for each in runs if each["number"] == session), None)
            last = (run["begin"], run["end"]) if run else (1, index.position)
            return chosen, len(numbers), last

        chosen, total, (first, last) = await self._library.ask(shelf, choose)
        found = await self._library.read(
            lambda _reader: (
                served(directory, room, chosen, from_ns, to_ns)
                | {"recordings": recordings(directory, room, first, last)}
            )
        )
        return found | {"total": total}

    async def recording(self, request: Request) -> Any:
        """A recording without addresses and names: a file goes further than a page."""
        room = request.path_params["room"]
        position, transport = request.path_params["position"], request.path_params["transport"]
        reader = Recordings(self._library.directory)

        def written(_log: LogReader) -> bytes | None:
            for one in reader.of_room(room, transport=transport):
                if one.position == position:
                    found = [(one, reader.packets(room, one))]
                    return b"".join(pcapng.export(found, pseudonym=Redactor().host))
            return None

        try:
            content = await self._library.read(written)
        except StoreMissing:
            content = None
        if content is None:
            raise parameters.WrongParameter(f"there is no recording at position {position}")
        return Response(
            content,
            headers={
                "cache-control": "no-store",
                "content-disposition": f'attachment; filename="{position}.pcapng"',
            },
            media_type="application/vnd.tcpdump.pcap",
        )

    async def tail(self, request: Request) -> Any:
        room = request.path_params["room"]
        after = parameters.integer(request, "after")
        wait_s = parameters.integer(request, "wait", TAIL_WAIT_S, 0, TAIL_WAIT_S)
        place = await self._library.follow(room, after, wait_s)
        is_open = await self._library.read(lambda reader: reader.is_open(room))
        return {"end": place.position, "end_ns": place.at_ns, "open": is_open}

    async def _shelf(self, request: Request) -> Shelf:
        return await self._library.shelf(request.path_params["room"])


def _sessions(index: TimelineIndex) -> list[dict[str, Any]]:
    told = []
    for number, session in enumerate(index.sessions[-500:], max(0, len(index.sessions) - 500)):
        following = index.sessions[number + 1 : number + 2]
        last = following[0].begin - 1 if following else index.position
        told.append(
            {
                "number": number,
                "begin": session.begin,
                "begin_ns": index.time(session.begin),
                "end": last,
                "end_ns": index.time(last),
                "closed": bool(session.end),
                "peers": session.peers,
                "peers_max": session.peers_max,
            }
        )
    return told


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


def _small(value: Any) -> Any:
    """A value of a change, with what is large told by its size alone."""
    if isinstance(value, dict | list) and len(msgspec.json.encode(value)) > 400:
        return {"…": len(value)}
    return value


def _json(tree: object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(tree),
        status,
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )


def _error(status: int, code: str, message: str, **more: Any) -> Response:
    return _json({"error": {"code": code, "message": message, **more}}, status)
