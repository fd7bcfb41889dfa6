"""Who speaks: out of how loud the microphones are."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from actors.core.speaking import SpeakerObserver
from protocol.messages import SpeakerNoted
from protocol.notices import AudioLevels, Level

STEP_NS = 200_000_000


class Room:
    """A room that is heard every 200 ms; levels are in dBov."""

    def __init__(self) -> None:
        self.observer = SpeakerObserver()
        self.at_ns = 1_000_000_000_000

    def hear(self, steps: int = 1, worker: int = 0, **levels: int) -> list[SpeakerNoted]:
        """The speakers noted in so many intervals with these levels."""
        noted = []
        for _ in range(steps):
            self.at_ns += STEP_NS
            told = sorted((-level, producer) for producer, level in levels.items())
            notice = AudioLevels(
                room="room",
                worker=worker,
                levels=tuple(Level(producer=producer, level=level) for level, producer in told),
            )
            found = self.observer.observe(notice, self.at_ns)
            noted += [] if found is None else [found]
        return noted


def test_the_first_who_is_heard_speaks_at_once() -> None:
    room = Room()
    assert room.hear(ann=-20) == [SpeakerNoted(producer="ann", level=-20)]
    assert room.hear(10, ann=-25) == []


def test_another_takes_the_word_after_a_while() -> None:
    room = Room()
    room.hear(10, ann=-20)
    assert room.hear(2, bob=-20) == []
    [noted] = room.hear(10, bob=-20)
    assert (noted.producer, noted.before) == ("bob", "ann")
    assert (noted.level, noted.before_level) == (-20, -70)


def test_a_cough_does_not_take_the_word() -> None:
    room = Room()
    room.hear(10, ann=-25)
    assert room.hear(2, ann=-25, bob=-5) == []
    assert room.hear(20, ann=-25) == []


def test_two_who_are_alike_do_not_take_turns() -> None:
    room = Room()
    room.hear(10, ann=-24)
    noted = []
    for _ in range(50):
        noted += room.hear(ann=-24, bob=-21)
        noted += room.hear(ann=-22, bob=-25)
    assert noted == []


def test_a_pause_for_breath_is_no_silence() -> None:
    room = Room()
    room.hear(10, ann=-20)
    assert room.hear(2, bob=-55) == []
    assert room.hear(5, ann=-20, bob=-55) == []


def test_a_murmur_takes_no_word() -> None:
    assert Room().hear(20, ann=-66) == []


def test_who_is_gone_is_forgotten() -> None:
    room = Room()
    room.hear(10, ann=-20, bob=-40)
    room.observer.forget("ann")
    assert [noted.producer for noted in room.hear(5, bob=-40)] == ["bob"]
    assert room.observer.levels() == (("bob", -40),)


def test_workers_are_heard_together() -> None:
    room = Room()
    room.hear(worker=0, ann=-40)
    room.hear(worker=1, bob=-20)
    assert room.observer.levels() == (("bob", -20), ("ann", -40))
    room.hear(worker=1)
    assert room.observer.levels() == (("ann", -40),)


LEVELS = st.dictionaries(st.sampled_from(["ann", "bob", "cid"]), st.integers(-69, 0))


@given(st.lists(LEVELS, max_size=60))
def test_whatever_is_heard_names_change_each_time_and_stay_for_a_while(
    heard: list[dict[str, int]],
) -> None:
    room = Room()
    noted: list[tuple[int, SpeakerNoted]] = []
    for levels in heard:
        noted += [(room.at_ns, one) for one in room.hear(**levels)]
    for (before_ns, before), (at_ns, one) in itertools.pairwise(noted):
        assert one.before == before.producer != one.producer
        assert at_ns - before_ns >= 3 * STEP_NS
