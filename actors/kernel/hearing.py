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
"""At least so long between two `audioLevels` notifications of a room."""
MICROPHONES_MIN = 2
"""A room with fewer is told no levels: its viewers need not hear that the host speaks."""


class Hearing:
    """The ears of one room."""

    def __init__(self, feed: RoomFeed) -> None:
        self._feed = feed
        self._observer = SpeakerObserver()
        self._known: set[str] = set()
        self._told_ns = 0

    def take(self, notice: AudioLevels, at_ns: int) -> SpeakerNoted | None:
        """Take a notice; returns who speaks if that is another one now."""
        microphones = self._feed.microphones
        for gone in self._known - microphones.keys():
            self._observer.forget(gone)
        self._known = set(microphones)
        noted = self._observer.observe(notice, at_ns)
        if len(microphones) >= MICROPHONES_MIN and (
            at_ns - self._told_ns >= LEVELS_TOLD_NS or not notice.levels
        ):
            self._told_ns = at_ns
            heard = self._observer.levels()
            levels = [(one, microphones[one], level) for one, level in heard if one in microphones]
            self._feed.tell_now(audio_levels(levels))
        return noted if noted is not None and noted.producer in microphones else None
