"""A document as far as it is unfolded: what a tree on a screen shows of it, and no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from replay.text import compact

CHILDREN_MAX = 250
PREVIEW_MAX = 90
Path = tuple[str | int, ...]


def outline(root: Any, unfolded: Iterable[Path], kept: Iterable[Path] = ()) -> dict[str, Any]:
    """The tree with the maps and lists at `unfolded` paths opened.

    Each opened one has at most `CHILDREN_MAX` children, and those beyond that lie on an unfolded
    path or on one of `kept`.
    """
    opened = set(unfolded)
    wanted: dict[Path, list[str | int]] = {}
    for path in (*opened, *kept):
        for depth in range(len(path)):
            wanted.setdefault(path[:depth], []).append(path[depth])
    return _node(root, (), opened, wanted)


def _node(
    value: Any, path: Path, opened: set[Path], wanted: dict[Path, list[str | int]]
) -> dict[str, Any]:
    if not isinstance(value, dict | list):
        return {"value": value}
    told: dict[str, Any] = {"map" if isinstance(value, dict) else "list": len(value)}
    if path not in opened:
        told["preview"] = _preview(value)
        return told
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    shown = keys[:CHILDREN_MAX]
    if len(keys) > CHILDREN_MAX:
        there = set(shown)
        for key in wanted.get(path, ()):
            if key not in there and (key in value if isinstance(value, dict) else key in keys):
                there.add(key)
                shown.append(key)
        told["more"] = len(keys) - len(shown)
    told["items"] = [[key, _node(value[key], (*path, key), opened, wanted)] for key in shown]
    return told


def _preview(value: Any) -> str:
    """The beginning of a folded value in one line; large ones are not written out for it."""
    few = dict(list(value.items())[:8]) if isinstance(value, dict) else value[:8]
    small = (
        {k: v for k, v in few.items() if not isinstance(v, dict | list) and v is not None}
        if isinstance(few, dict)
        else [v for v in few if not isinstance(v, dict | list)]
    )
    text = compact(small)
    return text if len(text) <= PREVIEW_MAX else text[: PREVIEW_MAX - 1] + "…"
