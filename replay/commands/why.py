"""`reprise replay why`: the causes and effects of a position."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from protocol.envelope import Envelope
from replay.causes import Link, as_map, story, tree_map
from replay.commands.common import (
    INSTANTS,
    data_option,
    echo_json,
    echo_line,
    json_option,
    one_line_errors,
    progress,
)
from replay.explain import sentence
from replay.grounds import grounds
from replay.history import History
from replay.reader import LogReader
from replay.snapshots import Snapshots
from replay.text import printable, utc


@click.command(epilog=INSTANTS, context_settings={"ignore_unknown_options": True})
@click.argument("room")
@click.argument("instant")
@data_option
@json_option("One JSON object.")
@one_line_errors
def why(room: str, instant: str, directory: Path, *, as_json: bool) -> None:
    """Tell why something happened in ROOM at INSTANT, and what came of it.

    First the chain of causes, from the request or notice that began it; then all that followed
    from the decision, as a tree.
    """
    with LogReader(directory) as reader:
        history = History(reader, room)
        position = history.position_of(instant)
        end = history.last_position
        with progress("Looking for effects", end, position) as note:
            told = story(reader, room, position, end, note)
        with Snapshots(directory) as snapshots:
            known = grounds(reader, History(reader, room, snapshots), told.chain[-1])
    if as_json:
        echo_json(
            {
                "room": room,
                "position": position,
                "correlation": told.correlation,
                "grounds": known,
                "causes": [as_map(envelope) for envelope in told.chain],
                "effects": tree_map(told.effects),
            }
        )
        return
    request = f", request {printable(told.correlation)}" if told.correlation else ""
    click.secho(f"Why position {position} of {printable(room)}{request}", bold=True)
    for depth, envelope in enumerate(told.chain):
        arrow = "" if depth == 0 else "└ "
        line = "  " * max(0, depth - 1) + arrow + _line(envelope, told.chain[0].at_ns)
        echo_line(line, bold=depth == len(told.chain) - 1)
    if known is not None:
        echo_line(f"Grounds: {printable(known)}")
    count = told.effects.count() - 1
    click.secho(f"What came of it: {count} more", bold=True)
    for link, indent in _branches(told.effects):
        begin = told.chain[0].at_ns
        colour = "yellow" if link.envelope.position == position else None
        echo_line(indent + _line(link.envelope, begin), colour=colour)


def _line(envelope: Envelope, begin_ns: int) -> str:
    after_ms = (envelope.at_ns - begin_ns) / 1_000_000
    when = utc(envelope.at_ns, date=False) if not after_ms else f"+{after_ms:.3f} ms"
    return f"{envelope.position} {sentence(envelope)} ({when})"


def _branches(root: Link) -> Iterator[tuple[Link, str]]:
    """Walk a tree from the top down; each link with the lines that lead to it."""
    rest = [(root, "", "")]
    while rest:
        link, indent, below = rest.pop()
        yield link, indent
        for n, effect in enumerate(reversed(link.effects)):
            mark, space = ("└ ", "  ") if n == 0 else ("├ ", "│ ")
            rest.append((effect, below + mark, below + space))
