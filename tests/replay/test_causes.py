"""Every chain of causes begins with what came from outside, and effects are causes seen backwards.

Held over all histories, over every scenario of the control plane as it is decided today, and over
worlds of random clients, faults and crashes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from typing import get_args

import pytest

from protocol import commands, messages, notices
from protocol.envelope import Envelope
from replay.causes import Link, story
from replay.reader import LogReader
from tests.control.scenarios import SCENARIOS
from tests.histories.record import of_scenario
from tests.replay.sessions import Session, call, store
from tests.simulation.test_control_plane import live
from tests.support.serving import ROOT

HISTORIES = [
    path
    for path in sorted((ROOT / "tests" / "histories").glob("*.zip"))
    if not path.name.startswith("corrupted")
]
REQUESTS = frozenset(kind.__name__ for kind in get_args(commands.Command))
NOTICES = frozenset(kind.__name__ for kind in get_args(notices.Notice))
FROM_OUTSIDE = frozenset(
    (
        "OpenRoom", "SocketLost", "EvictPeer", "PlaneStarted", "PlaneStopped", "ControlRestarted",
        "CloseRoom", "CaptureRoom", "ChildFailed",
    )
)  # fmt: skip
"""Messages of the house that the gateway and the kernel begin."""
WITHIN = frozenset(kind.__name__ for kind in get_args(messages.Message)) - FROM_OUTSIDE
"""Messages that an actor sends because of another, and timers, whose cause set them."""


def hold(log: list[Envelope]) -> int:
    """All that holds of causes in a log; how many envelopes there are."""
    by_position = {envelope.position: envelope for envelope in log}
    for envelope in log:
        cause = None if envelope.cause is None else by_position[envelope.cause]
        if envelope.kind == "event":
            assert cause is not None, envelope
            assert cause.kind == "message"
            assert cause.actor == envelope.actor, "an actor decides for itself alone"
            assert cause.correlation == envelope.correlation
        elif envelope.type in WITHIN:
            assert cause is not None, envelope
            assert cause.kind == "message"
            assert envelope.type == "TimerFired" or cause.correlation == envelope.correlation
        else:
            assert envelope.type in REQUESTS | NOTICES | FROM_OUTSIDE
            assert cause is None, "what comes from outside has no cause within"
            assert (envelope.correlation is not None) == (envelope.type in REQUESTS), envelope
        if cause is not None:
            assert cause.position < envelope.position
            assert cause.at_ns <= envelope.at_ns
    return len(log)


def positions(link: Link) -> set[int]:
    """All positions of a tree of effects, without its root."""
    found: set[int] = set()
    rest = list(link.effects)
    while rest:
        each = rest.pop()
        found.add(each.envelope.position)
        rest += each.effects
    return found


def forward_and_backward(reader: LogReader, room: str, asked: Iterable[int], end: int) -> None:
    """Hold that whatever a decision led to leads back to it, and nothing else does."""
    back = {n: [e.position for e in story(reader, room, n, n).chain] for n in asked}
    for position in back:
        told = story(reader, room, position, end)
        decision = told.effects.envelope.position
        forward = positions(told.effects)
        assert forward == {n for n, chain in back.items() if decision in chain[:-1]}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_in_real_sessions(path, tmp_path):
    with zipfile.ZipFile(path) as history:
        history.extractall(tmp_path)
    about = json.loads((tmp_path / "about.json").read_text())
    with LogReader(tmp_path) as reader:
        log = [envelope for batch in reader.batches(about["room"]) for envelope in batch]
        assert hold(log) == about["position"]
        end = min(about["position"], 250)
        forward_and_backward(reader, about["room"], range(1, end + 1), end)


@pytest.mark.parametrize("name", [scenario.__name__ for scenario in SCENARIOS])
def test_in_every_scenario_as_it_is_decided_today(name):
    assert hold(of_scenario(name)) > 4


@pytest.mark.parametrize("seed", range(6))
def test_in_random_worlds_with_faults_and_crashes(seed):
    logs = live(seed).stage.store._logs
    assert sum(hold(list(log)) for log in logs.values()) > 100


def test_forward_and_backward_are_each_others_inverse(tmp_path):
    session: Session = call(viewers=3)
    session.wait(40)
    session.close()
    hold(session.envelopes())
    with LogReader(store(tmp_path / "data", session)) as reader:
        everything = range(1, session.position + 1)
        forward_and_backward(reader, "lobby", everything, session.position)
