"""Forgetting one person: a peer's personal data becomes unreadable, and the log stays as it is.

The log, its archives and the snapshots hold that data concealed, so its key is destroyed. What
stands in clear beside the log goes too: recordings of the peer's transports, which bear addresses.
Caches of the room are deleted, to be made anew. Telemetry holds nothing but figures under ids,
which name nobody any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from protocol import events
from protocol.personal import CannotReveal, Concealed, shown
from protocol.store_error import StoreError
from replay import recording_store
from replay.errors import ReplayError
from replay.fold import event_of
from replay.key_file import KeyFile
from replay.reader import LogReader
from replay.store.errors import StoreReadFailed
from replay.store.sqlite import held
from replay.upkeep import forget_caches

_LOOKED_AT = tuple(
    kind.__name__
    for kind in (
        events.PeerJoined,
        events.TransportAdded,
        events.ProducerAdded,
        events.IceChanged,
        events.TransportConnecting,
    )
)


class Person(Struct, kw_only=True):
    """A peer of a room's log, and where its data is."""

    peer: str
    name: str
    """As far as it can be revealed."""
    joined_at_ns: int
    key: bytes | None
    """Id of its key; None for one that joined under a release without keys."""
    is_known: bool
    """Whether its data can be revealed, or stands in clear."""
    transports: list[str] = []
    in_clear: int = 0
    """Values of it that stand in the log in clear, and stay there."""


class Forgotten(Struct, frozen=True, kw_only=True):
    """What came of forgetting a person."""

    peer: str
    keys: int
    """Keys destroyed: 1, or 0 if there was none any more."""
    recordings: int
    """Parts of recordings deleted."""
    in_clear: int
    """Values that stand in the log in clear, and stay there; see `Person`."""


def people(reader: LogReader, room: str) -> dict[str, Person]:
    """All peers of a room's log by id, in the order of their joining. Blocks.

    Goes through the whole log. Raises `UnknownRoom`, and what else reading it raises.
    """
    found: dict[str, Person] = {}
    owners: dict[str, Person] = {}
    for batch in reader.batches(room, types=_LOOKED_AT):
        for envelope in batch:
            event = event_of(envelope)
            match event:
                case events.PeerJoined():
                    found[event.peer] = _joined(reader, event, envelope.at_ns)
                case events.TransportAdded():
                    owner = owners[f"transport/{event.transport}"] = found[event.peer]
                    owner.transports.append(event.transport)
                case events.ProducerAdded(app_data=dict() as data) if data:
                    found[event.peer].in_clear += 1
                case events.IceChanged(remote=str()):
                    owners[envelope.actor].in_clear += 1
                case events.TransportConnecting(fingerprints=fingerprints):
                    plain = any(isinstance(each.value, str) for each in fingerprints)
                    owners[envelope.actor].in_clear += plain
    return found


def _joined(reader: LogReader, event: events.PeerJoined, at_ns: int) -> Person:
    name: Any = event.name
    is_known = True
    if isinstance(name, Concealed):
        try:
            name = reader.revealer.reveal(name)
        except CannotReveal:
            is_known = False
    return Person(
        peer=event.peer,
        name=str(shown(name)),
        joined_at_ns=at_ns,
        key=event.name.key if isinstance(event.name, Concealed) else None,
        is_known=is_known,
        in_clear=int(isinstance(event.name, str) and event.name != ""),
    )


def chosen(reader: LogReader, room: str, peers: Collection[str], name: str | None) -> list[Person]:
    """The people of a room with these ids, and those of this name, whatever its case.

    Raises `ReplayError` for an id that is not there, or if nobody has the name.
    """
    known = people(reader, room)
    for peer in peers:
        if peer not in known:
            raise ReplayError(f"there never was a peer {peer!r} in room {room!r}")
    wanted = dict.fromkeys(peers)
    if name is not None:
        folded = name.casefold()
        named = [each.peer for each in known.values() if each.name.casefold() == folded]
        if not named:
            raise ReplayError(f"nobody called {name!r} is in the log of room {room!r}")
        wanted |= dict.fromkeys(named)
    return [known[peer] for peer in wanted]


def forget(directory: Path, room: str, persons: Iterable[Person]) -> list[Forgotten]:
    """Forget people while no server runs. Blocks. Raises `StoreLocked` while one does."""
    with held(directory):
        file = KeyFile(directory, may_write=True)
        try:
            told = []
            for person in persons:
                destroyed = 0 if person.key is None else file.destroy([person.key])
                told.append(forget_elsewhere(directory, room, person, destroyed))
            return told
        finally:
            file.close()


def forget_elsewhere(directory: Path, room: str, person: Person, destroyed: int) -> Forgotten:
    """Delete what stands beside the log of a person whose key was destroyed. Blocks.

    Raises `StoreError` if something cannot be deleted; then it can be tried again.
    """
    try:
        recordings = recording_store.forget(directory, room, person.transports)
    except StoreError:
        raise
    except Exception as error:
        raise StoreReadFailed(f"recordings cannot be deleted: {error}") from error
    with LogReader(directory) as reader:
        last = reader.end(room)[0].position
    forget_caches(directory, room, last)
    return Forgotten(
        peer=person.peer, keys=destroyed, recordings=recordings, in_clear=person.in_clear
    )
