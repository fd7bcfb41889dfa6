"""What one recorded client did, met and was told, while its script is being made."""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec import Struct

from protocol.notifications import Notification
from protocol.script import Action, Figures, ScriptedPeer, Step

_SAMPLES = 64
"""Of each kind of notification so many are looked at to see how surely it is told."""


class Draft(Struct):
    """A step whose outcome is not known yet."""

    at_ns: int
    position: int
    command: Any
    refused: str | None = None
    action: Action | None = None


class _Told(Struct):
    """A notification that followed from what clients did."""

    at_ns: int
    since_ns: int
    """How long the thing that it is about had been there."""


class CastMember:
    """A recorded client. Times are those of the log."""

    def __init__(self, peer: str, name: str, joined_at_ns: int) -> None:
        self.peer = peer
        self.name = name
        self.drafts: list[Draft] = []
        self.told: Counter[str] = Counter()
        self.present = True
        self.attached = True
        self.consumers: list[str] = []
        self._samples: dict[str, list[_Told]] = {}
        self._edges = [joined_at_ns]
        """When it came, went, lost its socket and came back."""
        self._missed: Counter[str] = Counter()

    def edge(self, at_ns: int) -> None:
        """Note that it came or went: what is told around that time may be missed."""
        self._edges.append(at_ns)

    def detach(self, at_ns: int) -> None:
        """It has no socket."""
        self.attached = False
        self.edge(at_ns)

    def attach(self, at_ns: int) -> None:
        """It is back, and hears what it missed."""
        self.attached = True
        self.edge(at_ns)
        self.told += self._missed
        self._missed.clear()

    def leave(self, at_ns: int) -> None:
        """It is out of the room."""
        self.present = False
        self.edge(at_ns)

    def tell(self, notification: Notification, at_ns: int, since_ns: int | None) -> None:
        """Note what it was told; `since_ns` only where it follows from what clients did."""
        if not self.attached:
            self._missed[notification.name] += 1
            return
        self.told[notification.name] += 1
        samples = self._samples.setdefault(notification.name, [])
        if since_ns is not None and len(samples) < _SAMPLES:
            samples.append(_Told(at_ns, since_ns))

    def finish(
        self, begins_at_ns: int, ends_at_ns: int, steps: list[Step], figures: Figures
    ) -> ScriptedPeer:
        """Give the client's part; `figures` gets what it was told."""
        edges = [*self._edges, ends_at_ns]
        sure_ns = {
            kind: max(min(one.since_ns, *(abs(one.at_ns - edge) for edge in edges)) for one in all_)
            for kind, all_ in self._samples.items()
            if all_
        }
        figures.notifications = dict(self.told)
        return ScriptedPeer(
            peer=self.peer,
            name=self.name,
            steps=tuple(_in_order(begins_at_ns, steps)),
            recorded=figures,
            sure_ns=sure_ns,
        )


def _in_order(begins_at_ns: int, steps: list[Step]) -> list[Step]:
    """Steps in order of time, which count from the script's beginning and do not fall."""
    ordered = sorted(steps, key=lambda step: (step.at_ns, step.position))
    made: list[Step] = []
    at_ns = 0
    for step in ordered:
        at_ns = max(at_ns, step.at_ns - begins_at_ns)
        made.append(
            Step(
                at_ns=at_ns,
                position=step.position,
                action=step.action,
                refused=step.refused,
                tolerant=step.tolerant,
            )
        )
    return made
