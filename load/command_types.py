"""What the options of `reprise load` may be: durations, bitrates, shares, addresses. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from load.thresholds import parse

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_UNITS_BPS = {"": 1.0, "k": 1e3, "M": 1e6}


class _Text(click.ParamType[object]):
    """A click type around a function that raises ValueError."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _number(text: str, units: dict[str, float], example: str) -> float:
    matched = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", text)
    if matched is None or matched[2] not in units:
        raise ValueError(f"{text!r} is not a value such as {example}")
    return float(matched[1]) * units[matched[2]]


def _seconds(text: str) -> float:
    return _number(text, _UNITS_S, "500ms, 30s or 5m")


def _milliseconds(text: str) -> float:
    return 1e3 * _number(text, {**_UNITS_S, "": 0.001}, "40ms")


def _bitrate(text: str) -> int:
    bitrate = int(_number(text, _UNITS_BPS, "1.5M or 600k"))
    if not 10_000 <= bitrate <= 500_000_000:
        raise ValueError(f"{text!r} is not between 10k and 500M")
    return bitrate


def _share(text: str) -> float:
    matched = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    if matched is None:
        raise ValueError(f"{text!r} is no share such as 2% or 0.02")
    share = float(matched[1]) / (100 if matched[2] else 1)
    if not 0 <= share < 1:
        raise ValueError(f"{text!r} is not between 0 and 100%")
    return share


def _url(text: str) -> str:
    """`host:port` and http addresses become those of signaling."""
    url = re.sub(r"^http", "ws", text)
    if "://" not in url:
        url = f"ws://{url}"
    if not re.fullmatch(r"wss?://[^\s/]+(/\S*)?", url):
        raise ValueError(f"{text!r} is no address such as ws://localhost:3001")
    return url


SECONDS = _Text("DURATION", _seconds)
MILLISECONDS = _Text("DURATION", _milliseconds)
BITRATE = _Text("BITRATE", _bitrate)
SHARE = _Text("SHARE", _share)
URL = _Text("URL", _url)
THRESHOLD = _Text("CONDITION", parse)
