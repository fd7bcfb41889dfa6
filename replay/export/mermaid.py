"""A Mermaid sequence diagram: clients, the media plane, and actors telling each other.

Diagrams are for stretches that a person can take in: after `ARROWS_MAX` messages it says how many
more there are. Choose a stretch with --since and --until.
"""

from __future__ import annotations

from collections.abc import Iterator

from protocol.envelope import Envelope
from replay.export.source import Source
from replay.text import payload, printable

ARROWS_MAX = 400
"""Mermaid draws at most 500 arrows unless it is told otherwise."""

_PLANE, _SERVER = "media plane", "server"
_NOTICES = frozenset(
    (
        "IceStateChanged", "IceTupleChanged", "DtlsStateChanged", "ProducerStreamLearned",
        "ProducerActivityChanged", "ProducerDemandChanged", "ProducerScore", "ConsumerScore",
        "LayersChanged", "BandwidthEstimated", "KeyFrameRequested", "OrderRefused", "PlaneLost",
    )
)  # fmt: skip
_ENTITIES = {"#": "#35;", ";": "#59;", "<": "#lt;", ">": "#gt;"}


class _Diagram:
    def __init__(self) -> None:
        self.participants: dict[str, str] = {}
        self.lines: list[str] = []
        self.arrows = 0
        self.left_out = 0
        self._actors: dict[int, str] = {}
        self._events: list[str] = []
        self._actor = ""

    def take(self, envelope: Envelope) -> None:
        """Draw one more envelope."""
        if envelope.kind == "event":
            if self._actor == envelope.actor:
                self._events.append(envelope.type)
            return
        self.note_events()
        if self.arrows >= ARROWS_MAX:
            self.left_out += 1
            self._actor = ""
            return
        self.arrows += 1
        self._actors[envelope.position] = envelope.actor
        self._actor = envelope.actor
        to = self._participant(envelope.actor)
        sender = self._participant(self._sender(envelope))
        self.lines.append(f"    {sender}->>{to}: {envelope.position} {_text(envelope.type)}")

    def note_events(self) -> None:
        """Note what the last message led to."""
        if self._events:
            said = ", ".join(map(_text, self._events))
            self.lines.append(f"    Note over {self._participant(self._actor)}: {said}")
        self._events = []

    def _sender(self, envelope: Envelope) -> str:
        if envelope.type == "TimerFired":
            return envelope.actor
        if envelope.cause is not None:
            return self._actors.get(envelope.cause, _SERVER)
        if envelope.type in _NOTICES:
            return _PLANE
        if envelope.correlation is None:
            return _SERVER
        asked = payload(envelope.data)
        peer = asked.get("peer") if isinstance(asked, dict) else None
        return f"peer {peer}" if isinstance(peer, str) else "a client"

    def _participant(self, name: str) -> str:
        return self.participants.setdefault(name, f"n{len(self.participants)}")


def export(source: Source) -> Iterator[str]:
    """Write the diagram. Keeps at most `ARROWS_MAX` messages."""
    diagram = _Diagram()
    for envelope in source.envelopes():
        diagram.take(envelope)
    diagram.note_events()
    yield "sequenceDiagram\n"
    for name, short in diagram.participants.items():
        yield f"    participant {short} as {_text(name)}\n"
    for line in diagram.lines:
        yield line + "\n"
    if diagram.left_out:
        told = f"{diagram.left_out} more messages are left out"
        yield f"    Note over {next(iter(diagram.participants.values()))}: {told}\n"


def _text(text: str) -> str:
    """A text that Mermaid takes for nothing else."""
    return "".join(_ENTITIES.get(letter, letter) for letter in printable(text))
