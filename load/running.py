"""One run of `reprise load` from the command line: its signals, and its progress on a terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys

import trio

from load.janus import JanusSignaling
from load.mass import Mass
from load.options import LoadFailed, LoadOptions
from load.signaling import RepriseSignaling, Signaling
from load.tester import Record, Tester
from load.text import progress_line
from load.tokens import token_source

EXIT_STOPPED = 130


async def run(options: LoadOptions, *, show_progress: bool) -> Record:
    """Run it, until it ends or is told to by SIGINT or SIGTERM. Raises `LoadFailed`."""
    mass = Mass(
        seed=options.seed,
        feedback_interval_ms=options.feedback_interval_ms,
        srtp_profile=options.srtp_profile,
    )
    signaling: Signaling = RepriseSignaling(options, mass, token_source(options))
    if options.signaling == "janus":
        signaling = JanusSignaling(options, mass)
    tester = Tester(options, mass, signaling)
    failure: LoadFailed | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, tester)
        if show_progress:
            nursery.start_soon(_show_progress, tester)
        try:
            await tester.run()
        except LoadFailed as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return tester.record


async def _stop_on_signal(tester: Tester, *, task_status: trio.TaskStatus[None]) -> None:
    """The first Ctrl-C ends the run with its report, the second at once."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        count = 0
        async for _ in signals:
            count += 1
            if count == 2:
                os._exit(EXIT_STOPPED)
            tester.stop()


async def _show_progress(tester: Tester) -> None:
    try:
        while True:
            # Where a line would wrap, the next one could not be written over it.
            width = shutil.get_terminal_size().columns - 1
            line = progress_line(tester.record, tester.options)[:width]
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            await trio.sleep(1)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
