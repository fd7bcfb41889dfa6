"""Trees as text: nested values, changes, and the people and streams of a room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from replay.difference import Change
from replay.text import compact, printable, utc

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_LINE_MAX = 72


def value_lines(value: Any, indent: str = "") -> Iterator[str]:
    """Write nested maps and lists, one value a line, small ones in one."""
    items: Any
    if isinstance(value, dict):
        items = ((printable(str(key)), item) for key, item in value.items())
    else:
        items = ((str(index), item) for index, item in enumerate(value))
    for name, item in items:
        short = compact(item)
        if isinstance(item, dict | list) and item and len(short) > _LINE_MAX:
            yield f"{indent}{name}:"
            yield from value_lines(item, indent + "  ")
        else:
            shown = f"{{{short}}}" if isinstance(item, dict) else short
            yield f"{indent}{name}: {shown}"


def change_lines(changes: list[Change]) -> Iterator[tuple[str, str]]:
    """Write changes as a tree; give each line with its sign, `" "` for a branch."""
    open_path: tuple[str | int, ...] = ()
    for change in changes:
        *branch, leaf = change.path
        shared = 0
        while shared < min(len(branch), len(open_path)) and branch[shared] == open_path[shared]:
            shared += 1
        for depth in range(shared, len(branch)):
            yield " ", "  " + "  " * depth + printable(str(branch[depth]))
        open_path = tuple(branch)
        sign = _SIGNS[change.change]
        indent = "  " * len(branch)
        name = printable(str(leaf))
        match change.change:
            case "changed":
                said = f"{compact_value(change.before)} → {compact_value(change.after)}"
            case "added":
                said = compact_value(change.after)
            case "removed":
                said = compact_value(change.before)
        yield sign, f"{sign} {indent}{name}: {said}"


def compact_value(value: Any) -> str:
    """Write a value in one line."""
    return f"{{{compact(value)}}}" if isinstance(value, dict) else compact(value)


def room_lines(document: dict[str, Any]) -> Iterator[str]:
    """Write a room's state as who is in it and what they send and watch, a line each."""
    room = document["room"]
    if not room or room["settings"] is None:
        yield "not opened yet"
        return
    if room["closed"] is not None:
        yield f"closed: {room['closed']}"
        return
    live = "live" if room["streaming"] else "not live"
    plane = ", ".join(f"worker {w['worker']}" for w in room["workers"]) or "no media plane"
    yield f"{len(room['peers'])} peers, {live}, {plane}" + _closing(room["closes_at_ns"])
    for peer, entry in room["peers"].items():
        leaving = room["leaving"].get(peer)
        away = f" · no socket, leaves at {utc(leaving, date=False)}" if leaving is not None else ""
        name = f" {printable(entry['name'])}" if entry["name"] else ""
        yield f"peer {peer}{name}{away}"
        for transport in entry["transports"]:
            yield from _transport_lines(document, transport)


def _closing(closes_at_ns: int | None) -> str:
    return "" if closes_at_ns is None else f", closes at {utc(closes_at_ns, date=False)}"


def _transport_lines(document: dict[str, Any], transport: str) -> Iterator[str]:
    entry = document["room"]["transports"][transport]
    state = document["transports"][transport]
    dtls = state["srtp_profile"] or ("connecting" if state["dtls_role"] else "not connected")
    remote = f" {state['remote']}" if state["remote"] else ""
    closed = f" · closed: {state['closed']}" if state["closed"] else ""
    yield (
        f"  transport {transport} {entry['direction']} · ICE {state['ice_state']}{remote} "
        f"· DTLS {dtls}{closed}"
    )
    for producer in entry["producers"]:
        listed = document["room"]["producers"][producer]
        source = document["producers"][producer]
        flows = "packets flow" if source["active"] else "no packets"
        yield (
            f"    producer {producer} {listed['kind']} {listed['type']} · {flows}"
            f"{' · paused' if source['paused'] else ''}{_score(source['scores'])} "
            f"· {len(listed['consumers'])} consumers"
        )
    for consumer in entry["consumers"]:
        listed = document["room"]["consumers"][consumer]
        sink = document["consumers"][consumer]
        paused = [
            f"paused by {who}"
            for who, is_paused in (
                ("viewer", sink["viewer_paused"]),
                ("producer", sink["producer_paused"]),
            )
            if is_paused
        ]
        layers = "" if sink["spatial_layer"] is None else f" · layer {sink['spatial_layer']}"
        yield (
            f"    consumer {consumer} of {listed['producer']} · {', '.join(paused) or 'flows'}"
            f"{layers}{_score(sink['score'])}"
        )


def _score(score: Any) -> str:
    if score in (None, []):
        return ""
    return f" · score {'/'.join(map(str, score)) if isinstance(score, list) else score}"
