"""What a room's microphones tell: who speaks, for its actor; how loud each is, for its clients.

Levels pass through here and are not journaled: five notices a second would be most of a log. What
follows from them, another speaker, is.
"""

from __future__ import annotations

from actors.core.speaking import SpeakerObserver
from actors.kernel.feed import RoomFeed
from protocol.messages import SpeakerNoted
from protocol.notices import AudioLevels
from protocol.notifications import audio_levels

LEVELS_TOLD_NS = 1_000_000_000
"""At least so long between two `audioLevels` notifications of a room that say who is heard. Each is
followed by one at most that says that nobody is, at once."""
MICROPHONES_MIN = 2
"""A room with fewer is told no levels: its viewers need not hear that the host speaks."""


class Hearing:
    """The ears of one room."""

    def __init__(self, feed: RoomFeed) -> None:
        self._feed = feed
        self._observer = SpeakerObserver()
        self._known: set[str] = set()
        self._told_ns = 0
        self._told_any = False
        """Whether the last notification said that anybody is heard."""

    def take(self, notice: AudioLevels, at_ns: int) -> SpeakerNoted | None:
        """Take a notice; returns who speaks if that is another one now."""
        microphones = self._feed.microphones
        for gone in self._known - microphones.keys():
            self._observer.forget(gone)
        self._known = set(microphones)
        noted = self._observer.observe(notice, at_ns)
        if len(microphones) >= MICROPHONES_MIN:
            self._tell_levels(at_ns)
        return noted if noted is not None and noted.producer in microphones else None

    def _tell_levels(self, at_ns: int) -> None:
        """Tell how loud each is, now and then; and at once, but only once, that all are silent."""
        microphones = self._feed.microphones
        heard = self._observer.levels()
        levels = [(one, microphones[one], level) for one, level in heard if one in microphones]
        due = at_ns - self._told_ns >= LEVELS_TOLD_NS if levels else self._told_any
        if due:
            if levels:
                self._told_ns = at_ns
            self._told_any = bool(levels)
            self._feed.tell_now(audio_levels(levels))
