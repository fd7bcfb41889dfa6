"""A room's state as a document: plain maps, lists and values, for people, JSON and expressions.

    room         the directory: settings, peers, transports, producers, consumers, streaming, …
    transports   by id, what each transport's actor knows: ICE, DTLS, …
    producers    by id
    consumers    by id

An actor is in the document while it stands in the room's directory. A `Document` follows a fold and
renders anew only what an event has touched.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.core.deciders import decider_at
from protocol import events
from protocol.ids import ROOM, Address
from protocol.personal import holds_concealed
from replay.fold import Fold
from replay.revealer import Revealer, forgotten

SECTIONS = ("transports", "producers", "consumers")
"""The kinds of actors beside the room."""

_ENTRIES = ("peers", *SECTIONS)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def _plain(value: Any, revealer: Revealer | None) -> Any:
    """Turn structs into maps and tuples into lists, as JSON and expressions know them."""
    packed = _encode(value)
    plain = _decode(packed)
    if not holds_concealed(packed):
        return plain
    return forgotten(plain) if revealer is None else revealer.shown(plain)


def render(fold: Fold, revealer: Revealer | None = None) -> dict[str, Any]:
    """The whole state of a room; empty sections and an empty map for a room never opened.

    Personal data is shown as far as `revealer` reveals it.
    """
    document: dict[str, Any] = {"room": {}} | {section: {} for section in SECTIONS}
    for address, state in fold.listed().items():
        kind, _, entity = address.partition("/")
        if address == ROOM:
            document["room"] = _plain(state, revealer)
        else:
            document[kind + "s"][entity] = _plain(state, revealer)
    return document


class Document:
    """The document of a fold, kept up to date event by event. `root` is it."""

    def __init__(self, fold: Fold, revealer: Revealer | None = None) -> None:
        self._fold = fold
        self._revealer = revealer
        self.root = render(fold, revealer)

    def update(self, actor: str, event: Any) -> frozenset[str]:
        """Follow an event that the fold has just applied; return the sections that it touched."""
        if isinstance(event, events.CommandRefused | events.ActorFailed):
            return frozenset()
        if actor != ROOM:
            kind, _, entity = actor.partition("/")
            return frozenset((kind + "s",)) if self._show(kind, entity) else frozenset()
        if isinstance(event, events.RoomOpened | events.RoomClosed):
            self.root.clear()
            self.root.update(render(self._fold, self._revealer))
            return frozenset(("room", *SECTIONS))
        touched = {"room"}
        self._update_room(event)
        for kind in ("transport", "producer", "consumer"):
            named: str | None = getattr(event, kind, None)
            if named is not None and self._show(kind, named, again=False):
                touched.add(kind + "s")
        return frozenset(touched)

    def _show(self, kind: str, entity: str, *, again: bool = True) -> bool:
        """Bring one actor's part in line with the directory and its state."""
        shown = self.root[kind + "s"]
        if entity not in getattr(self._fold.room, kind + "s"):
            return shown.pop(entity, None) is not None
        if entity in shown and not again:
            return False
        address = Address(f"{kind}/{entity}")
        state = self._fold.states.get(address)
        state = decider_at(address).initial() if state is None else state
        shown[entity] = _plain(state, self._revealer)
        return True

    def _update_room(self, event: Any) -> None:
        """Render the room's own values, and those entries that the event names or hangs on."""
        room, shown = self._fold.room, self.root["room"]
        pending = [
            (section, entity)
            for section in _ENTRIES
            if (entity := getattr(event, section[:-1], None)) is not None
        ]
        pending += [
            (section, entry[section[:-1]])
            for owned, name in pending
            if (entry := shown[owned].get(name)) is not None
            for section in _ENTRIES
            if section[:-1] in entry
        ]
        for section, entity in pending:
            entries = getattr(room, section)
            if entity in entries:
                shown[section][entity] = _plain(entries[entity], self._revealer)
            else:
                shown[section].pop(entity, None)
        for name in room.__struct_fields__:
            if name not in _ENTRIES and name != "settings":
                shown[name] = _plain(getattr(room, name), self._revealer)
