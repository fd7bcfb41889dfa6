"""What `reprise replay drive` prints: recorded beside driven, and the differences."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from load.drive.play import Driven
from load.drive.verdict import Sums, Verdict
from protocol.script import Figures, Script
from replay.commands.common import echo_table
from replay.text import printable

DIFFERENCES_SHOWN = 20
PEERS_SHOWN = 20


def as_json(script: Script, driven: Driven, verdict: Verdict, speed: float) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "room": script.room,
        "rooms": list(driven.rooms),
        "alike": verdict.alike and not driven.stopped,
        "stopped": driven.stopped,
        "speed": speed,
        "took_s": round(driven.took_s, 3),
        "lag_ms_max": round(driven.lag_ms_max, 1),
        "steps": driven.steps,
        "steps_left_out": driven.steps_left_out,
        "not_played": script.left_out,
        "measured": script.measured,
        "recorded": msgspec.to_builtins(verdict.recorded),
        "driven": msgspec.to_builtins(verdict.driven),
        "peers": [
            {
                "peer": peer.peer,
                "name": peer.name,
                "recorded": msgspec.to_builtins(peer.recorded),
                "driven": [msgspec.to_builtins(crew[peer.peer]) for crew in driven.figures],
            }
            for peer in script.peers
        ],
        "differences": msgspec.to_builtins(verdict.differences),
    }


def echo(script: Script, driven: Driven, verdict: Verdict, *, speed: float, pages: str) -> None:
    """Print it for a person."""
    sets = len(driven.rooms)
    click.secho(
        f"{printable(script.room)}: {len(script.peers)} clients, {script.steps} steps, "
        f"{_seconds(script.duration_ns / 1e9)}; driven in {sets} "
        f"{'room' if sets == 1 else 'rooms'} at speed {speed:g}, {_seconds(driven.took_s)}",
        bold=True,
    )
    if script.left_out:
        what = ", ".join(f"{printable(word)} {n}" for word, n in script.left_out.items())
        click.echo(f"not for clients to play: {what}")
    before, now = verdict.recorded, verdict.driven
    echo_table(("", f"RECORDED x {sets}", "DRIVEN"), _totals(before, now, sets))
    if len(script.peers) > 1:
        click.echo()
        _echo_peers(script, driven)
    click.echo()
    if driven.lag_ms_max > 250:
        click.echo(
            f"this machine lagged {driven.lag_ms_max:.0f} ms behind: it may be the bottleneck"
        )
    _echo_differences(verdict, driven)
    first, last = driven.rooms[0], driven.rooms[-1]
    more = f" … {last}" if sets > 1 else ""
    page = f", or {pages}/replay/{first}" if pages else ""
    click.echo(
        f"rooms there: {first}{more}; look at one with `reprise replay stats {first}` "
        f"on that server's data{page}"
    )


def _echo_differences(verdict: Verdict, driven: Driven) -> None:
    if driven.stopped:
        click.echo("stopped before its end")
    if verdict.alike:
        if not driven.stopped:
            click.secho("alike: the driven session behaved as the recorded one", fg="green")
        return
    count = max(len(verdict.differences), driven.differences_in_all)
    click.secho(f"{count} {'difference' if count == 1 else 'differences'}", fg="red")
    for one in verdict.differences[:DIFFERENCES_SHOWN]:
        where = " ".join(
            word
            for word in (printable(one.room), one.peer, f"(recorded at {one.position})")
            if word and not word.endswith(" 0)")
        )
        click.echo(f"  {where}: {printable(one.what)}")
    if len(verdict.differences) > DIFFERENCES_SHOWN:
        click.echo(f"  … and {count - DIFFERENCES_SHOWN} more (--json has them)")
    if driven.steps_left_out:
        click.echo(f"  {driven.steps_left_out} steps were left out in consequence")


def _totals(before: Sums, now: Sums, sets: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (word, str(getattr(before, name) * sets), str(getattr(now, name)))
        for name, word in (
            ("joins", "joined"),
            ("returns", "came back"),
            ("transports", "transports"),
            ("producers", "producers"),
            ("consumers", "consumers"),
        )
    ]
    rows += [
        (word, _ms(getattr(before, name)), _ms(getattr(now, name)))
        for name, word in (
            ("connected_ms", "joined to connected, median"),
            ("first_packet_ms", "joined to first media, median"),
            ("first_keyframe_ms", "joined to first keyframe, median"),
        )
    ]
    rows.append(("packets lost", _loss(before), _loss(now)))
    rows.append(("a watched stream", _rate(before.received_bps), _rate(now.received_bps)))
    for word in sorted({*before.refusals, *now.refusals}):
        counts = before.refusals.get(word, 0) * sets, now.refusals.get(word, 0)
        rows.append((f"refused: {printable(word)}", str(counts[0]), str(counts[1])))
    for kind in sorted({*before.notifications, *now.notifications}):
        told = before.notifications.get(kind, 0) * sets, now.notifications.get(kind, 0)
        rows.append((f"told: {printable(kind)}", str(told[0]), str(told[1])))
    return rows


def _echo_peers(script: Script, driven: Driven) -> None:
    """Each recorded client beside the one of the first set."""
    crew = driven.figures[0]
    rows: list[tuple[str, ...]] = []
    for peer in script.peers[:PEERS_SHOWN]:
        one = crew[peer.peer]
        rows.append(
            (
                printable(peer.peer),
                printable(peer.name) or "-",
                _pair(peer.recorded.connected_ms, one.connected_ms),
                _pair(peer.recorded.first_packet_ms, one.first_packet_ms),
                _pair(peer.recorded.first_keyframe_ms, one.first_keyframe_ms),
                f"{peer.recorded.producers} → {one.producers}",
                f"{peer.recorded.consumers} → {one.consumers}",
                f"{_loss(peer.recorded)} → {_loss(one)}",
            )
        )
    header = ("PEER", "NAME", "CONNECTED", "FIRST MEDIA", "FIRST KEYFRAME", "PRODUCERS",
              "CONSUMERS", "LOST")  # fmt: skip
    echo_table(header, rows)
    if len(script.peers) > PEERS_SHOWN:
        click.echo(f"… and {len(script.peers) - PEERS_SHOWN} more (--json has them)")


def _pair(before: float | None, now: float | None) -> str:
    return "-" if before is None and now is None else f"{_ms(before)} → {_ms(now)}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e3:.0f} kbit/s"


def _loss(figures: Figures) -> str:
    lost, came = figures.packets_lost, figures.packets
    if lost is None or came is None:
        return "-"
    return f"{lost / max(lost + came, 1):.2%}"
