"""Searching a room's log by what a person types.

    viewer 17               text: names, ids, types, sentences, payloads, request ids
    type:ConsumerScored     every envelope of a type
    peer:p_5fk              what happened to a peer and to all that it has; part of an id will do
    request:ses1-12         all that came of a client's request
    =length(room.peers)>`9` the first position at which a JMESPath expression over the state holds

Types and peers are answered from the index; everything else goes through the log, a stretch at a
time: an answer says how far it got, and the next question goes on from there.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from typing import Any

from msgspec import Struct

from protocol.envelope import Envelope
from replay.explain import sentence
from replay.history import History
from replay.reader import LogReader
from replay.search import Expression, find
from replay.timeline.index import TimelineIndex

FOUND_MAX = 60
LANES_MAX = 20
STRETCH_S = 0.4
"""How long one answer may look for."""
EXPRESSION_ENVELOPES = 8_192
"""How far one answer looks for an expression."""
TEXT_MAX = 300


class Found(Struct):
    """What one answer found."""

    positions: list[int]
    searched_to: int
    """Everything up to and with this position was looked at."""
    lanes: list[int]
    """Numbers of lanes that fit by id or name."""
    total: int | None = None
    """How many there are in all, where that is known."""


def look(  # noqa: PLR0917
    text: str,
    index: TimelineIndex,
    names: dict[str, str],
    reader: LogReader,
    history: History,
    after: int = 0,
) -> Found:
    """Look for a text behind a position. `names` are those of peers by their lane's key.

    Raises `WrongExpression`.
    """
    text = text.strip()[:TEXT_MAX]
    end = history.last_position
    if text.startswith("="):
        up_to = min(end, after + EXPRESSION_ENVELOPES)
        hit = find(history, Expression(text[1:].strip()), after, up_to)
        return Found([] if hit is None else [hit.envelope.position], up_to, [])
    word, colon, rest = text.partition(":")
    rest = rest.strip()
    if colon and word == "type":
        return _in_rows([rows for name, rows in index.types.items() if name == rest], after, index)
    if colon and word == "peer":
        lanes = _lanes(rest, index, names, prefix="peer/")
        rows = [each for n in lanes[:1] for each in index.lanes[n].inside.values()]
        found = _in_rows(rows, after, index)
        found.lanes = lanes
        return found
    if colon and word == "request":
        return _scan(lambda e: e.correlation == rest, index.room, reader, after, end)
    if not text:
        return Found([], end, [])
    folded = text.casefold()
    by_type = [rows for name, rows in index.types.items() if name.casefold() == folded]
    if by_type:
        return _in_rows(by_type, after, index)
    raw = text.encode()

    def fits(envelope: Envelope) -> bool:
        return (
            raw in envelope.data
            or text in envelope.actor
            or envelope.correlation == text
            or folded in envelope.type.casefold()
            or folded in sentence(envelope).casefold()
        )

    found = _scan(fits, index.room, reader, after, end)
    if not after:
        found.lanes = _lanes(text, index, names)
    return found


def _lanes(text: str, index: TimelineIndex, names: dict[str, str], prefix: str = "") -> list[int]:
    """Lanes whose id begins with a text or whose peer is named so."""
    folded = text.casefold()
    found = []
    for number, lane in enumerate(index.lanes):
        kind, _, entity = lane.key.partition("/")
        if not lane.key.startswith(prefix) or not entity:
            continue
        if (
            entity.startswith(text)
            or lane.key.startswith(text)
            or (kind == "peer" and folded in names.get(lane.key, "").casefold())
        ):
            found.append(number)
            if len(found) == LANES_MAX:
                break
    return found


def _in_rows(lists: list[Any], after: int, index: TimelineIndex) -> Found:
    positions: list[int] = []
    total = 0
    for rows in lists:
        total += len(rows)
        begin = bisect_right(rows, after)
        positions.extend(rows[begin : begin + FOUND_MAX])
    positions = sorted(positions)[:FOUND_MAX]
    full = len(positions) == FOUND_MAX
    return Found(positions, positions[-1] if full else index.position, [], total)


def _scan(fits: Any, room: str, reader: LogReader, after: int, end: int) -> Found:
    deadline = time.monotonic() + STRETCH_S
    positions: list[int] = []
    reached = after
    for batch in reader.batches(room, after, end, batch=512):
        for envelope in reader.revealer.envelopes(batch):
            if fits(envelope):
                positions.append(envelope.position)
                if len(positions) == FOUND_MAX:
                    return Found(positions, envelope.position, [])
        reached = batch[-1].position
        if time.monotonic() > deadline:
            break
    return Found(positions, reached, [])


def next_anomaly(index: TimelineIndex, position: int, *, forward: bool) -> int | None:
    """The position of the nearest anomaly behind a position, or before it."""
    at = [anomaly.position for anomaly in index.anomalies]
    place = bisect_right(at, position) if forward else bisect_left(at, position) - 1
    return at[place] if 0 <= place < len(at) else None
