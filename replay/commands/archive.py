"""`reprise replay archive`: move sealed sessions from the database into compressed files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import trio

from replay.amounts import size_text
from replay.commands.common import (
    data_option,
    echo_json,
    echo_line,
    existing_log,
    json_option,
    one_line_errors,
    progress,
)
from replay.store.errors import UnknownRoom
from replay.store.retention import Retention
from replay.store.sealing import Sealed
from replay.store.sqlite import SqliteStore
from replay.text import printable


@click.command()
@click.argument("rooms", nargs=-1, metavar="ROOM…")
@click.option("--all-closed", is_flag=True, help="Every session that is over, of all rooms.")
@data_option
@json_option("One JSON object an archive.")
@one_line_errors
def archive(rooms: tuple[str, ...], directory: Path, *, all_closed: bool, as_json: bool) -> None:
    """Archive the sealed sessions of ROOM…: those that are over.

    Each becomes one compressed file in the data directory's `archive`, which is verified before
    the session leaves the database. All commands go on reading it there. While a server runs it
    holds the log; let it archive by itself then, with its setting archive-after.
    """
    if all_closed == bool(rooms):
        raise click.UsageError("name rooms, or give --all-closed")
    existing_log(directory)
    trio.run(partial(_archive, directory, rooms, as_json=as_json))


async def _archive(directory: Path, rooms: tuple[str, ...], *, as_json: bool) -> None:
    async with await SqliteStore.open(directory) as store:
        retention = Retention(store)
        await retention.tidy()
        lengths = {summary.room: summary.position for summary in await store.rooms()}
        for room in rooms:
            if room not in lengths:
                raise UnknownRoom(room)
            if (damage := store.damage.get(room)) is not None:
                raise damage.again()
        wanted = rooms or tuple(lengths)
        found = 0
        done = 0
        with progress("Archiving", sum(lengths[room] for room in wanted)) as note:
            for room in wanted:
                async for sealed in retention.archive(room, reason="archived by command"):
                    found += 1
                    note(done + sealed.session.last)
                    _tell(sealed, as_json=as_json)
                done += lengths[room]
                note(done)
        if found:
            await retention.compact()
        elif not as_json:
            click.echo("Nothing to archive: no session is over that is not archived already.")


def _tell(sealed: Sealed, *, as_json: bool) -> None:
    session = sealed.session
    if as_json:
        echo_json(
            {
                "room": session.room,
                "first": session.first,
                "last": session.last,
                "hash": session.hash.hex(),
                "file": sealed.file,
                "bytes": sealed.size,
            }
        )
        return
    envelopes = session.last - session.first + 1
    echo_line(
        f"{printable(session.room)}: positions {session.first}-{session.last} are in {sealed.file}"
        f" ({size_text(sealed.size)}, {sealed.size / envelopes:.0f} bytes an envelope)"
    )
