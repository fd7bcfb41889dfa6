"""`reprise replay find`: the first position at which an expression over the state holds."""

from __future__ import annotations

import sys
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
from replay.commands.show import Rows
from replay.search import Expression
from replay.search import find as find_first
from replay.text import as_map, printable
from replay.tree import compact_value


@click.command(epilog=INSTANTS)
@click.argument("room")
@click.argument("expression")
@click.option("--after", metavar="INSTANT", help="Begin after this instant.")
@click.option("--before", metavar="INSTANT", help="End before this instant.")
@data_option
@json_option("One JSON object.")
@one_line_errors
def find(
    room: str,
    expression: str,
    directory: Path,
    *,
    after: str | None,
    before: str | None,
    as_json: bool,
) -> None:
    """Find the first position at which EXPRESSION over the state of ROOM holds.

    EXPRESSION is JMESPath over what `state --json` shows under "state", for example

    \b
      consumers.* | [?score < `5`]
      length(room.peers) > `10`
      room.streaming && !(producers.* | [?active])

    It holds when its value is true in JMESPath: not false, null or empty. Exit code 1 if it holds
    nowhere.
    """  # noqa: D301 - click's mark for lines that stay as they are
    compiled = Expression(expression)
    with opened(directory, room) as history:
        begin = 0 if after is None else history.position_of(after)
        end = history.last_position if before is None else history.position_of(before) - 1
        with progress("Searching", end) as note:
            found = find_first(history, compiled, begin, None if before is None else end, note)
    if found is None:
        if as_json:
            echo_json({"room": room, "expression": expression, "position": None})
        click.echo(f"{printable(expression)} holds nowhere in {begin + 1}-{end}", err=True)
        sys.exit(1)
    if as_json:
        echo_json(
            {
                "room": room,
                "expression": expression,
                "position": found.envelope.position,
                "at_ns": found.envelope.at_ns,
                "value": found.value,
                "envelope": as_map(found.envelope),
            }
        )
        return
    click.secho(f"{printable(expression)} holds from position {found.envelope.position}", bold=True)
    click.echo(f"value: {compact_value(found.value)}")
    Rows()([found.envelope])
