"""`reprise replay capture`: have a live server freeze its flight recorder."""

from __future__ import annotations

import click

from replay.commands.asking import ask_server, server_options
from replay.commands.common import echo_json, one_line_errors
from replay.text import printable


@click.command()
@click.argument("room")
@click.option("--transport", metavar="ID", help="This transport alone; else all of the room.")
@server_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@one_line_errors
def capture(
    room: str, *, transport: str | None, url: str, secret: str | None, as_json: bool
) -> None:
    """Freeze the packet headers of the last seconds of ROOM on a live server.

    They are stored beside its log; look at them with `recordings`, and write them to a file with
    `export --format pcapng`.
    """
    answer = ask_server(url, ("rooms", room, "capture"), {"transport": transport}, secret)
    if as_json:
        echo_json(answer)
    else:
        what = "the room" if transport is None else f"transport {printable(transport)}"
        click.echo(f"Recording {what}; see `reprise replay recordings {printable(room)}`.")
