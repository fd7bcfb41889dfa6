"""Asking a running server, as its operator."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from replay.errors import ReplayError

_C = TypeVar("_C", bound=Callable[..., Any])


def server_options(command: _C) -> _C:
    """Give a command the options --url and --secret."""
    command = click.option(
        "--secret",
        envvar="REPRISE_SECRET",
        show_envvar=True,
        help="The server's secret, if it has one; better given by the environment.",
    )(command)
    return click.option(
        "--url",
        default="http://127.0.0.1:3000",
        show_default=True,
        help="Where the server's pages are.",
    )(command)


def ask_server(
    url: str, path: tuple[str, ...], body: Any, secret: str | None, *, timeout_s: float = 10.0
) -> Any:
    """POST to `/api/…` and give what it answers; `path` has its parts. Raises `ReplayError`."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ReplayError(f"{url} is no http or https address")
    parts = "/".join(urllib.parse.quote(part, safe="") for part in path)
    request = urllib.request.Request(  # noqa: S310 - the scheme is looked at
        f"{url.rstrip('/')}/api/{parts}",
        data=msgspec.json.encode(body),
        headers={"content-type": "application/json"},
        method="POST",
    )
    if secret:
        request.add_header("authorization", f"Bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
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
