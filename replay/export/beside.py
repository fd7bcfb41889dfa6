"""What is kept beside the log and goes into an export: telemetry and recordings.

Both are expendable: where there are none, or they cannot be read, an export goes without them, and
`problems` says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from replay.errors import ReplayError
from replay.export import pcapng
from replay.recordings import Recording, Recordings
from replay.redact import Redactor
from replay.session_figures import SessionStats
from replay.session_telemetry import SLACK_NS, join
from replay.store.errors import StoreError, StoreMissing
from replay.telemetry import ALWAYS_NS, Telemetry
from replay.telemetry_seconds import Second, seconds


class Beside:
    """Telemetry and recordings of a stretch of a room's log. Everything blocks."""

    def __init__(
        self,
        directory: Path,
        room: str,
        *,
        after: int = 0,
        up_to: int | None = None,
        cut: bool = False,
        redactor: Redactor | None = None,
    ) -> None:
        """Of positions beyond `after` and up to `up_to`; `room` is the real name.

        `cut` says that the stretch ends before the log does, so later telemetry is not of it.
        """
        self._directory = directory
        self._room = room
        self._after = after
        self._up_to = up_to
        self._cut = cut
        self._redactor = redactor
        self.problems: dict[str, str] = {}
        """Why there is no telemetry, or are no recordings."""

    def measured(self) -> bool:
        """Whether the room has telemetry at all; if not, `problems` says why."""
        try:
            if Telemetry(self._directory).span(self._room) is not None:
                return True
            self.problems["telemetry"] = "nothing was measured in this room"
        except StoreMissing:
            self.problems["telemetry"] = "there is no telemetry"
        except (StoreError, ReplayError) as error:
            self.problems["telemetry"] = str(error)
        return False

    def join(self, session: SessionStats) -> None:
        """Add to a session's figures what was measured."""
        join(session, self._directory, self._room)

    def until_ns(self, last_at_ns: int, *, closed: bool) -> int:
        """How long telemetry belongs to an export whose last envelope is of `last_at_ns`."""
        if self._cut:
            return last_at_ns + 1
        return last_at_ns + SLACK_NS if closed else ALWAYS_NS

    def seconds(self, since_ns: int, until_ns: int) -> Iterator[Second]:
        """What was measured from `since_ns` up to `until_ns`, second by second."""
        if not self.measured():
            return
        try:
            yield from seconds(Telemetry(self._directory), self._room, since_ns, until_ns)
        except (StoreError, ReplayError) as error:
            self.problems["telemetry"] = str(error)

    def recordings(self) -> list[Recording]:
        """The recordings that the stretch asked for, in order of position."""
        try:
            found = Recordings(self._directory).of_room(self._room)
        except StoreMissing:
            self.problems["recordings"] = "there are no recordings"
            return []
        except (StoreError, ReplayError) as error:
            self.problems["recordings"] = str(error)
            return []
        return [
            one
            for one in found
            if one.position > self._after and (self._up_to is None or one.position <= self._up_to)
        ]

    def pcapng(self) -> Iterator[bytes]:
        """The recordings as pcapng; one that is broken ends it, and is told as a problem."""
        reader = Recordings(self._directory)
        pseudonym = None if self._redactor is None else self._redactor.host
        try:
            yield from pcapng.export(
                ((one, reader.packets(self._room, one)) for one in self.recordings()),
                pseudonym=pseudonym,
            )
        except (StoreError, ReplayError) as error:
            self.problems["recordings"] = str(error)
