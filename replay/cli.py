"""`reprise replay`: look at the event log from outside, while a server runs or afterwards.

Every command leaves the log untouched. Errors are one line on stderr with exit code 1; a damaged
log is shown as far as it is sound, and then is such an error.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from protocol.envelope import Envelope
from replay.reader import LogReader
from replay.store.errors import StoreError
from replay.store.interface import RoomSummary
from replay.text import as_map, compact, mentions_peer, payload, printable, utc

_C = TypeVar("_C", bound=Callable[..., Any])


def data_option(command: _C) -> _C:
    """Give a command the option --data."""
    return click.option(
        "--data",
        "directory",
        type=click.Path(path_type=Path),
        default=Path("data"),
        show_default=True,
        envvar="REPRISE_DATA",
        show_envvar=True,
        help="Data directory of the server.",
    )(command)


def json_option(command: _C) -> _C:
    """Give a command the option --json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)


@click.group()
def replay() -> None:
    """Look at what happened in a session, event by event."""


@replay.command()
@data_option
@json_option
def rooms(directory: Path, *, as_json: bool) -> None:
    """List the rooms in the log."""
    try:
        with LogReader(directory) as reader:
            summaries, damage = reader.rooms()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        for summary in summaries:
            _echo_json(msgspec.to_builtins(summary))
    elif not summaries:
        click.echo("No rooms yet.")
    else:
        _echo_table(
            ("ROOM", "STATE", "POSITION", "MESSAGES", "EVENTS", "FIRST", "LAST"),
            [_room_row(summary) for summary in summaries],
        )
    for found in damage:
        click.echo(f"Error: {printable(str(found))}", err=True)
    if damage:
        sys.exit(1)


def _room_row(summary: RoomSummary) -> tuple[str, ...]:
    state = "damaged" if summary.damage is not None else "open" if summary.open else "closed"
    counted = summary.first_at_ns or summary.messages + summary.events
    return (
        printable(summary.room),
        state,
        str(summary.position),
        str(summary.messages),
        str(summary.events),
        utc(summary.first_at_ns) if counted else "-",
        utc(summary.last_at_ns) if counted else "-",
    )


@replay.command()
@click.argument("room")
@data_option
@json_option
@click.option("--peer", help="Only what names this peer in its payload.")
@click.option("--actor", help="Only this actor: room, transport/ID, producer/ID, consumer/ID …")
@click.option("--type", "types", multiple=True, help="Only this type; may be given again.")
@click.option("--correlation", help="Only what this client request caused.")
@click.option("--after", type=click.IntRange(0), default=0, help="Begin after this position.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
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
    show_batch = _echo_json_batch if as_json else _Rows()
    try:
        with LogReader(directory) as reader:
            batches = reader.batches(
                room, after, actor=actor, types=types or None, correlation=correlation
            )
            for batch in _limited(_of_peer(batches, peer), limit):
                show_batch(batch)
    except StoreError as error:
        raise click.ClickException(printable(str(error))) from error


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
        _echo_json(as_map(envelope))


class _Rows:
    """Prints envelopes as rows; columns grow with what they hold."""

    _COLUMNS = ("POSITION", "TIME (UTC)", "CAUSE", "ACTOR", "TYPE", "CORRELATION", "DATA")

    def __init__(self) -> None:
        self._widths = [0] * len(self._COLUMNS)
        self._day = ""

    def __call__(self, batch: list[Envelope]) -> None:
        if not batch:
            return
        first = self._widths[0] == 0
        rows = [_envelope_row(envelope) for envelope in batch]
        self._widths = _widths([self._COLUMNS, *rows], self._widths)
        if first:
            _echo_row(self._COLUMNS, self._widths, bold=True)
        for envelope, row in zip(batch, rows, strict=True):
            day = utc(envelope.at_ns).partition(" ")[0]
            if day != self._day:
                click.secho(f"── {day}", dim=True)
                self._day = day
            _echo_row(row, self._widths, colour="cyan" if envelope.kind == "message" else None)


def _envelope_row(envelope: Envelope) -> tuple[str, ...]:
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


def _echo_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = _widths([header, *rows], [0] * len(header))
    _echo_row(header, widths, bold=True)
    for row in rows:
        _echo_row(row, widths, colour="red" if "damaged" in row[1:2] else None)


def _widths(rows: list[tuple[str, ...]], least: list[int]) -> list[int]:
    return [max(width, *(len(row[n]) for row in rows)) for n, width in enumerate(least)]


def _echo_row(
    row: tuple[str, ...], widths: list[int], *, bold: bool = False, colour: str | None = None
) -> None:
    """Print a row, numbers to the right; on a terminal cut to its width and coloured."""
    cells = (
        cell.rjust(width) if cell.isdecimal() else cell.ljust(width)
        for cell, width in zip(row, widths, strict=True)
    )
    line = "  ".join(cells).rstrip()
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        line = line if len(line) <= columns else line[: columns - 1] + "…"
    click.secho(line, bold=bold, fg=colour)


def _echo_json(values: dict[str, Any]) -> None:
    click.echo(msgspec.json.encode(values).decode())
