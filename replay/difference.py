"""What changed between two documents, as a list of changes and as a tree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Change(Struct, frozen=True):
    """One value that is there, gone, or another one. `path` has keys and list indexes."""

    path: tuple[str | int, ...]
    change: Literal["added", "removed", "changed"]
    before: Any
    """None if it was not there."""
    after: Any
    """None if it is not there."""

    def as_map(self) -> dict[str, Any]:
        """For JSON; the path as a JMESPath expression."""
        return {
            "path": path_text(self.path),
            "change": self.change,
            "before": self.before,
            "after": self.after,
        }


def path_text(path: tuple[str | int, ...]) -> str:
    """A path as a JMESPath expression: `consumers.c_1.row.mid`, `a."b-c"[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else json.dumps(part))
    return text


def difference(before: Any, after: Any) -> list[Change]:
    """All changes, in the order of the documents; what is gone before what came."""
    return list(_walk((), before, after))


def _walk(path: tuple[str | int, ...], before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield Change((*path, key), "removed", value, None)
            elif value is not after[key]:
                yield from _walk((*path, key), value, after[key])
        for key, value in after.items():
            if key not in before:
                yield Change((*path, key), "added", None, value)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _walk((*path, index), old, new)
    elif type(before) is not type(after) or before != after:
        yield Change(path, "changed", before, after)
