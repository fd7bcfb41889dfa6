"""`reprise replay drive`: plays the clients of a recorded session against a running server."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import click
import trio

from gateway import tokens
from gateway.drive_report import as_json as report_map
from gateway.drive_report import echo as echo_report
from gateway.drive_target import WrongTarget, signaling_url
from gateway.keys import Secret
from gateway.options import secret_option
from load.drive.play import Drive, Driven
from load.drive.target import DriveFailed, Target, TokenMaker
from load.drive.verdict import judge
from protocol.script import Script
from replay.commands.common import (
    INSTANTS,
    data_option,
    echo_json,
    json_option,
    one_line_errors,
    progress,
)
from replay.errors import ReplayError
from replay.scripting.source import duration_ns, read_script

TIMES_MAX = 10_000
SPEED_MAX = 1_000.0
ROOM_CHARACTERS_MAX = 64
TOKEN_SPARE_S = 3_600
"""How long a token that is made here holds beyond the drive."""
_PROGRESS_S = 0.2
_ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class _Speed(click.ParamType[float]):
    name = "X"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            speed = float(str(value))
        except ValueError:
            speed = math.nan
        if not 0.01 <= speed <= SPEED_MAX:
            self.fail(f"{value!r} is no speed between 0.01 and {SPEED_MAX:g}", param, ctx)
        return speed


@click.command(epilog=INSTANTS)
@click.argument("room", metavar="ROOM|ZIP")
@click.option(
    "--against",
    required=True,
    metavar="URL",
    help="The server: its pages (http://HOST:3000) or its signaling (ws://HOST:3001).",
)
@click.option(
    "--times",
    type=click.IntRange(1, TIMES_MAX),
    default=1,
    show_default=True,
    help="So many sets of the clients at the same time, each in a room of its own.",
)
@click.option(
    "--speed", type=_Speed(), default="1", show_default=True, help="How much faster than recorded."
)
@click.option("--room", "into", metavar="NAME", help="Name of the rooms there.  [default: ROOM]")
@click.option("--until", metavar="INSTANT", help="Play up to this instant of the recording.")
@click.option("--duration", metavar="DURATION", help="Play so much of the recording, such as 90s.")
@click.option("--token", metavar="TEXT", help="Join token, where the server wants one.")
@click.option("--secret", envvar="REPRISE_SECRET", metavar="TEXT", help="The server's secret.")
@click.option(
    "--secret-file",
    envvar="REPRISE_SECRET_FILE",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File with the server's secret; tokens with the recorded rights are made with it.",
)
@data_option
@json_option("One JSON object.")
@click.pass_context
@one_line_errors
def drive(
    context: click.Context,
    room: str,
    directory: Path,
    *,
    against: str,
    times: int,
    speed: float,
    into: str | None,
    until: str | None,
    duration: str | None,
    token: str | None,
    secret: str | None,
    secret_file: Path | None,
    as_json: bool,
) -> int:
    """Play the clients of ROOM's last session against a running server.

    Live synthetic clients with real transports do what the recorded ones did, at the same times.
    Then what they met is compared with what was recorded: exit code 0 if it is alike. ZIP is a
    bundle of `export`, or a zipped event log. Media is made up, with the recorded bitrates.
    """
    if token is not None and (into is None or times > 1):
        raise click.UsageError("--token is for one room: name it with --room, and drive one set")
    lasting_ns = None
    if duration is not None:
        try:
            lasting_ns = duration_ns(duration)
        except ValueError as error:
            raise click.UsageError(f"--duration: {error}") from None
    signing = secret_option(context, secret, secret_file)
    with progress("Reading", 1) as note:
        script = read_script(
            room,
            directory,
            until=until,
            lasting_ns=lasting_ns,
            progress=lambda position, end: note(int(position == end)),
        )
    rooms = _rooms(into or script.room, times, named=into is not None)
    try:
        url = signaling_url(against)
        lifetime_s = math.ceil(script.duration_ns / 1e9 / speed) + TOKEN_SPARE_S
        target = Target(signaling_url=url, token_for=_token_maker(token, signing, lifetime_s))
        played = Drive(script, target, rooms, speed)
        driven = trio.run(_run, played)
    except (WrongTarget, DriveFailed) as error:
        raise ReplayError(str(error)) from error
    return _tell(script, driven, speed, _pages(against), as_json=as_json)


async def _run(played: Drive) -> Driven:
    """Drive, with a bar on the terminal."""
    failure: DriveFailed | None = None
    with progress("Driving", played.steps_in_all) as note:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_draw, played, note)
            try:
                driven = await played.run(heed_signals=True)
            except DriveFailed as error:
                failure = error  # raised below, not in an ExceptionGroup
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return driven


async def _draw(played: Drive, note: Callable[[int], None]) -> None:
    while True:
        note(played.steps)
        await trio.sleep(_PROGRESS_S)


def _tell(script: Script, driven: Driven, speed: float, pages: str, *, as_json: bool) -> int:
    verdict = judge(script, driven, speed)
    if as_json:
        echo_json(report_map(script, driven, verdict, speed))
    else:
        echo_report(script, driven, verdict, speed=speed, pages=pages)
    if driven.stopped:
        return 130
    return 0 if verdict.alike else 1


def _rooms(name: str, times: int, *, named: bool) -> list[str]:
    """The rooms of the sets: NAME-1 and so on; one set goes into the room that was named."""
    if _ROOM.fullmatch(name) is None:
        if named:
            raise click.UsageError(f"--room: {name!r} is not 1 to 64 letters, digits, - and _")
        raise ReplayError(f"{name!r} can be no room's name there: choose one with --room")
    if named and times == 1:
        return [name]
    room_for = ROOM_CHARACTERS_MAX - len(f"-{times}")
    return [f"{name[:room_for]}-{number}" for number in range(1, times + 1)]


def _token_maker(token: str | None, secret: Secret | None, lifetime_s: int) -> TokenMaker:
    """Tokens as an application's backend would give them; none where there is no secret."""

    def make(room: str, name: str, publish: bool, subscribe: bool) -> str | None:
        if token is not None:
            return token
        if secret is None:
            return None
        claims = tokens.Claims(room=room, name=name or None, publish=publish, subscribe=subscribe)
        return tokens.issue(secret, claims, now_s=time.time(), lifetime_s=lifetime_s)

    return make


def _pages(against: str) -> str:
    return against.rstrip("/") if against.startswith("http") else ""
