"""What viewers want of a publisher: keyframes, for whom and who needed none, and which layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.core.consumer import ConsumerState
from protocol import events
from protocol.envelope import Envelope
from replay.errors import LogNotUnderstood
from replay.fold import event_of
from replay.reader import LogReader

_BEFORE = 1_000
"""Positions in which the request before is looked for."""
_NAMED = 3


def asked_for(
    reader: LogReader, room: str, envelope: Envelope, states: Mapping[str, Any]
) -> str | None:
    """Half a sentence about a `KeyFrameAsked`, with the state before it. Blocks."""
    viewers = {
        address: state
        for address, state in states.items()
        if isinstance(state, ConsumerState)
        and state.row is not None
        and f"producer/{state.row.producer}" == envelope.actor
        and not (state.viewer_paused or state.producer_paused)
    }
    told = [_waiting(viewers), _served(reader, room, envelope, viewers)]
    return "; ".join(part for part in told if part)


def wanted_of(states: Mapping[str, Any], producer: str) -> str:
    """Half a sentence about who takes a producer, and up to which layer."""
    viewers = [
        state
        for state in states.values()
        if isinstance(state, ConsumerState)
        and state.row is not None
        and state.row.producer == producer
    ]
    if not viewers:
        return "nobody consumes it"
    takers = [one for one in viewers if not one.viewer_paused]
    if not takers:
        return f"all who consume it ({len(viewers)}) have paused it, for three seconds or more"
    told = f"{len(takers)} of {len(viewers)} who consume it have not paused it"
    limits = [one.preferred_spatial_layer for one in takers]
    known = [limit for limit in limits if limit is not None]
    if len(known) < len(limits):
        return f"{told}; {len(limits) - len(known)} of them set no limit"
    return f"{told}; the highest layer that any of them wants is {max(known)}"


def _waiting(viewers: Mapping[str, ConsumerState]) -> str:
    """Who has nothing to see."""
    if not viewers:
        return "nobody watches it"
    peers = [state.peer for state in viewers.values() if state.spatial_layer is None]
    if not peers:
        return f"all who watch it ({len(viewers)}) have something to see until it comes"
    names = ", ".join(peers[:_NAMED])
    more = f" and {len(peers) - _NAMED} more" if len(peers) > _NAMED else ""
    return f"{len(peers)} of {len(viewers)} who watch it have nothing to see: {names}{more}"


def _served(
    reader: LogReader, room: str, asked: Envelope, viewers: Mapping[str, ConsumerState]
) -> str:
    """Who began from the cache since the request before."""
    begun = 0
    since = "lately"
    first = max(0, asked.position - 1 - _BEFORE)
    for batch in reader.batches(room, first, asked.position - 1):
        for envelope in batch:
            if envelope.kind != "event":
                continue
            if envelope.actor == asked.actor and envelope.type == asked.type:
                begun, since = 0, "since the request before"
            elif envelope.actor in viewers and _is_from_cache(envelope):
                begun += 1
    if not begun:
        return ""
    count = "one beginning was" if begun == 1 else f"{begun} beginnings were"
    return f"{since} {count} served from the cache, of which the publisher heard nothing"


def _is_from_cache(envelope: Envelope) -> bool:
    if envelope.type != events.ConsumerLayersChanged.__name__:
        return False
    try:
        return getattr(event_of(envelope), "keyframe_age_ns", None) is not None
    except LogNotUnderstood:
        return False
