"""Parameters of requests, each with its bounds; what does not fit is refused in clear words."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

INT_MAX = 2**63 - 1


class WrongParameter(Exception):
    """A parameter that does not fit; the text says which and why."""


def integer(
    request: Request, name: str, default: int | None = None, low: int = 0, high: int = INT_MAX
) -> int:
    """A whole number within bounds."""
    text = request.query_params.get(name)
    if text is None or text == "":
        if default is None:
            raise WrongParameter(f"{name} is missing")
        return default
    try:
        value = int(text) if len(text) <= 20 else None
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise WrongParameter(f"{name} must be a whole number from {low} to {high}")
    return value


def optional_integer(request: Request, name: str) -> int | None:
    """A whole number, or None if it is not given."""
    return integer(request, name) if request.query_params.get(name) else None


def words(request: Request, name: str, most: int) -> list[str]:
    """Words with commas between them."""
    found = [word for word in request.query_params.get(name, "").split(",") if word]
    if len(found) > most:
        raise WrongParameter(f"{name} may have {most} words at most")
    return found


def span(request: Request) -> tuple[int, int]:
    """`from` and `to`, nanoseconds since the Unix epoch."""
    from_ns, to_ns = integer(request, "from"), integer(request, "to")
    if to_ns <= from_ns:
        raise WrongParameter("to must be after from")
    return from_ns, to_ns


def paths(request: Request, name: str, most: int) -> list[tuple[str | int, ...]]:
    """Paths into a document: a JSON list of lists of keys and indexes."""
    text = request.query_params.get(name, "[]")
    try:
        found = msgspec.json.decode(text, type=list[tuple[str | int, ...]])
    except msgspec.MsgspecError:
        raise WrongParameter(f"{name} must be a JSON list of lists of keys") from None
    if len(found) > most:
        raise WrongParameter(f"{name} may have {most} paths at most")
    return found
