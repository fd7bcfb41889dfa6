"""`reprise replay capture`: have a live server freeze its flight recorder."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import click
import msgspec

from replay.commands.common import echo_json, one_line_errors
from replay.errors import ReplayError
from replay.text import printable

TIMEOUT_S = 10.0


@click.command()
@click.argument("room")
@click.option("--transport", metavar="ID", help="This transport alone; else all of the room.")
@click.option(
    "--url",
    default="http://127.0.0.1:3000",
    show_default=True,
    help="Where the server's pages are.",
)
@click.option(
    "--secret",
    envvar="REPRISE_SECRET",
    show_envvar=True,
    help="The server's secret, if it has one; better given by the environment.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@one_line_errors
def capture(
    room: str, *, transport: str | None, url: str, secret: str | None, as_json: bool
) -> None:
    """Freeze the packet headers of the last seconds of ROOM on a live server.

    They are stored beside its log; look at them with `recordings`, and write them to a file with
    `export --format pcapng`.
    """
    answer = _post(url, room, transport, secret)
    if as_json:
        echo_json(answer)
    else:
        what = "the room" if transport is None else f"transport {printable(transport)}"
        click.echo(f"Recording {what}; see `reprise replay recordings {printable(room)}`.")


def _post(url: str, room: str, transport: str | None, secret: str | None) -> Any:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ReplayError(f"{url} is no http or https address")
    request = urllib.request.Request(  # noqa: S310 - the scheme is looked at
        f"{url.rstrip('/')}/api/rooms/{urllib.parse.quote(room, safe='')}/capture",
        data=msgspec.json.encode({"transport": transport}),
        headers={"content-type": "application/json"},
        method="POST",
    )
    if secret:
        request.add_header("authorization", f"Bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            raise ReplayError(f"{url}: {_reason(error.read()) or error.reason}") from error
    except urllib.error.URLError as error:
        raise ReplayError(f"no server at {url}: {error.reason}") from error
    except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
        raise ReplayError(f"{url} gave no answer that is understood: {error}") from error


def _reason(body: bytes) -> str | None:
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return None
