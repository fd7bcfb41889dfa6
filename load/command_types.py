"""What the options of `reprise load` may be: durations, bitrates, shares, addresses, files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from load.thresholds import parse

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_UNITS_BPS = {"": 1.0, "k": 1e3, "M": 1e6}


class Number(click.FloatRange):
    """Between two bounds; "nan" is none, though it is below neither."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click has it; fails for what is no number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


class _Pid(click.IntRange):
    """A process of this machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        pid = super().convert(value, param, ctx)
        if not (Path("/proc") / str(pid)).exists():
            self.fail(f"there is no process {pid} on this machine", param, ctx)
        return pid


class _NewFile(click.Path):
    """A file that can be written: to be told before a run, not behind it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        folder = path.absolute().parent
        if not folder.is_dir():
            self.fail(f"there is no directory {folder}", param, ctx)
        if not path.exists() and not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"directory {folder} is not writable", param, ctx)
        return path


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
        raise ValueError(f"{text!r} is no share below 100%, such as 2% or 0.02")
    return share


def _url(text: str) -> str:
    """`host:port` and http addresses become those of signaling."""
    url = re.sub(r"^http(s?)://", r"ws\1://", text)
    if "://" not in url:
        url = f"ws://{url}"
    if "@" in url:
        # It would stand in reports, and no server takes it.
        raise ValueError("an address with a name or password in it: give --token or --secret")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or re.search(r"\s", url):
        raise ValueError(f"{text!r} is no address such as ws://localhost:3001")
    return url


SECONDS = _Text("DURATION", _seconds)
MILLISECONDS = _Text("DURATION", _milliseconds)
BITRATE = _Text("BITRATE", _bitrate)
SHARE = _Text("SHARE", _share)
URL = _Text("URL", _url)
PID = _Pid(1)
NEW_FILE = _NewFile(dir_okay=False, writable=True, path_type=Path)
THRESHOLD = _Text("CONDITION", parse)
