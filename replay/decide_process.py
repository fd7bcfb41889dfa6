"""Deciding a room's log again, batch by batch, here or in a process of its own.

    python -m replay.decide_process DIRECTORY ROOM UP_TO

`replay.verify` starts one beside itself for a long log, because checking hashes and deciding are
each one processor's work. The process does not look at hashes: whoever started it does. It prints
how far it is, now and then, and in the end what came of it as JSON. It gives up, with exit code 1
and without a result, at whatever keeps it from reading the log.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import msgspec

from protocol import codec
from protocol.envelope import Envelope
from replay.errors import ReplayError
from replay.reader import LogReader
from replay.redecide import Redecider, Verdict
from replay.store.errors import StoreError

TELL_ENVELOPES = 65_536
GARBAGE_THRESHOLD = 100_000


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What came of deciding a log again, as far as this release understands it."""

    verdict: Verdict
    unknown: str | None
    """The first envelope that only a newer release understands; nothing behind it was decided."""


class DecideAgain:
    """Takes a room's batches of envelopes in order, up to what a newer release wrote."""

    def __init__(self) -> None:
        self._redecider = Redecider()
        self._known: set[tuple[str, int]] = set()
        self._unknown: str | None = None

    def take(self, batch: Sequence[Envelope]) -> None:
        """Take the next envelopes."""
        if self._unknown is not None:
            return
        kinds = {(envelope.type, envelope.version) for envelope in batch}
        if not kinds <= self._known:
            batch = self._understood(batch)
            self._known |= kinds
        self._redecider.take(batch)

    def _understood(self, batch: Sequence[Envelope]) -> Sequence[Envelope]:
        """What stands before the first envelope of a newer release."""
        for at, envelope in enumerate(batch):
            if not codec.knows(envelope.type, envelope.version):
                what = f"{envelope.type} version {envelope.version}"
                self._unknown = f"position {envelope.position}: {what} is of a newer release"
                return batch[:at]
        return batch

    def finish(self, *, cut: bool = False) -> Decided:
        """Tell what came of it. `cut` says that the log goes on where it cannot be read."""
        verdict = self._redecider.finish(cut=cut or self._unknown is not None)
        return Decided(verdict=verdict, unknown=self._unknown)


class Helper:
    """A process that decides a log again."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def result(self, progress: Callable[[int], None]) -> Decided | None:
        """Wait for what came of it; None if it gave up. `progress` is told how far it is."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.startswith(b"{"):
                progress(int(line))
                continue
            decided = msgspec.json.decode(line, type=Decided)
            return decided if self._process.wait() == 0 else None
        return None


@contextlib.contextmanager
def beside(directory: Path, room: str, up_to: int) -> Iterator[Helper]:
    """Have a log decided again in a process of its own; it ends with the block."""
    command = [sys.executable, "-m", "replay.decide_process", str(directory), room, str(up_to)]
    env = {name: text for name, text in os.environ.items() if name != "REPRISE_SECRET"}
    process = subprocess.Popen(  # noqa: S603 - this program itself
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    )
    with process:
        try:
            yield Helper(process)
        finally:
            process.kill()


def main() -> None:
    """Decide a log again, and tell."""
    directory, room, up_to = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    gc.set_threshold(GARBAGE_THRESHOLD)
    again = DecideAgain()
    told = 0
    try:
        with LogReader(directory) as reader:
            for batch in reader.batches(room, up_to=up_to, checked=False):
                again.take(batch)
                position = batch[-1].position
                if position - told >= TELL_ENVELOPES:
                    told = position
                    click.echo(position)
        done = msgspec.json.encode(again.finish())
    except (StoreError, ReplayError):
        sys.exit(1)
    click.echo(done)


if __name__ == "__main__":
    main()
