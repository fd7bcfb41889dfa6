"""JSON Lines: one envelope a line, with its payload decoded. The same as `show --json`."""

from __future__ import annotations

from collections.abc import Iterator

from replay.export.source import Source, json_text
from replay.text import as_map


def export(source: Source) -> Iterator[str]:
    """Write the log."""
    for envelope in source.envelopes():
        yield json_text(as_map(envelope)) + "\n"
