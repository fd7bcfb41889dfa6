"""How the values of settings are read: from a flag or the environment as text, from TOML as typed.

Each reader takes either and returns the value, or raises `ValueError` with a message that follows
"invalid value: ".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

Reader = Callable[[object], object]

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9_-]+)*")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+\Z")


class PortRange(NamedTuple):
    """UDP ports, `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def size(self) -> int:
        """How many ports there are."""
        return self.last - self.first + 1


def read_text(value: object) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return value.strip()


def read_path(value: object) -> Path:
    """A path; `~` is the home directory."""
    return Path(read_text(value)).expanduser()


def read_flag(value: object) -> bool:
    """A truth value: in text `true`, `false`, `1`, `0`, `yes`, `no`, `on` or `off`."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in {"true", "1", "yes", "on"}:
        return True
    if text in {"false", "0", "no", "off"}:
        return False
    raise ValueError(f"{value!r} is neither true nor false")


def read_whole(least: int, most: int) -> Reader:
    """A whole number within bounds."""

    def read(value: object) -> int:
        text = str(value).strip()
        if isinstance(value, bool | float) or not re.fullmatch(r"[0-9]{1,12}", text):
            raise ValueError(f"{value!r} is no whole number")
        number = int(text)
        if not least <= number <= most:
            raise ValueError(f"{number} is not between {least} and {most}")
        return number

    return read


def read_amount(read: Callable[[str], int], least: str) -> Reader:
    """What `read` makes of a text such as `30d` or `10GiB`; at least `least`."""

    def read_it(value: object) -> int:
        amount = read(read_text(value))
        if amount < read(least):
            raise ValueError(f"{value!r} is less than {least}")
        return amount

    return read_it


def read_choice(*words: str) -> Reader:
    """One of some words."""

    def read(value: object) -> str:
        text = str(value).strip().lower()
        if text not in words:
            raise ValueError(f"{value!r} is none of {', '.join(words)}")
        return text

    return read


def read_host(value: object) -> str:
    """An IP address or a host name to listen on."""
    text = read_text(value).removeprefix("[").removesuffix("]")
    if not _is_ip(text) and not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{value!r} is neither an IP address nor a host name")
    return text


def read_ip(value: object) -> str:
    """An IP address that a client can send to."""
    text = read_text(value).removeprefix("[").removesuffix("]")
    if not _is_ip(text):
        raise ValueError(f"{value!r} is no IP address")
    address = ip_address(text)
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{text} is no address that a client can send to")
    return str(address)


def read_origin(value: object) -> str:
    """An origin such as `https://app.example`, or `*` for any."""
    text = read_text(value).lower().removesuffix("/")
    if text != "*" and not _ORIGIN.match(text):
        raise ValueError(f"{value!r} is no origin such as https://app.example")
    return text


def read_ports(value: object) -> PortRange:
    """A range of ports such as `10000-10100`, or one port."""
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", str(value).strip())
    if found is None or isinstance(value, bool | float):
        raise ValueError(f"{value!r} is no range of ports such as 10000-10100")
    ports = PortRange(int(found[1]), int(found[2] or found[1]))
    if not 1 <= ports.first <= ports.last <= 65_535:
        raise ValueError(f"{ports} is no range of ports between 1 and 65535")
    return ports


def read_list(item: Reader) -> Reader:
    """Several values: commas part them in text, TOML has an array."""

    def read(value: object) -> tuple[object, ...]:
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            raise ValueError(f"{value!r} is no list")
        return tuple(dict.fromkeys(item(part) for part in value))

    return read


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
