"""`reprise replay stats`: what a session was like, in figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from protocol.envelope import Envelope
from replay.commands.common import (
    data_option,
    echo_json,
    echo_table,
    json_option,
    one_line_errors,
    progress,
)
from replay.reader import LogReader
from replay.session_stats import PeerStats, SessionStats, sessions
from replay.text import printable, utc

_COLUMNS = (
    "PEER", "NAME", "JOINED", "STAYED", "CONNECTED", "FIRST SENT", "FIRST RECEIVED", "RECONNECTS",
    "PRODUCERS", "CONSUMERS", "PAUSES", "KEYFRAMES", "REFUSED", "LEFT",
)  # fmt: skip


@click.command()
@click.argument("room")
@click.option("--all", "every", is_flag=True, help="Every session of the log, not the last alone.")
@data_option
@json_option("One JSON object a session.")
@one_line_errors
def stats(room: str, directory: Path, *, every: bool, as_json: bool) -> None:
    """Tell who took part in ROOM, when media began, what went wrong and why things closed."""
    with LogReader(directory) as reader:
        end, _damage = reader.end(room)
        begin = 0 if every else max(0, reader.session_start(room).position - 1)
        with progress("Counting", end.position, begin) as note:

            def envelopes() -> Iterator[Envelope]:
                for batch in reader.batches(room, begin):
                    yield from batch
                    note(batch[-1].position)

            found = list(sessions(envelopes()))
    for n, session in enumerate(found):
        if as_json:
            echo_json(msgspec.to_builtins(session))
        else:
            if n:
                click.echo()
            _echo(session)


def _echo(session: SessionStats) -> None:
    ended = (
        "still open"
        if session.closed_at_ns is None
        else f"closed ({printable(session.closed_because or '')})"
    )
    click.secho(
        f"{printable(session.room)}, positions {session.first_position}-{session.last_position}: "
        f"{utc(session.opened_at_ns)}, {duration(session.duration_ns)}, {ended}",
        bold=True,
    )
    click.echo(
        f"live for {duration(session.live_ns)} · at most {session.peers_max} peers, "
        f"{session.producers_max} producers, {session.consumers_max} consumers · "
        f"{session.messages} messages, {session.events} events"
    )
    faults = {
        "media plane lost": session.plane_losses,
        "server restarted": session.control_restarts,
        "actors failed": session.actor_failures,
    }
    counted = [f"{what}: {times}" for what, times in faults.items() if times]
    if session.refusals:
        counted.append(f"refused: {_counts(session.refusals)}")
    counted += [f"{kind}s closed: {_counts(why)}" for kind, why in session.closings.items()]
    for line in counted:
        click.echo(line)
    if session.peers:
        echo_table(_COLUMNS, [_row(peer) for peer in session.peers])


def _row(peer: PeerStats) -> tuple[str, ...]:
    return (
        peer.peer,
        printable(peer.name) or "-",
        utc(peer.joined_at_ns, date=False),
        duration(peer.duration_ns),
        *(
            "-" if each is None else duration(each)
            for each in (peer.connected_ns, peer.first_media_sent_ns, peer.first_media_received_ns)
        ),
        str(peer.reconnects),
        str(peer.producers),
        str(peer.consumers),
        str(peer.producer_pauses + peer.consumer_pauses),
        str(peer.keyframes_requested + peer.keyframes_asked_of),
        _counts(peer.refusals) or "-",
        "-" if peer.left_because is None else printable(peer.left_because),
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{printable(word)} {times}" for word, times in counts.items())


def duration(ns: int) -> str:
    """A duration for a person: `120 ms`, `2.35 s`, `4 min 10 s`, `1 h 2 min`."""
    if ns < 1_000_000_000:
        return f"{ns / 1e6:.0f} ms"
    seconds = ns / 1e9
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
