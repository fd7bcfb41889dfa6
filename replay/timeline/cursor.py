"""The state of a room where someone looks, moved on step by step.

Stepping forward costs what happened in between, not the whole log; anywhere else is found from the
snapshots. Everything here blocks.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from replay.difference import Change, difference
from replay.document import Document
from replay.fold import Fold
from replay.history import History
from replay.uncollected import uncollected

NEAR_ENVELOPES = 20_000
"""How far ahead it is folded on; what is farther is looked for among the snapshots."""


class Shown(Struct):
    """A state, and what changed since the one before it. `document` moves on with the cursor."""

    position: int
    at_ns: int
    since: int
    """The position that the changes count from."""
    document: dict[str, Any]
    changes: list[Change]


class Cursor:
    """A place in a room's log with the state there."""

    def __init__(self) -> None:
        self._fold: Fold | None = None
        self._document: Document | None = None
        self._shown: Shown | None = None

    def at(self, history: History, position: int, since: int | None = None) -> Shown:
        """Go to a position; changes count from `since`, or from the position before.

        Raises `LogDamaged` and `LogNotUnderstood`; then the cursor is nowhere.
        """
        base = since if since is not None and 0 <= since < position else max(position - 1, 0)
        shown = self._shown
        if shown is not None and (shown.position, shown.since) == (position, base):
            return shown
        self._shown = None
        fold, document = self._moved(history, base)
        before = _shallow(document.root)
        self._advance(history, fold, document, position)
        self._fold, self._document = fold, document
        changes = difference(before, document.root)
        self._shown = Shown(position, fold.at_ns, base, document.root, changes)
        return self._shown

    def _moved(self, history: History, position: int) -> tuple[Fold, Document]:
        """Go somewhere, not to stay; afterwards the cursor is nowhere until it arrives."""
        fold, document = self._fold, self._document
        self._fold = self._document = None
        if (
            fold is None
            or document is None
            or not fold.position <= position <= fold.position + NEAR_ENVELOPES
        ):
            fold = history.at(position)
            with uncollected():
                return fold, Document(fold, history.revealer)
        self._advance(history, fold, document, position)
        return fold, document

    @staticmethod
    def _advance(history: History, fold: Fold, document: Document, position: int) -> None:
        if fold.position < position:
            for envelope, event in history.events(fold, position):
                if event is not None:
                    document.update(envelope.actor, event)


def _shallow(root: dict[str, Any]) -> dict[str, Any]:
    """The document as it is now: what changes in it is replaced, and never changed in place."""
    return {
        section: {
            name: dict(value) if section == "room" and isinstance(value, dict) else value
            for name, value in entries.items()
        }
        for section, entries in root.items()
    }
