"""`reprise replay verify`: whether a log is whole and today's code decides the same."""

from __future__ import annotations

import sys
from itertools import zip_longest
from pathlib import Path

import click

from replay.commands.common import (
    data_option,
    echo_json,
    echo_line,
    json_option,
    one_line_errors,
    progress,
)
from replay.reader import LogReader
from replay.redecide import Divergence, Said
from replay.text import compact, payload, printable
from replay.tree import change_lines
from replay.verify import RoomVerdict, changes
from replay.verify import verify as verify_room


@click.command()
@click.argument("rooms", nargs=-1, metavar="ROOM…")
@click.option("--all", "every", is_flag=True, help="Every room of the log.")
@data_option
@json_option("One JSON object a room.")
@one_line_errors
def verify(rooms: tuple[str, ...], directory: Path, *, every: bool, as_json: bool) -> None:
    """Verify ROOM…: the hash chain, and that today's code decides what was decided then.

    The recorded inputs (messages, times, random choices) are given to today's deciders, and the
    events that come out are compared with the recorded ones. The exit code is 0 if all is equal,
    and 1 if anything is damaged or diverges, with the first divergence.
    """
    if every == bool(rooms):
        raise click.UsageError("name rooms, or give --all")
    all_equal = True
    with LogReader(directory) as reader:
        summaries, damage = reader.rooms()
        lengths = {summary.room: summary.position for summary in summaries}
        if every:
            rooms = tuple(lengths)
        general = [found for found in damage if found.room is None]
        done = 0
        with progress("Verifying", sum(lengths.get(room, 0) for room in rooms)) as note:
            for room in rooms:
                before = done
                verdict = verify_room(reader, room, lambda position: note(before + position))  # noqa: B023
                done += verdict.position
                all_equal &= verdict.equal
                if as_json:
                    echo_json(verdict.as_map())
                else:
                    _echo(verdict)
    for found in general:
        click.echo(f"Error: {printable(str(found))}", err=True)
    if general or not all_equal:
        sys.exit(1)


def _echo(verdict: RoomVerdict) -> None:
    room = printable(verdict.room)
    counted = f"{verdict.position} envelopes, {verdict.messages} messages decided again"
    if verdict.failures:
        counted += f", {verdict.failures} that failed then left out"
    if verdict.equal:
        click.secho(f"{room}: equal ({counted})", fg="green")
    if verdict.damage is not None:
        click.secho(f"{room}: {printable(verdict.damage)} ({counted})", fg="red")
    if verdict.unknown is not None:
        click.secho(f"{room}: not understood, {printable(verdict.unknown)} ({counted})", fg="red")
    if verdict.divergence is not None:
        click.secho(f"{room}: diverges ({counted})", fg="red")
        _echo_divergence(verdict.divergence)


def _echo_divergence(divergence: Divergence) -> None:
    """Show the message, and what was and would be decided upon it, side by side."""
    click.echo(f"  {printable(str(divergence))}")
    rows = [("THEN", "NOW")]
    rows += [
        (_short(then), _short(now))
        for then, now in zip_longest(divergence.recorded, divergence.decided)
    ]
    if divergence.error is not None:
        rows[1 + divergence.index : 2 + divergence.index] = [
            (rows[1 + divergence.index][0], printable(divergence.error))
            if len(rows) > 1 + divergence.index
            else ("-", printable(divergence.error))
        ]
    width = max(len(then) for then, _ in rows)
    for n, (then, now) in enumerate(rows):
        differs = n > 0 and then != now
        colour = "yellow" if differs else None
        echo_line(f"  {'≠' if differs else ' '} {then.ljust(width)}  {now}", colour=colour)
    for _sign, line in change_lines(changes(divergence)):
        click.echo(f"    {line}")


def _short(said: Said | None) -> str:
    if said is None:
        return "-"
    values = compact(payload(said.data))
    return f"{said.type} {values if len(values) <= 60 else values[:59] + '…'}".rstrip()
