"""Who speaks in a room: the dominant speaker out of how loud its microphones are. Pure.

Each microphone has a loudness from 0 (silence, `SILENCE_DBOV`) to 1 that rises quickly and falls
slowly, so that a pause for breath is not silence. Another speaker takes the word when it has been
clearly louder than the present one for `TAKES_WORD_NS`: a cough does not. What comes out enters the
room's actor as a message (`SpeakerNoted`) and is journaled; the levels themselves are not.
"""

from __future__ import annotations

import math

from protocol.messages import SpeakerNoted
from protocol.notices import AudioLevels

SILENCE_DBOV = -70
"""What is not louder counts as silence."""
RISE_NS = 200_000_000
FALL_NS = 1_000_000_000
"""Time constants of a microphone's loudness."""
TAKES_WORD_NS = 600_000_000
CLEARLY_LOUDER = 0.15
"""So much louder than the present speaker is who takes the word."""
AUDIBLE = 0.1
"""Below it nobody takes the word."""


class SpeakerObserver:
    """The microphones of one room. Feed it each notice; times are those of the server's clock."""

    def __init__(self) -> None:
        self._heard: dict[int, dict[str, int]] = {}
        """What each worker told last: level in -dBov by producer."""
        self._loudness: dict[str, float] = {}
        self._speaker: str | None = None
        self._challenger: tuple[str, int] | None = None
        """Who is clearly louder than the speaker, and since when."""
        self._at_ns: int | None = None

    def levels(self) -> tuple[tuple[str, int], ...]:
        """Producers that are heard now and their levels in dBov (-127 to 0), loudest first."""
        heard = [
            (producer, -level) for told in self._heard.values() for producer, level in told.items()
        ]
        return tuple(sorted(heard, key=lambda pair: (-pair[1], pair[0])))

    def forget(self, producer: str) -> None:
        """A producer is gone."""
        self._loudness.pop(producer, None)
        for told in self._heard.values():
            told.pop(producer, None)
        if self._speaker == producer:
            self._speaker = None

    def observe(self, notice: AudioLevels, at_ns: int) -> SpeakerNoted | None:
        """Take what one worker heard; returns who speaks if that is another one now."""
        self._heard[notice.worker] = {one.producer: one.level for one in notice.levels}
        self._follow(at_ns)
        loudest = self._loudest()
        if loudest is None or loudest == self._speaker:
            self._challenger = None
            return None
        mine, theirs = self._loudness[loudest], self._loudness.get(self._speaker or "", 0.0)
        if mine < AUDIBLE or (self._speaker is not None and mine < theirs + CLEARLY_LOUDER):
            self._challenger = None
            return None
        if self._speaker is not None:
            if self._challenger is None or self._challenger[0] != loudest:
                self._challenger = loudest, at_ns
            if at_ns - self._challenger[1] < TAKES_WORD_NS:
                return None
        before, self._speaker, self._challenger = self._speaker, loudest, None
        levels = dict(self.levels())
        return SpeakerNoted(
            producer=loudest,
            level=levels.get(loudest, SILENCE_DBOV),
            before=before,
            before_level=None if before is None else levels.get(before, SILENCE_DBOV),
        )

    def _loudest(self) -> str | None:
        ranks = self._loudness
        return min(ranks, key=lambda producer: (-ranks[producer], producer), default=None)

    def _follow(self, at_ns: int) -> None:
        """Move each loudness towards what is heard, for the time since the last notice."""
        elapsed_ns = 0 if self._at_ns is None else max(0, at_ns - self._at_ns)
        first = self._at_ns is None
        self._at_ns = at_ns
        now = {producer: 1 - level / SILENCE_DBOV for producer, level in self.levels()}
        for producer in [*now, *(gone for gone in self._loudness if gone not in now)]:
            aim, is_ = max(0.0, now.get(producer, 0.0)), self._loudness.get(producer, 0.0)
            constant_ns = RISE_NS if aim > is_ else FALL_NS
            share = 0.5 if first else 1 - math.exp(-elapsed_ns / constant_ns)
            is_ += (aim - is_) * share
            if is_ < AUDIBLE / 10 and producer not in now:
                del self._loudness[producer]
            else:
                self._loudness[producer] = is_
