"""`reprise token`: make a join token, as an application's backend would, or an operator's."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from gateway import tokens
from gateway.options import config_option, secret_option


@click.command(
    epilog="Give the secret by REPRISE_SECRET or --secret-file: other users can see flags."
)
@config_option
@click.option("--room", metavar="ROOM", help="The room that it is for.")
@click.option(
    "--operator",
    is_flag=True,
    help="Make an operator's token instead: its bearer may look at all sessions, and join none.",
)
@click.option("--name", metavar="NAME", help="Name of the peer, in place of what the client says.")
@click.option(
    "--publish/--no-publish", default=True, help="May the bearer publish?  [default: yes]"
)
@click.option(
    "--subscribe/--no-subscribe", default=True, help="May the bearer watch?  [default: yes]"
)
@click.option(
    "--expires",
    default="1h",
    metavar="DURATION",
    help="How long it holds, such as 90s, 15m, 1h or 7d.  [default: 1h]",
)
@click.option("--secret", envvar="REPRISE_SECRET", metavar="TEXT", help="The server's secret.")
@click.option(
    "--secret-file",
    envvar="REPRISE_SECRET_FILE",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File that holds the secret, and nothing else.",
)
@click.pass_context
def token(
    context: click.Context,
    *,
    room: str | None,
    operator: bool,
    name: str | None,
    publish: bool,
    subscribe: bool,
    expires: str,
    secret: str | None,
    secret_file: Path | None,
) -> None:
    """Make a join token, or an operator's, and print it, and nothing else."""
    if operator and (room is not None or name is not None or not (publish and subscribe)):
        raise click.UsageError("--operator stands alone: an operator joins no room")
    if not operator and room is None:
        raise click.UsageError("say for which room with --room, or --operator to look at sessions")
    signing = secret_option(context, secret, secret_file)
    if signing is None:
        raise click.UsageError(
            "no secret: set REPRISE_SECRET or --secret-file to what the server has"
        )
    try:
        lifetime_s = tokens.seconds_of(expires)
        if operator:
            click.echo(tokens.issue_operator(signing, now_s=time.time(), lifetime_s=lifetime_s))
            return
        claims = msgspec.convert(
            {"room": room, "name": name, "publish": publish, "subscribe": subscribe},
            tokens.Claims,
        )
    except msgspec.ValidationError as error:
        if "$.room" in str(error):
            raise click.UsageError(
                f"--room: {room!r} is not 1 to 64 letters, digits, - and _"
            ) from None
        raise click.UsageError("--name: longer than 128 characters") from None
    except ValueError as error:
        raise click.UsageError(f"--expires: {error}") from None
    click.echo(tokens.issue(signing, claims, now_s=time.time(), lifetime_s=lifetime_s))
