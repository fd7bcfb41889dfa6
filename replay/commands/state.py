"""`reprise replay state`: a room's whole state at an instant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.commands.common import (
    INSTANTS,
    data_option,
    echo_json,
    json_option,
    one_line_errors,
    opened,
    progress,
)
from replay.document import render
from replay.errors import ReplayError
from replay.text import printable, utc
from replay.tree import room_lines, value_lines


@click.command(epilog=INSTANTS)
@click.argument("room")
@click.option("--at", "instant", default="end", show_default=True, metavar="INSTANT", help="When.")
@click.option("--actor", help="Only this actor, all it knows: room, transport/ID, consumer/ID …")
@click.option("--full", is_flag=True, help="Every value, not only the people and streams.")
@data_option
@json_option("One JSON object.")
@one_line_errors
def state(
    room: str, instant: str, directory: Path, *, actor: str | None, full: bool, as_json: bool
) -> None:
    """Show the state of ROOM at an instant: who is in it, what flows, in which condition."""
    with opened(directory, room) as history:
        position = history.position_of(instant)
        with progress("Folding", position) as note:
            fold = history.at(position, note)
        document = render(fold, history.revealer)
    shown = document if actor is None else _part(document, actor, position)
    if as_json:
        echo_json(
            {"room": room, "position": position, "at_ns": fold.at_ns, "state": shown}
            | ({} if actor is None else {"actor": actor})
        )
        return
    when = utc(fold.at_ns) if position else "before the log begins"
    click.secho(f"{printable(room)} at position {position}, {when}", bold=True)
    lines = value_lines(shown) if full or actor is not None else room_lines(document)
    for line in lines:
        click.echo(line)


def _part(document: dict[str, Any], actor: str, position: int) -> Any:
    kind, _, entity = actor.partition("/")
    found = document.get("room") if actor == "room" else document.get(kind + "s", {}).get(entity)
    if found is None:
        raise ReplayError(f"there is no actor {actor!r} at position {position}")
    return found
