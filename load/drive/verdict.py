"""Recorded and driven, side by side: whether the same happened. Pure.

What must be alike: who joined and came back, what was made, every refusal, that who was connected
and received media does again, and the kinds of notifications that cannot be missed. What network
and machine have their part in (times, losses, bitrates) has thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from load.drive.play import Driven
from load.drive.stage import Difference
from protocol.script import Figures, Leave, Script, ScriptedPeer

LATE_MS = 5_000.0
"""A first packet, keyframe or connection may come so much later than recorded."""
LOSS_MORE = 0.02
"""Share of packets that may be lost beyond what was lost when it was recorded."""
LOSS_PACKETS_MIN = 200
"""Of fewer packets no share is made."""
BITRATE_SHARE_MIN = 0.5
"""Less than this share of the recorded bitrate, over all peers of a set, is a difference."""
BITRATE_PACKETS_MIN = 1_000
SURE_MS = 1_000.0
"""A notification must come if it was this far, in driven time, from being missed."""
PRESENCE_MS = 2_000.0
"""Who received for less than this in driven time need not have got a packet."""
VOLATILE = frozenset(("score", "layersChanged", "consumerPaused", "consumerResumed"))
"""Kinds of notifications that may come beyond what was recorded."""

_COUNTS = ("joins", "returns", "transports", "producers", "consumers")


class Sums(Figures, kw_only=True):
    """Of all peers of the recorded session, or of all driven sets together.

    Counts are added up; times are medians and the bitrate is the mean of those that are known.
    """

    peers: int


class Verdict(Struct, kw_only=True):
    """Whether the driven session behaved as the recorded one."""

    alike: bool
    differences: list[Difference]
    recorded: Sums
    driven: Sums


def judge(script: Script, driven: Driven, speed: float) -> Verdict:
    """Compare. A drive that was stopped is judged by its steps alone."""
    differences = list(driven.differences)
    if not driven.stopped:
        for room, figures in zip(driven.rooms, driven.figures, strict=True):
            found = [
                (peer.peer, what)
                for peer in script.peers
                for what in _of_peer(peer, figures[peer.peer], script, speed)
            ]
            found += [("", what) for what in _of_set(script, figures)]
            differences += [
                Difference(room=room, peer=peer, position=0, what=what) for peer, what in found
            ]
    every = [figures for crew in driven.figures for figures in crew.values()]
    return Verdict(
        alike=not differences,
        differences=differences,
        recorded=sums([peer.recorded for peer in script.peers]),
        driven=sums(every),
    )


def sums(figures: list[Figures]) -> Sums:
    """Add up."""
    made = Sums(peers=len(figures), refusals={}, notifications={})
    for name in _COUNTS:
        setattr(made, name, sum(getattr(one, name) for one in figures))
    for one in figures:
        _add(made.refusals, one.refusals)
        _add(made.notifications, one.notifications)
    for name in ("connected_ms", "first_packet_ms", "first_keyframe_ms"):
        setattr(made, name, _median([getattr(one, name) for one in figures]))
    for name in ("packets", "packets_lost"):
        known = [value for one in figures if (value := getattr(one, name)) is not None]
        setattr(made, name, sum(known) if known else None)
    rates = [one.received_bps for one in figures if one.received_bps is not None]
    made.received_bps = sum(rates) / len(rates) if rates else None
    return made


def _of_peer(peer: ScriptedPeer, driven: Figures, script: Script, speed: float) -> Iterator[str]:
    recorded = peer.recorded
    for name in _COUNTS:
        before, now = getattr(recorded, name), getattr(driven, name)
        if before != now:
            yield f"{name}: {before} recorded, {now} driven"
    for word in sorted({*recorded.refusals, *driven.refusals}):
        counts = recorded.refusals.get(word, 0), driven.refusals.get(word, 0)
        if counts[0] != counts[1]:
            yield f"refused {word}: {counts[0]} recorded, {counts[1]} driven"
    yield from _of_times(peer, driven, script, speed)
    lost = _loss(driven)
    if lost is not None and lost > (_loss(recorded) or 0.0) + LOSS_MORE:
        before_text = "unknown" if _loss(recorded) is None else f"{_loss(recorded) or 0:.1%}"
        yield f"packets lost: {before_text} recorded, {lost:.1%} driven"
    yield from _of_notifications(peer, driven, speed)


def _of_times(peer: ScriptedPeer, driven: Figures, script: Script, speed: float) -> Iterator[str]:
    first_ns = peer.steps[0].at_ns if peer.steps else 0
    last_ns = peer.steps[-1].at_ns if peer.steps else 0
    left = any(isinstance(step.action, Leave) for step in peer.steps)
    gone_ms = ((last_ns if left else script.duration_ns) - first_ns) / 1e6
    for name, word in (
        ("connected_ms", "a connected transport"),
        ("first_packet_ms", "a first packet"),
        ("first_keyframe_ms", "a first keyframe"),
    ):
        before: float | None = getattr(peer.recorded, name)
        now: float | None = getattr(driven, name)
        if before is None:
            continue
        if now is None:
            if (gone_ms - before) / speed >= PRESENCE_MS:
                yield f"{word}: after {before:.0f} ms recorded, never driven"
        elif now > before / speed + LATE_MS:
            yield f"{word}: after {before / speed:.0f} ms recorded, after {now:.0f} ms driven"


def _of_notifications(peer: ScriptedPeer, driven: Figures, speed: float) -> Iterator[str]:
    for kind, sure_ns in sorted(peer.sure_ns.items()):
        if kind not in driven.notifications and sure_ns / 1e6 / speed >= SURE_MS:
            yield f"was told {kind} when recorded, and was not when driven"


def _of_set(script: Script, figures: Mapping[str, Figures]) -> Iterator[str]:
    """What is only to be said of all peers together: one of them may well get less."""
    before = sums([peer.recorded for peer in script.peers])
    now = sums(list(figures.values()))
    beyond = sorted(now.notifications.keys() - before.notifications.keys() - VOLATILE)
    for kind in beyond:
        yield f"told {kind} {now.notifications[kind]} times, which was never told when recorded"
    if (
        before.received_bps
        and now.received_bps is not None
        and (now.packets or 0) >= BITRATE_PACKETS_MIN
        and now.received_bps < before.received_bps * BITRATE_SHARE_MIN
    ):
        yield (
            f"a watched stream had {before.received_bps / 1e3:.0f} kbit/s recorded, "
            f"{now.received_bps / 1e3:.0f} driven"
        )


def _loss(figures: Figures) -> float | None:
    lost, came = figures.packets_lost, figures.packets
    if lost is None or came is None or lost + came < LOSS_PACKETS_MIN:
        return None
    return lost / (lost + came)


def _median(values: list[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return known[len(known) // 2] if known else None


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for word, count in more.items():
        total[word] = total.get(word, 0) + count
