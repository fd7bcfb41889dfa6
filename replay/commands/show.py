"""`reprise replay show`: the messages and events of a room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from protocol.envelope import Envelope
from replay.commands.common import (
    data_option,
    echo_json,
    echo_row,
    json_option,
    one_line_errors,
    widths_of,
)
from replay.reader import LogReader
from replay.text import as_map, compact, mentions_peer, payload, printable, utc


@click.command()
@click.argument("room")
@data_option
@json_option()
@click.option("--peer", help="Only what names this peer in its payload.")
@click.option("--actor", help="Only this actor: room, transport/ID, producer/ID, consumer/ID …")
@click.option("--type", "types", multiple=True, help="Only this type; may be given again.")
@click.option("--correlation", help="Only what this client request caused.")
@click.option("--after", type=click.IntRange(0), default=0, help="Begin after this position.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
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
    after: int,
    limit: int | None,
) -> None:
    """Show the messages and events of ROOM in their order."""
    show_batch = _echo_json_batch if as_json else Rows()
    with LogReader(directory) as reader:
        batches = reader.batches(
            room, after, actor=actor, types=types or None, correlation=correlation
        )
        for batch in _limited(_of_peer(batches, peer), limit):
            show_batch(batch)


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
