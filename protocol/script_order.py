"""In which order the steps of different clients must come, whatever the speed. Pure.

A recorded viewer that watched a stream just before its publisher ended it must do so again, or it
is refused; one that came just too late must come too late. So the steps that touch one published
stream keep the order of the recording: the steps of its viewers and those of its publisher stand in
turns, and a turn begins when the one before it is over. Within a turn nobody waits for anybody.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from protocol import script
from protocol.script import Script, ScriptedPeer, Step


class Turn(Struct, frozen=True):
    """A place in the order of one stream."""

    producer: str
    number: int
    """From 0."""


class Order(Struct, frozen=True):
    """The turns of a script."""

    turns: dict[int, tuple[Turn, ...]]
    """That a step belongs to, by its position; steps that touch no stream are not there."""
    sizes: dict[Turn, int]
    """How many steps each turn has."""


class _Touch(Struct, frozen=True):
    position: int
    producer: str
    publishes: bool
    """By its publisher, not by a viewer."""


def order_of(made: Script) -> Order:
    """Find the turns of a script."""
    producer_of: dict[str, str] = {}
    for peer in made.peers:
        for step in peer.steps:
            match step.action:
                case script.Watch(consumer=consumer, producer=producer):
                    producer_of[consumer] = producer
                case _:
                    pass
    touches = [touch for peer in made.peers for touch in _touches(peer, producer_of)]
    touches.sort(key=lambda touch: touch.position)
    latest: dict[str, tuple[int, bool]] = {}
    turns: dict[int, list[Turn]] = {}
    sizes: dict[Turn, int] = {}
    for touch in touches:
        number, publishes = latest.get(touch.producer, (0, touch.publishes))
        if publishes != touch.publishes:
            number += 1
        latest[touch.producer] = (number, touch.publishes)
        turn = Turn(touch.producer, number)
        turns.setdefault(touch.position, []).append(turn)
        sizes[turn] = sizes.get(turn, 0) + 1
    return Order({position: tuple(found) for position, found in turns.items()}, sizes)


def _touches(peer: ScriptedPeer, producer_of: dict[str, str]) -> Iterator[_Touch]:
    """What the steps of a client touch."""
    published: dict[str, str] = {}
    watched: dict[str, str] = {}
    for step in peer.steps:
        match step.action:
            case script.Publish(producer=producer, transport=transport):
                published[producer] = transport
                yield _Touch(step.position, producer, publishes=True)
            case script.Watch(producer=producer, transport=transport):
                watched.setdefault(producer, transport)
                yield _Touch(step.position, producer, publishes=False)
            case script.Ask(thing="producer", label=producer):
                yield _Touch(step.position, producer, publishes=producer in published)
            case script.Ask(thing="consumer", label=consumer) if consumer in producer_of:
                yield _Touch(step.position, producer_of[consumer], publishes=False)
            case _:
                yield from _endings(step, published, watched)


def _endings(step: Step, published: dict[str, str], watched: dict[str, str]) -> Iterator[_Touch]:
    """What a step ends with a transport, or with everything."""
    match step.action:
        case script.Leave():
            ends: str | None = None
        case script.HangUp(transport=transport):
            ends = transport
        case script.Ask(method="closeTransport", label=transport):
            ends = transport
        case _:
            return
    for producer, transport in published.items():
        if ends in (None, transport):
            yield _Touch(step.position, producer, publishes=True)
    for producer, transport in watched.items():
        if ends in (None, transport) and producer not in published:
            yield _Touch(step.position, producer, publishes=False)
