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
from replay.session_figures import Measured, PeerStats, SessionStats, StreamStats
from replay.session_stats import sessions
from replay.session_telemetry import join, lost_share, total
from replay.text import printable, utc

_COLUMNS = (
    "PEER", "NAME", "JOINED", "STAYED", "CONNECTED", "FIRST SENT", "FIRST RECEIVED",
    "FIRST KEYFRAME", "RECONNECTS", "PRODUCERS", "CONSUMERS", "PAUSES", "KEYFRAMES", "REFUSED",
    "LEFT",
)  # fmt: skip
_SERVED = (
    "PEER", "NAME", "QUALITY", "SENT", "RECEIVED", "LOST", "FREEZES", "FROZEN", "ROUND TRIP",
)  # fmt: skip
_STREAMS = (
    "STREAM", "KIND", "PEER", "OF", "FIRST KEYFRAME", "MEASURED", "BITRATE", "MOST", "PACKETS",
    "LOST", "AGAIN", "JITTER", "ROUND TRIP", "FREEZES", "FROZEN", "KEYFRAMES", "SCORE",
)  # fmt: skip


@click.command()
@click.argument("room")
@click.option("--all", "every", is_flag=True, help="Every session of the log, not the last alone.")
@click.option("--streams", is_flag=True, help="Each producer and consumer as well.")
@data_option
@json_option("One JSON object a session, with all streams.")
@one_line_errors
def stats(room: str, directory: Path, *, every: bool, streams: bool, as_json: bool) -> None:
    """Tell who took part in ROOM, when media began, how well it came, and why things closed.

    What was measured on the wire is from telemetry; where there is none, it says so.
    """
    with LogReader(directory) as reader:
        end, _damage = reader.end(room)
        begin = 0 if every else max(0, reader.session_start(room).position - 1)
        with progress("Counting", end.position, begin) as note:

            def envelopes() -> Iterator[Envelope]:
                for batch in reader.batches(room, begin):
                    yield from reader.revealer.envelopes(batch)
                    note(batch[-1].position)

            found = list(sessions(envelopes()))
    for n, session in enumerate(found):
        join(session, directory)
        if as_json:
            echo_json(msgspec.to_builtins(session))
        else:
            if n:
                click.echo()
            _echo(session, streams=streams)


def _echo(session: SessionStats, *, streams: bool) -> None:
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
    if not session.peers:
        return
    echo_table(_COLUMNS, [_row(peer) for peer in session.peers])
    span = session.telemetry
    if span is None or span.problem is not None:
        why = "" if span is None else f": {printable(span.problem or '')}"
        click.echo(f"not known how well media came{why}")
    else:
        if span.frames_skipped:
            click.echo(f"seconds that could not be read: {span.frames_skipped}")
        click.echo()
        echo_table(_SERVED, [_served(peer) for peer in session.peers])
    if streams:
        click.echo()
        rows = [
            _stream(peer, stream, measured)
            for peer in session.peers
            for stream in peer.streams
            for measured in (stream.measured or (None,))
        ]
        echo_table(_STREAMS, rows)


def _row(peer: PeerStats) -> tuple[str, ...]:
    return (
        peer.peer,
        printable(peer.name) or "-",
        utc(peer.joined_at_ns, date=False),
        duration(peer.duration_ns),
        *(
            "-" if each is None else duration(each)
            for each in (
                peer.connected_ns,
                peer.first_media_sent_ns,
                peer.first_media_received_ns,
                peer.first_key_frame_ns,
            )
        ),
        str(peer.reconnects),
        str(peer.producers),
        str(peer.consumers),
        str(peer.producer_pauses + peer.consumer_pauses),
        str(peer.keyframes_requested + peer.keyframes_asked_of),
        _counts(peer.refusals) or "-",
        "-" if peer.left_because is None else printable(peer.left_because),
    )


def _served(peer: PeerStats) -> tuple[str, ...]:
    quality = peer.quality
    sent = total(peer.streams, "producer", lambda one: one.bitrate_bps)
    received = total(peer.streams, "consumer", lambda one: one.bitrate_bps)
    return (
        peer.peer,
        printable(peer.name) or "-",
        "-" if quality is None or quality.score is None else f"{quality.score:.0f}",
        bitrate(sent),
        bitrate(received),
        _share(lost_share(peer.streams)),
        str(peer.freezes) if received is not None else "-",
        "-" if quality is None else f"{quality.frozen_s} s",
        _milliseconds(None if quality is None else quality.round_trip_time_ms),
    )


def _stream(peer: PeerStats, stream: StreamStats, measured: Measured | None) -> tuple[str, ...]:
    encoding = "" if measured is None or not measured.encoding else f" #{measured.encoding}"
    first = stream.first_key_frame_ns
    known = ("-",) * 11
    if measured is not None:
        known = (
            f"{measured.seconds} s",
            bitrate(measured.bitrate_bps),
            bitrate(measured.bitrate_bps_max),
            str(measured.packets),
            _share(measured.loss),
            str(measured.retransmitted_packets),
            _milliseconds(measured.jitter_ms),
            _milliseconds(measured.round_trip_time_ms),
            str(stream.freezes) if stream.sort == "consumer" else "-",
            "-" if measured.frozen_s is None else f"{measured.frozen_s} s",
            str(measured.key_frames),
        )
    return (
        stream.id + encoding,
        stream.kind,
        printable(peer.name) or peer.peer,
        stream.producer if stream.sort == "consumer" else "-",
        "-" if first is None else duration(first),
        *known,
        "-" if measured is None or measured.score is None else f"{measured.score:.1f}",
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def bitrate(bps: float | None) -> str:
    """A bitrate for a person: `-`, `850 kbit/s`, `2.4 Mbit/s`."""
    if bps is None:
        return "-"
    return f"{bps / 1e6:.1f} Mbit/s" if bps >= 999_500 else f"{bps / 1e3:.0f} kbit/s"


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
