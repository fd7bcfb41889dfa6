"""`reprise replay rooms`: list what is in the log."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from replay.commands.common import data_option, echo_json, echo_table, json_option, one_line_errors
from replay.reader import LogReader
from replay.store.interface import RoomSummary
from replay.text import printable, utc


@click.command()
@data_option
@json_option()
@one_line_errors
def rooms(directory: Path, *, as_json: bool) -> None:
    """List the rooms in the log."""
    with LogReader(directory) as reader:
        summaries, damage = reader.rooms()
    if as_json:
        for summary in summaries:
            echo_json(msgspec.to_builtins(summary))
    elif not summaries:
        click.echo("No rooms yet.")
    else:
        echo_table(
            ("ROOM", "STATE", "POSITION", "MESSAGES", "EVENTS", "FIRST", "LAST"),
            [_row(summary) for summary in summaries],
            red=1,
        )
    for found in damage:
        click.echo(f"Error: {printable(str(found))}", err=True)
    if damage:
        sys.exit(1)


def _row(summary: RoomSummary) -> tuple[str, ...]:
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
