"""`reprise replay show`: the messages and events of a room."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from protocol.envelope import Envelope
from replay.commands.common import (
    INSTANTS,
    data_option,
    echo_json,
    echo_row,
    json_option,
    one_line_errors,
    widths_of,
)
from replay.history import History
from replay.reader import LogReader
from replay.text import as_map, compact, mentions_peer, payload, printable, utc

FOLLOW_S = 0.2
"""How often a live log is looked at."""


@click.command(epilog=INSTANTS)
@click.argument("room")
@data_option
@json_option()
@click.option("--peer", help="Only what names this peer in its payload.")
@click.option("--actor", help="Only this actor: room, transport/ID, producer/ID, consumer/ID …")
@click.option("--type", "types", multiple=True, help="Only this type; may be given again.")
@click.option("--correlation", help="Only what this client request caused.")
@click.option("--since", metavar="INSTANT", help="Begin with this instant.")
@click.option("--until", metavar="INSTANT", help="End with this instant.")
@click.option("--after", type=click.IntRange(0), default=0, help="Begin after this position.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@click.option("--follow", "-f", is_flag=True, help="Go on as the room does, until it closes.")
@one_line_errors
def show(
    room: str,
    directory: Path,
    *,
    as_json: bool,
    peer: str | None,
    actor: str | None,
    types: tuple[str, ...],
    correlation: str | None,
    since: str | None,
    until: str | None,
    after: int,
    limit: int | None,
    follow: bool,
) -> None:
    """Show the messages and events of ROOM in their order.

    With --follow it goes on until the room closes or Ctrl-C is pressed.
    """
    if follow and until is not None:
        raise click.UsageError("--follow has no end: it cannot be used with --until")
    show_batch = _echo_json_batch if as_json else Rows()
    with LogReader(directory) as reader:
        up_to = None
        if since is not None or until is not None:
            history = History(reader, room)
            after = after if since is None else max(after, history.before(since))
            up_to = None if until is None else history.up_to(until)

        def batches(after: int, up_to: int | None) -> Iterator[list[Envelope]]:
            return reader.batches(
                room, after, up_to, actor=actor, types=types or None, correlation=correlation
            )

        chosen = _followed(reader, room, after, batches) if follow else batches(after, up_to)
        chosen = map(reader.revealer.envelopes, chosen)
        try:
            for batch in _limited(_of_peer(chosen, peer), limit):
                show_batch(batch)
        except KeyboardInterrupt:
            if not follow:
                raise


def _followed(
    reader: LogReader,
    room: str,
    after: int,
    batches: Callable[[int, int | None], Iterator[list[Envelope]]],
) -> Iterator[list[Envelope]]:
    """Give what is there and what comes, until the room is closed and all of it was given."""
    while True:
        is_open = reader.is_open(room)  # before the end is looked for: what closed it is in then
        end, damage = reader.end(room)
        yield from batches(after, None if damage is not None else end.position)
        grown = end.position > after
        after = max(after, end.position)
        if not is_open and not grown:
            return
        time.sleep(FOLLOW_S)


def _of_peer(batches: Iterator[list[Envelope]], peer: str | None) -> Iterator[list[Envelope]]:
    if peer is None:
        return batches
    return ([e for e in batch if mentions_peer(payload(e.data), peer)] for batch in batches)


def _limited(batches: Iterator[list[Envelope]], limit: int | None) -> Iterator[list[Envelope]]:
    for batch in batches:
        yield batch[:limit]
        if limit is not None:
            limit -= len(batch)
            if limit <= 0:
                return


def _echo_json_batch(batch: list[Envelope]) -> None:
    for envelope in batch:
        echo_json(as_map(envelope))


class Rows:
    """Prints envelopes as rows; columns grow with what they hold."""

    _COLUMNS = ("POSITION", "TIME (UTC)", "CAUSE", "ACTOR", "TYPE", "CORRELATION", "DATA")

    def __init__(self) -> None:
        self._widths = [0] * len(self._COLUMNS)
        self._day = ""

    def __call__(self, batch: list[Envelope]) -> None:
        """Print some more."""
        if not batch:
            return
        first = self._widths[0] == 0
        rows = [_row(envelope) for envelope in batch]
        self._widths = widths_of([self._COLUMNS, *rows], self._widths)
        if first:
            echo_row(self._COLUMNS, self._widths, bold=True)
        for envelope, row in zip(batch, rows, strict=True):
            day = utc(envelope.at_ns).partition(" ")[0]
            if day != self._day:
                click.secho(f"── {day}", dim=True)
                self._day = day
            echo_row(row, self._widths, colour="cyan" if envelope.kind == "message" else None)


def _row(envelope: Envelope) -> tuple[str, ...]:
    arrow = "→ " if envelope.kind == "message" else "  "
    return (
        str(envelope.position),
        utc(envelope.at_ns, date=False),
        "-" if envelope.cause is None else str(envelope.cause),
        printable(envelope.actor),
        arrow + printable(envelope.type),
        "-" if envelope.correlation is None else printable(envelope.correlation),
        compact(payload(envelope.data)),
    )
