"""How evenly viewers were served in the steady time. Pure.

A mean says little where the server gives each viewer the layer that fits: a few who see a stamp,
or nothing, vanish in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from load.snapshot import StreamRow


class Viewers(Struct, frozen=True, kw_only=True):
    """Payload bits a second of each viewer that was there all the time."""

    count: int = 0
    slowest_bps: int | None = None
    median_bps: int | None = None
    fastest_bps: int | None = None
    freezing: int = 0
    """Who had a freeze."""
    bitrates_bps: tuple[int, ...] = ()
    """Ascending."""


def viewers_between(
    before: Iterable[StreamRow], after: Iterable[StreamRow], seconds: float
) -> Viewers:
    """Sum up the streams of each client that was there at both ends of a time."""
    earlier = {(row.client, row.stream): row.counts for row in before}
    bytes_of: dict[int, int] = defaultdict(int)
    freezes_of: dict[int, int] = defaultdict(int)
    for row in after:
        counts = earlier.get((row.client, row.stream))
        if counts is not None:
            bytes_of[row.client] += row.counts.payload_bytes - counts.payload_bytes
            freezes_of[row.client] += row.counts.freezes - counts.freezes
    if seconds <= 0:
        return Viewers()
    bitrates = (int(8 * count / seconds) for count in bytes_of.values())
    return _summed(bitrates, sum(count > 0 for count in freezes_of.values()))


def merged(parts: Sequence[Viewers]) -> Viewers:
    """All viewers of several testers."""
    bitrates = (bitrate for part in parts for bitrate in part.bitrates_bps)
    return _summed(bitrates, sum(part.freezing for part in parts))


def _summed(bitrates: Iterable[int], freezing: int) -> Viewers:
    ordered = tuple(sorted(bitrates))
    if not ordered:
        return Viewers()
    return Viewers(
        count=len(ordered),
        slowest_bps=ordered[0],
        median_bps=ordered[(len(ordered) - 1) // 2],
        fastest_bps=ordered[-1],
        freezing=freezing,
        bitrates_bps=ordered,
    )
