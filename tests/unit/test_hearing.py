"""What a room is told of its microphones: how often, and by whom."""

from __future__ import annotations

import itertools
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from actors.kernel.feed import RoomFeed
from actors.kernel.hearing import LEVELS_TOLD_NS, Hearing
from protocol.notices import AudioLevels, Level
from protocol.notifications import Notification

STEP_NS = 200_000_000
S = 1_000_000_000


class Feed:
    """A room with these microphones; keeps what it is told."""

    def __init__(self, *producers: str) -> None:
        self.microphones = {producer: f"p_{producer}" for producer in producers}
        self.told: list[list[str]] = []

    def tell_now(self, notification: Notification) -> None:
        """Keep whom a notification names."""
        self.told.append([one["producer"] for one in notification.data["levels"]])


class Room:
    """Microphones that workers hear every 200 ms."""

    def __init__(self, *producers: str) -> None:
        self.feed = Feed(*producers)
        self._hearing = Hearing(cast("RoomFeed", self.feed))
        self.at_ns = 1_000 * S

    def hear(self, *heard: str, worker: int = 0, pass_ns: int = STEP_NS) -> int:
        """A worker hears these; how many notifications that gave."""
        before = len(self.feed.told)
        self.at_ns += pass_ns
        levels = tuple(Level(producer=one, level=20) for one in heard)
        self._hearing.take(AudioLevels(room="room", worker=worker, levels=levels), self.at_ns)
        return len(self.feed.told) - before


def test_who_is_heard_is_told_once_a_second() -> None:
    room = Room("ann", "bob")
    assert [room.hear("ann") for _ in range(11)] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_silence_is_told_at_once_and_once() -> None:
    room = Room("ann", "bob")
    room.hear("ann")
    assert [room.hear() for _ in range(20)] == [1] + [0] * 19
    assert room.feed.told == [["ann"], []]


def test_a_clicking_microphone_is_told_of_no_more_often_than_a_speaking_one() -> None:
    room = Room("ann", "bob")
    told = 0
    for _ in range(25):
        told += room.hear("ann") + room.hear()
    assert told <= 2 * 10


def test_the_silence_of_one_worker_is_none_while_another_hears_somebody() -> None:
    room = Room("ann", "bob")
    room.hear("ann", worker=0)
    room.hear("bob", worker=1, pass_ns=0)
    assert room.hear(worker=1) == 0
    assert room.hear(worker=0) == 1
    assert room.feed.told == [["ann"], []]


def test_a_room_with_one_microphone_is_told_nothing() -> None:
    room = Room("ann")
    assert [room.hear("ann"), room.hear()] == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=80))
def test_whatever_is_heard_two_tell_of_levels_no_sooner_than_a_second_apart(
    heard: list[tuple[int, bool, bool]],
) -> None:
    room = Room("ann", "bob")
    times: list[int] = []
    for worker, ann, bob in heard:
        names = [name for name, is_heard in (("ann", ann), ("bob", bob)) if is_heard]
        if room.hear(*names, worker=worker) and room.feed.told[-1]:
            times.append(room.at_ns)
    assert all(two - one >= LEVELS_TOLD_NS for one, two in itertools.pairwise(times))
    for one, two in itertools.pairwise(room.feed.told):
        assert one or two, "silence was told twice"
