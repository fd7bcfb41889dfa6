"""How long and how much, as people write it: `30d`, `12h`, `10GiB`, `500MB`."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_MOST = 1 << 60


def duration_ns(text: str) -> int:
    """Read a duration such as `30d`, `12h`, `90m`, in nanoseconds. Raises `ValueError`."""
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration such as 30d or 12h")
    nanoseconds = int(found[1]) * _SECONDS[found[2]] * 1_000_000_000
    if nanoseconds > _MOST * 4:
        raise ValueError(f"{text!r} is too long")
    return nanoseconds


def size_bytes(text: str) -> int:
    """Read a size such as `10GiB` or `500MB`. Raises `ValueError`."""
    found = re.fullmatch(r"([0-9]{1,15}) ?([A-Za-z]{1,3})", text.strip())
    if found is None or found[2] not in _BYTES:
        raise ValueError(f"{text!r} is no size such as 10GiB or 500MB")
    size = int(found[1]) * _BYTES[found[2]]
    if size > _MOST:
        raise ValueError(f"{text!r} is too large")
    return size


def size_text(size: int) -> str:
    """A size for people: `1.4 MiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
