"""The server's upkeep of its log: archives sealed sessions and prunes old ones, as it is told.

It yields to everything else: sessions are written by a niced process, one at a time, and rows leave
the database a few hundred at a time with pauses between. What fails is logged, and tried again in
the next round.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from gateway.settings import Storage
from protocol.store_error import StoreError
from replay.store import SqliteStore
from replay.store.errors import StoreWriteFailed
from replay.store.retention import PAUSE_S, Retention
from replay.store.sealing import Sealed, Session
from replay.upkeep import forget_session

FIRST_S = 60.0
"""After the start, before the first round."""
INTERVAL_S = 600.0
"""Between two rounds."""


class Upkeep:
    """Applies the settings archive-after, prune-after and prune-size to a store."""

    def __init__(
        self,
        store: SqliteStore,
        wanted: Storage,
        log: Any,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._wanted = wanted
        self._log = log
        self._now_ns = now_ns
        self._retention = Retention(store, seal_in=seal_in_process, pause_s=PAUSE_S, now_ns=now_ns)

    async def run(self) -> None:
        """Make a round now and then, until cancelled; returns at once if nothing is wanted."""
        wanted = (self._wanted.archive_after, self._wanted.prune_after, self._wanted.prune_size)
        if all(each is None for each in wanted):
            return
        await trio.sleep(FIRST_S)
        while True:
            try:
                await self.round()
            except StoreError as error:
                self._log.error("upkeep_failed", error=str(error))
            await trio.sleep(INTERVAL_S)

    async def round(self) -> None:
        """Archive and prune what is due. Raises `StoreError` when the log cannot be changed."""
        await self._retention.tidy()
        now_ns = self._now_ns()
        if self._wanted.archive_after is not None:
            before_ns = now_ns - self._wanted.archive_after
            for summary in await self._store.rooms():
                await self._archive(summary.room, before_ns)
        after = self._wanted.prune_after
        async for pruned in self._retention.prune(
            before_ns=None if after is None else now_ns - after,
            bytes_max=self._wanted.prune_size,
        ):
            forget = partial(
                forget_session,
                self._store.directory,
                pruned.room,
                pruned.last,
                pruned.last_at_ns,
            )
            await trio.to_thread.run_sync(forget)
            self._log.info("session_pruned", room=pruned.room, first=pruned.first, last=pruned.last)

    async def _archive(self, room: str, before_ns: int) -> None:
        """Archive what is due of a room; one that cannot be archived does not stop the others."""
        reason = "older than archive-after"
        try:
            async for sealed in self._retention.archive(room, before_ns=before_ns, reason=reason):
                self._log.info("session_archived", room=room, file=sealed.file, bytes=sealed.size)
        except StoreError as error:
            self._log.error("session_not_archived", room=room, error=str(error))


async def seal_in_process(directory: Path, session: Session) -> Sealed:
    """Seal in a niced process. Raises `StoreWriteFailed` with what it said."""
    done = await trio.run_process(
        [sys.executable, "-m", "replay.store.seal_process", str(directory)],
        stdin=msgspec.json.encode(session),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no word"]
        raise StoreWriteFailed(f"cannot archive a session: {lines[-1]}")
    return msgspec.json.decode(done.stdout, type=Sealed)
