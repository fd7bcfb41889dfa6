"""`reprise replay diff`: what changed between two instants."""

from __future__ import annotations

from pathlib import Path

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
from replay.difference import difference
from replay.document import render
from replay.text import printable, utc
from replay.tree import change_lines

_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


@click.command(epilog=INSTANTS, context_settings={"ignore_unknown_options": True})
@click.argument("room")
@click.argument("before")
@click.argument("after")
@data_option
@json_option("One JSON object.")
@one_line_errors
def diff(room: str, before: str, after: str, directory: Path, *, as_json: bool) -> None:
    """Show what changed in ROOM from the instant BEFORE to the instant AFTER.

    Paths are JMESPath expressions over the state, as `find` takes them.
    """
    with opened(directory, room) as history:
        first, second = history.position_of(before), history.position_of(after)
        with progress("Folding", first + second) as note:
            old_fold = history.at(first, note)
            old = render(old_fold, history.revealer)
            new_fold = history.at(second, lambda position: note(first + position))
            new = render(new_fold, history.revealer)
    changes = difference(old, new)
    if as_json:
        echo_json(
            {
                "room": room,
                "before": {"position": first, "at_ns": old_fold.at_ns},
                "after": {"position": second, "at_ns": new_fold.at_ns},
                "changes": [change.as_map() for change in changes],
            }
        )
        return
    click.secho(
        f"{printable(room)} from position {first} ({_when(first, old_fold.at_ns)}) "
        f"to {second} ({_when(second, new_fold.at_ns)})",
        bold=True,
    )
    if not changes:
        click.echo("Nothing changed.")
    for sign, line in change_lines(changes):
        click.secho(line, fg=_COLOURS.get(sign))


def _when(position: int, at_ns: int) -> str:
    return utc(at_ns) if position else "before the log begins"
