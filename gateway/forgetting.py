"""Forgetting a person while the server runs."""

from __future__ import annotations

from pathlib import Path

import trio

from actors.system import System
from gateway.replay_api.library import Library
from replay.forgetting import Forgotten, Person, forget_elsewhere, people
from replay.keyring import Keyring
from replay.reader import LogReader
from replay.recording_store import RecordingStore
from replay.store.errors import UnknownRoom

REASON = "forgotten"
"""Why a peer is removed that is still in the room."""
LEAVE_S = 10.0
"""How long removing it may take."""


class Forgetting:
    """Forgets one person at a time: removes it, destroys its key, deletes what stands elsewhere."""

    def __init__(
        self,
        directory: Path,
        *,
        system: System,
        keyring: Keyring,
        library: Library,
        recordings: RecordingStore,
    ) -> None:
        self._directory = directory
        self._system = system
        self._keyring = keyring
        self._library = library
        self._recordings = recordings
        self._busy = trio.Lock()

    async def forget(self, room: str, peer: str) -> Forgotten | None:
        """Forget a peer; None if there never was one. Raises `StoreError`, `ReplayError`."""
        async with self._busy:
            with trio.move_on_after(LEAVE_S):
                await self._system.expel(room, peer, REASON)
            person = await trio.to_thread.run_sync(self._find, room, peer)
            if person is None:
                return None
            destroyed = 0 if person.key is None else await self._keyring.destroy([person.key])
            self._system.forget_revealed()
            self._library.forget_names(room)
            return await trio.to_thread.run_sync(self._forget_elsewhere, room, person, destroyed)

    def _find(self, room: str, peer: str) -> Person | None:
        with LogReader(self._directory) as reader:
            try:
                return people(reader, room).get(peer)
            except UnknownRoom:
                return None

    def _forget_elsewhere(self, room: str, person: Person, destroyed: int) -> Forgotten:
        self._recordings.flush()
        return forget_elsewhere(self._directory, room, person, destroyed)
