"""Where a server's signaling is, from whatever address of it somebody knows."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import msgspec

TIMEOUT_S = 10.0
_ANSWER_BYTES_MAX = 1 << 16


class WrongTarget(Exception):
    """An address that leads to no server; the message is one line."""


def signaling_url(address: str) -> str:
    """The WebSocket address of a server, `ws://` or `wss://`.

    That of its pages (`http://`, `https://`) leads to it by `/config.json`. Raises `WrongTarget`.
    """
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise WrongTarget(f"{address!r} is no address: {error}") from error
    if parts.scheme not in ("http", "https", "ws", "wss") or not host:
        raise WrongTarget(
            f"{address!r} is no address of a server: give that of its pages, such as "
            "http://HOST:3000, or of its signaling, such as ws://HOST:3001"
        )
    if parts.scheme in ("ws", "wss"):
        return address
    config = _config(f"{parts.scheme}://{parts.netloc}/config.json", address)
    stated = config.get("signalingUrl")
    if isinstance(stated, str) and stated:
        return stated
    port = config.get("signalingPort")
    if not isinstance(port, int):
        raise WrongTarget(f"{address} does not say where its signaling is: it is no Reprise server")
    scheme = "wss" if parts.scheme == "https" else "ws"
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}/"


def _config(url: str, address: str) -> dict[str, object]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http, https
            return msgspec.json.decode(answer.read(_ANSWER_BYTES_MAX), type=dict[str, object])
    except urllib.error.HTTPError as error:
        with error:
            raise WrongTarget(
                f"{address} is no Reprise server: {error.code} {error.reason}"
            ) from error
    except urllib.error.URLError as error:
        raise WrongTarget(f"no server at {address}: {error.reason}") from error
    except msgspec.MsgspecError as error:
        raise WrongTarget(f"{address} is no Reprise server: its config.json is none") from error
    except (OSError, http.client.HTTPException) as error:
        raise WrongTarget(f"no server at {address}: {error}") from error
