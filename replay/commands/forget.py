"""`reprise replay forget`: make the personal data of one person unreadable."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from replay.commands.asking import ask_server, server_options
from replay.commands.common import data_option, echo_json, echo_line, json_option, one_line_errors
from replay.errors import ReplayError
from replay.forgetting import Forgotten, Person, chosen
from replay.forgetting import forget as forget_here
from replay.reader import LogReader
from replay.store.errors import StoreLocked
from replay.text import printable, utc

TIMEOUT_S = 60.0


@click.command()
@click.argument("room")
@click.argument("peers", metavar="[PEER]...", nargs=-1)
@click.option("--name", help="Everybody of this name, whatever its case.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@server_options
@data_option
@json_option("One JSON object a person.")
@one_line_errors
def forget(
    room: str,
    peers: tuple[str, ...],
    directory: Path,
    *,
    name: str | None,
    yes: bool,
    url: str,
    secret: str | None,
    as_json: bool,
) -> None:
    """Make the personal data of peers of ROOM unreadable, for good.

    Name, application data, addresses, fingerprints and stream ids of a PEER can be revealed by
    nobody any more, in archives neither, and recordings of its packets are deleted. The log stays
    as it is: it verifies and replays as before. `stats ROOM` lists the peers.

    While a server holds the log, the server does it, asked at --url; a peer that is still in the
    room is removed from it. Exports and backups that were made before are not reached.
    """
    if not peers and name is None:
        raise click.UsageError("say who: a PEER or more, --name or both")
    with LogReader(directory) as reader:
        persons = chosen(reader, room, peers, name)
    if not yes:
        for person in persons:
            click.echo(f"{_who(person)}, joined {utc(person.joined_at_ns)}", err=True)
        count = "this person" if len(persons) == 1 else f"these {len(persons)} people"
        click.confirm(f"Forget {count} for good?", abort=True, err=True)
    try:
        told = forget_here(directory, room, persons)
    except StoreLocked:
        told = [_asked(room, person, url, secret) for person in persons]
    for person, each in zip(persons, told, strict=True):
        if as_json:
            echo_json({"room": room, **msgspec.to_builtins(each)})
        else:
            echo_line(_said(person, each))
    in_clear = sum(each.in_clear for each in told)
    if in_clear:
        raise ReplayError(
            f"{in_clear} values were written in clear by an older release and stay readable:"
            " prune the session to remove them"
        )


def _asked(room: str, person: Person, url: str, secret: str | None) -> Forgotten:
    path = ("rooms", room, "peers", person.peer, "forget")
    answer = ask_server(url, path, {}, secret, timeout_s=TIMEOUT_S)
    try:
        return msgspec.convert(answer, Forgotten)
    except msgspec.ValidationError as error:
        raise ReplayError(f"{url} gave no answer that is understood: {error}") from error


def _who(person: Person) -> str:
    return f"{printable(person.peer)} {printable(person.name)}".rstrip()


def _said(person: Person, told: Forgotten) -> str:
    done = "forgotten" if told.keys or person.key is None else "was forgotten already"
    parts = f", {told.recordings} parts of recordings deleted" if told.recordings else ""
    return f"{printable(person.peer)}: {done}{parts}"
