"""`reprise replay export`: a room's log in the formats that other tools read."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import click

from protocol.envelope import Envelope
from replay.commands.common import INSTANTS, data_option, one_line_errors, progress
from replay.errors import ReplayError
from replay.export import bundle, chrome_trace, jsonl, mermaid, otlp, rtcstats, telemetry
from replay.export.beside import Beside
from replay.export.source import Source
from replay.history import History
from replay.reader import LogReader
from replay.redact import Redactor
from replay.store.errors import LogDamaged

_TELEMETRY = "telemetry"
_TEXTS = {
    "jsonl": jsonl.export,
    "chrome-trace": chrome_trace.export,
    "mermaid": mermaid.export,
    "rtcstats": rtcstats.export,
    "otlp": otlp.export,
    _TELEMETRY: telemetry.export,
}
_BUNDLE = "bundle"
_PCAPNG = "pcapng"


@click.command(epilog=INSTANTS)
@click.argument("room")
@click.option(
    "--format",
    "form",
    type=click.Choice([*_TEXTS, _PCAPNG, _BUNDLE]),
    required=True,
    help="Which format.",
)
@click.option("--redact", is_flag=True, help="Take out addresses, names and all clients' texts.")
@click.option("--since", metavar="INSTANT", help="Begin with this instant.")
@click.option("--until", metavar="INSTANT", help="End with this instant.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file; without it to standard output.",
)
@data_option
@one_line_errors
def export(
    room: str,
    directory: Path,
    *,
    form: str,
    redact: bool,
    since: str | None,
    until: str | None,
    output: Path | None,
) -> None:
    """Write the log of ROOM for other tools.

    \b
      jsonl         one envelope a line
      chrome-trace  opens in Perfetto (ui.perfetto.dev): a track an actor, arrows for causes
      mermaid       sequence diagram
      rtcstats      dump for the importers of rtcstats and webrtc-internals
      otlp          OpenTelemetry trace, OTLP as JSON
      telemetry     what was measured, one line of JSON a second and stream
      pcapng        packet headers of the flight recorder's recordings, for Wireshark
      bundle        one zip with all of them, state, figures, settings and versions

    A damaged log is written as far as it is sound; then the exit code is 1.
    """  # noqa: D301 - click's mark for lines that stay as they are
    if form in (_BUNDLE, _PCAPNG) and output is None and sys.stdout.isatty():
        raise click.UsageError(f"{form} is no text: name a file with --output")
    with LogReader(directory) as reader:
        history = History(reader, room)
        after = 0 if since is None else history.before(since)
        up_to = None if until is None else history.up_to(until)
        end = history.last_position if up_to is None else up_to
        with progress("Exporting", end, after) as note:
            log = _Log(
                reader, room, after, None if history.damaged and up_to is None else end, note
            )
            redactor = Redactor() if redact else None
            beside = Beside(
                directory,
                room,
                after=after,
                up_to=end,
                cut=up_to is not None,
                redactor=redactor,
            )
            source = Source(
                room if redactor is None else redactor.room(room),
                log if redactor is None else lambda: redactor.envelopes(log()),
                redacted=redact,
                beside=beside,
            )
            if form == _PCAPNG:
                beside.recordings()
            elif form == _TELEMETRY:
                beside.measured()
            if form in (_PCAPNG, _TELEMETRY) and beside.problems:
                raise ReplayError(next(iter(beside.problems.values())))
            _write(source, form, output)
    if form in (_PCAPNG, _TELEMETRY) and beside.problems:
        raise ReplayError(next(iter(beside.problems.values())))
    if log.damage is not None:
        raise log.damage


class _Log:
    """The stretch that is exported; it ends where damage begins."""

    def __init__(
        self,
        reader: LogReader,
        room: str,
        after: int,
        up_to: int | None,
        note: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._room = room
        self._after = after
        self._up_to = up_to
        self._note = note
        self.damage: LogDamaged | None = None

    def __call__(self) -> Iterator[Envelope]:
        try:
            for batch in self._reader.batches(self._room, self._after, self._up_to):
                yield from self._reader.revealer.envelopes(batch)
                self._note(batch[-1].position)
        except LogDamaged as damage:
            self.damage = damage


def _write(source: Source, form: str, output: Path | None) -> None:
    if output is None:
        _write_to(source, form, sys.stdout.buffer)
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
        try:
            with os.fdopen(handle, "wb") as target:
                _write_to(source, form, target)
            Path(name).chmod(0o644)
            Path(name).replace(output)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise ReplayError(f"cannot write {output}: {error.strerror}") from error


def _write_to(source: Source, form: str, target: IO[bytes]) -> None:
    if form == _BUNDLE:
        bundle.write(source, target)
        return
    if form == _PCAPNG:
        assert source.beside is not None
        target.writelines(source.beside.pcapng())
        target.flush()
        return
    for text in _TEXTS[form](source):
        target.write(text.encode())
    target.flush()
