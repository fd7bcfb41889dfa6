"""Answers about one moment of a session: an event with its causes, the state, how media came."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.replay_api import parameters
from gateway.replay_api.library import Library, Shelf
from gateway.replay_api.telling import Teller, event_map
from replay.causes import story
from replay.export import pcapng
from replay.grounds import grounds
from replay.history import History
from replay.reader import LogReader
from replay.recordings import Recordings
from replay.redact import Redactor
from replay.snapshots import Snapshots
from replay.store.errors import StoreMissing
from replay.text import as_map as envelope_map
from replay.timeline import finder, queries
from replay.timeline.index import TimelineIndex
from replay.timeline.outline import outline
from replay.timeline.served import Viewed, peers_of, recordings, served, viewed

MEDIA_PEERS_MAX = 40
EFFECTS_MAX = 300
EFFECTS_SEARCHED = 100_000
"""How far behind a decision its effects are looked for."""
CHANGES_MAX = 200


class Moment:
    """Handlers that each give plain values for JSON, or a file."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def event(self, request: Request) -> Any:
        """One envelope with its payload."""
        shelf = await self._shelf(request)
        position = request.path_params["position"]
        rows = await self._library.read(
            lambda reader: reader.revealer.envelopes(reader.some(shelf.room, [position]))
        )
        if not rows:
            raise parameters.WrongParameter(f"there is nothing at position {position}")
        return event_map(rows[0], shelf) | {"data": envelope_map(rows[0])["data"]}

    async def state(self, request: Request) -> Any:
        """The state as far as it is unfolded, and what just changed."""
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
        """What led to a position, on what grounds, and what came of it."""
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
        """Positions that have a text, or at which an expression first holds."""
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

    async def media(self, request: Request) -> Any:
        """How well media came, and the recordings."""
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
            runs = queries.runs(index)
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

    async def _shelf(self, request: Request) -> Shelf:
        return await self._library.shelf(request.path_params["room"])


def _small(value: Any) -> Any:
    """A value of a change, with what is large told by its size alone."""
    if isinstance(value, dict | list) and len(msgspec.json.encode(value)) > 400:
        return {"…": len(value)}
    return value
