"""`reprise replay rooms`: list what is in the log."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from replay.commands.common import data_option, echo_json, echo_table, json_option, one_line_errors
from replay.reader import LogReader
from replay.store.interface import RoomSummary
from replay.store.stretches import Stretch
from replay.text import printable, utc


@click.command()
@data_option
@json_option()
@one_line_errors
def rooms(directory: Path, *, as_json: bool) -> None:
    """List the rooms in the log."""
    with LogReader(directory) as reader:
        summaries, damage = reader.rooms()
        left = {summary.room: reader.stretches(summary.room) for summary in summaries}
    if as_json:
        for summary in summaries:
            echo_json(msgspec.to_builtins(summary) | _kept(left[summary.room]))
    elif not summaries:
        click.echo("No rooms yet.")
    else:
        echo_table(
            ("ROOM", "STATE", "POSITION", "MESSAGES", "EVENTS", "FIRST", "LAST"),
            [_row(summary, left[summary.room]) for summary in summaries],
            red=1,
        )
    for found in damage:
        click.echo(f"Error: {printable(str(found))}", err=True)
    if damage:
        sys.exit(1)


def _kept(stretches: list[Stretch]) -> dict[str, int]:
    """How far the log is not in the database, for JSON: positions, and bytes of archives."""
    return {
        "archived_up_to": max((each.last for each in stretches if not each.pruned), default=0),
        "pruned_up_to": max((each.last for each in stretches if each.pruned), default=0),
        "archive_bytes": sum(each.size for each in stretches if not each.pruned),
    }


def _state(summary: RoomSummary, stretches: list[Stretch]) -> str:
    """In a word; archived or pruned if nothing of the log is in the database."""
    if summary.damage is not None:
        return "damaged"
    if summary.open:
        return "open"
    if stretches and stretches[-1].last == summary.position:
        return stretches[-1].state
    return "closed"


def _row(summary: RoomSummary, stretches: list[Stretch]) -> tuple[str, ...]:
    counted = summary.first_at_ns or summary.messages + summary.events
    return (
        printable(summary.room),
        _state(summary, stretches),
        str(summary.position),
        str(summary.messages),
        str(summary.events),
        utc(summary.first_at_ns) if counted else "-",
        utc(summary.last_at_ns) if counted else "-",
    )
