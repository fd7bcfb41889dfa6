"""`reprise replay what-if`: a session forked, and decided on with other settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from protocol.envelope import Envelope
from replay.commands.common import (
    INSTANTS,
    data_option,
    echo_json,
    echo_line,
    json_option,
    one_line_errors,
    progress,
)
from replay.counterfactual import Counterfactual, Outcome, Report
from replay.history import History
from replay.reader import LogReader
from replay.snapshots import Snapshots
from replay.text import compact, printable, utc

_SORTS = {
    "differs": "would be decided otherwise",
    "only_then": "would not come about",
    "only_now": "would come about in addition",
    "no_actor": "would find no actor to take it",
    "failed": "would break its decider",
}
_VALUE_MAX = 80


@click.command("what-if", epilog=INSTANTS)
@click.argument("room")
@click.option("--from", "instant", required=True, metavar="INSTANT", help="Where to fork.")
@click.option(
    "--set",
    "wanted",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="A setting that is another one from there on; may be given again.",
)
@click.option("--until", metavar="INSTANT", help="Where to stop.")
@data_option
@json_option("One JSON object.")
@one_line_errors
def what_if(
    room: str,
    instant: str,
    wanted: tuple[str, ...],
    directory: Path,
    *,
    until: str | None,
    as_json: bool,
) -> None:
    """Tell what would have been decided in ROOM with other settings: a counterfactual.

    \b
      --set peers_max=3 --set consumers_per_peer_max=1
      --set resume_grace_s=5
      --set codecs=opus,VP8
      --set transport.ice_failed_grace_s=10

    The recorded inputs after the fork are given to the deciders again. Where one goes to an actor
    that would not exist, the fork stops being comparable: nobody knows what that client would
    have done instead. The fork is at the end of the decision that INSTANT falls into.
    """  # noqa: D301 - click's mark for lines that stay as they are
    with LogReader(directory) as reader, Snapshots(directory) as snapshots:
        history = History(reader, room, snapshots)
        position = history.decision_end(history.position_of(instant))
        end = history.end().position if until is None else history.position_of(until)
        fork = Counterfactual(history.at(position), history.at(position), wanted)
        with progress("Deciding anew", 2 * end, 2 * position) as note:
            passes = 0

            def log() -> Iterator[Envelope]:
                nonlocal passes
                begin = position + passes * (end - position)
                passes += 1
                for batch in reader.batches(room, position, end):
                    yield from reader.revealer.envelopes(batch)
                    note(position + begin + batch[-1].position - position)

            report = fork.run(log)
    if as_json:
        echo_json(report)
    else:
        _echo(report)


def _echo(report: Report) -> None:
    room = printable(report.room)
    click.secho(f"COUNTERFACTUAL: {room} from position {report.position}, with", bold=True)
    for name, change in report.settings.items():
        click.echo(f"  {name}: {_short(change['before'])} → {_short(change['after'])}")
    click.echo(f"{report.same} of {report.decisions} recorded decisions would have been the same.")
    for sort, times in report.differing.items():
        click.echo(f"{times} {_SORTS[sort]}.")
    if report.comparable_until is not None:
        click.secho(
            f"Comparable up to position {report.comparable_until}: "
            "its actor would not exist, and nobody knows what its client would have done instead.",
            fg="yellow",
        )
    for outcome in report.outcomes:
        _echo_outcome(outcome)
    if report.outcomes_left_out:
        click.echo(f"… and {report.outcomes_left_out} more")


def _echo_outcome(outcome: Outcome) -> None:
    where = "" if outcome.position is None else f"{outcome.position} "
    what = f"{where}{printable(outcome.message)} at {printable(outcome.actor)}"
    echo_line(f"{utc(outcome.at_ns, date=False)}  {what} {_SORTS[outcome.sort]}", bold=True)
    for sign, colour, told in (("-", "red", outcome.recorded), ("+", "green", outcome.decided)):
        for event in told:
            echo_line(f"  {sign} {event['type']} {_short(event['data'])}", colour=colour)


def _short(value: Any) -> str:
    text = compact(value)
    return text if len(text) <= _VALUE_MAX else text[: _VALUE_MAX - 1] + "…"
