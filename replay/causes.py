"""Why something happened: its chain of causes, and all that followed from it.

A message's cause is the message whose decision sent it (or set the timer that sent it); an
event's cause is the message that it was decided upon. A chain begins with what came from outside:
a client's request, a notice of the media plane, a message of the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from protocol.envelope import Envelope
from replay.errors import WrongInstant
from replay.explain import sentence
from replay.history import Progress
from replay.reader import LogReader

_GAP_MAX = 64
"""Positions that lie no further apart are read in one go."""


class Link(Struct):
    """An envelope and all that it caused, in order."""

    envelope: Envelope
    effects: list[Link]

    def count(self) -> int:
        """How many envelopes are in the tree, with this one."""
        total, rest = 0, [self]
        while rest:
            link = rest.pop()
            total += 1
            rest.extend(link.effects)
        return total


class Story(Struct, frozen=True):
    """Why an envelope is there, and what came of it."""

    chain: list[Envelope]
    """From the beginning to the envelope asked for."""
    effects: Link
    """Of the envelope, or of the message that it was decided upon if it is an event."""

    @property
    def correlation(self) -> str | None:
        """Id of the client's request that all this began with."""
        return next((e.correlation for e in reversed(self.chain) if e.correlation), None)


def _ignore(_position: int) -> None:
    pass


def story(
    reader: LogReader, room: str, position: int, end: int, progress: Progress = _ignore
) -> Story:
    """Tell the story of a position; effects are looked for up to `end`.

    Raises `WrongInstant` for position 0; `LogDamaged` if what is needed is damaged.
    """
    if position < 1:
        raise WrongInstant("there is nothing at position 0: positions begin with 1")
    chain = [_one(reader, room, position)]
    while (cause := chain[-1].cause) is not None:
        chain.append(_one(reader, room, cause))
    chain.reverse()
    decision = chain[-1]
    if decision.kind == "event" and len(chain) > 1:
        decision = chain[-2]
    return Story(chain, _effects(reader, room, decision, end, progress))


def _effects(reader: LogReader, room: str, root: Envelope, end: int, progress: Progress) -> Link:
    tree = Link(root, [])
    known = reader.effects(room, root.position, end)
    caused_by = _scanned(reader, room, root, end, progress) if known is None else dict(known)
    links = {root.position: tree}
    for envelope in _some(reader, room, caused_by):
        link = links[envelope.position] = Link(envelope, [])
        links[caused_by[envelope.position]].effects.append(link)
    return tree


def _scanned(
    reader: LogReader, room: str, root: Envelope, end: int, progress: Progress
) -> dict[int, int]:
    """Position and cause of all that followed, found by looking at everything behind the root."""
    caused_by: dict[int, int] = {}
    reached = {root.position}
    for position, cause in reader.causes(room, root.position, end):
        if cause in reached:
            reached.add(position)
            caused_by[position] = cause
        if not position & 0xFFFF:
            progress(position)
    return caused_by


def _one(reader: LogReader, room: str, position: int) -> Envelope:
    return next(_some(reader, room, (position,)))


def _some(reader: LogReader, room: str, positions: Iterable[int]) -> Iterator[Envelope]:
    """Read envelopes at rising positions, each checked against the one before it."""
    wanted = list(positions)
    begin = 0
    for at, position in enumerate(wanted):
        last = at + 1 == len(wanted)
        if last or wanted[at + 1] - position > _GAP_MAX:
            stretch = set(wanted[begin : at + 1])
            for batch in reader.batches(room, wanted[begin] - 1, position):
                yield from reader.revealer.envelopes(
                    envelope for envelope in batch if envelope.position in stretch
                )
            begin = at + 1


def as_map(envelope: Envelope) -> dict[str, Any]:
    """What is told of an envelope in a story, for JSON."""
    return {
        "position": envelope.position,
        "at_ns": envelope.at_ns,
        "actor": envelope.actor,
        "kind": envelope.kind,
        "type": envelope.type,
        "cause": envelope.cause,
        "correlation": envelope.correlation,
        "sentence": sentence(envelope),
    }


def tree_map(link: Link) -> dict[str, Any]:
    """A tree of effects, for JSON."""
    built = as_map(link.envelope) | {"effects": []}
    rest = [(link, built)]
    while rest:
        parent, shown = rest.pop()
        for effect in parent.effects:
            child: dict[str, Any] = as_map(effect.envelope) | {"effects": []}
            shown["effects"].append(child)
            rest.append((effect, child))
    return built
