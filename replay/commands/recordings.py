"""`reprise replay recordings`: the frozen recordings of a room."""

from __future__ import annotations

from pathlib import Path

import click

from replay.commands.common import data_option, echo_json, echo_table, json_option, one_line_errors
from replay.recordings import Recordings
from replay.text import printable, utc


@click.command()
@click.argument("room")
@data_option
@json_option("One JSON object a recording.")
@one_line_errors
def recordings(room: str, directory: Path, *, as_json: bool) -> None:
    """List the frozen recordings of ROOM, with the position of the event that asked for each."""
    reader = Recordings(directory)
    rows: list[tuple[str, ...]] = []
    for one in reader.of_room(room):
        packets = list(reader.packets(room, one))
        dropped = sum(packet.dropped is not None for packet in packets)
        if as_json:
            echo_json({**one._asdict(), "packets": len(packets), "dropped": dropped})
        rows.append(
            (
                str(one.position),
                utc(one.at_ns),
                printable(one.transport),
                printable(one.reason),
                str(len(packets)),
                str(dropped),
            )
        )
    if not as_json:
        echo_table(("POSITION", "TIME", "TRANSPORT", "REASON", "PACKETS", "DROPPED"), rows)
