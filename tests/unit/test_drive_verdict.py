"""What counts as a difference between a recorded session and a driven one."""

from __future__ import annotations

import msgspec
import pytest

from load.drive.play import Driven
from load.drive.stage import Difference
from load.drive.verdict import judge
from protocol.script import Enter, Figures, Leave, Script, ScriptedPeer, Step

SECOND = 1_000_000_000


def figures(**changes):
    plain = Figures(
        joins=1, consumers=2, connected_ms=100.0, first_packet_ms=200.0, refusals={},
        notifications={"peerLeft": 1}, packets=1000, packets_lost=0, received_bps=500_000.0,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def session(recorded, *, sure_ns=5 * SECOND):
    steps = (
        Step(at_ns=0, position=3, action=Enter(name="Ada", publish=True, subscribe=True)),
        Step(at_ns=20 * SECOND, position=90, action=Leave()),
    )
    peer = ScriptedPeer(
        peer="p_1", name="Ada", steps=steps, recorded=recorded, sure_ns={"peerLeft": sure_ns}
    )
    return Script(
        room="r", begins_at_ns=0, duration_ns=20 * SECOND, peers=(peer,), measured=True, left_out={}
    )


def driven(found, *, differences=(), stopped=False):
    return Driven(
        rooms=("r-1",), figures=({"p_1": found},), differences=list(differences),
        differences_in_all=len(differences), steps=2, steps_left_out=0, took_s=1.0,
        lag_ms_max=0.0, stopped=stopped,
    )  # fmt: skip


def differences(found, *, recorded=None, speed=1.0, **more):
    verdict = judge(session(recorded or figures(), **more), driven(found), speed)
    assert verdict.alike == (not verdict.differences)
    return [one.what for one in verdict.differences]


def test_the_same_again_is_alike():
    assert differences(figures()) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"consumers": 1}, "consumers: 2 recorded, 1 driven"),
        ({"joins": 0}, "joins: 1 recorded, 0 driven"),
        (
            {"refusals": {"consume limit_reached": 3}},
            "refused consume limit_reached: 0 recorded, 3 driven",
        ),
        ({"first_packet_ms": None}, "a first packet: after 200 ms recorded, never driven"),
        (
            {"first_packet_ms": 5300.0},
            "a first packet: after 200 ms recorded, after 5300 ms driven",
        ),
        ({"packets_lost": 50}, "packets lost: 0.0% recorded, 4.8% driven"),
        ({"notifications": {}}, "was told peerLeft when recorded, and was not when driven"),
        (
            {"notifications": {"peerLeft": 1, "transportClosed": 2}},
            "told transportClosed 2 times, which was never told when recorded",
        ),
        (
            {"received_bps": 200_000.0},
            "a watched stream had 500 kbit/s recorded, 200 driven",
        ),
    ],
)
def test_each_of_these_is_a_difference(changes, what):
    assert differences(figures(**changes)) == [what]


@pytest.mark.parametrize(
    "changes",
    [
        {"first_packet_ms": 5100.0},
        {"packets_lost": 19},
        {"packets": 100, "packets_lost": 20},
        {"received_bps": 300_000.0},
        {"notifications": {"peerLeft": 3, "score": 9, "layersChanged": 1}},
    ],
)
def test_what_network_and_machine_have_their_part_in_has_thresholds(changes):
    assert differences(figures(**changes)) == []


def test_recorded_refusals_are_expected_and_their_absence_is_a_difference():
    recorded = figures(refusals={"consume producer_not_found": 2})
    assert differences(figures(refusals={"consume producer_not_found": 2}), recorded=recorded) == []
    assert differences(figures(), recorded=recorded) == [
        "refused consume producer_not_found: 2 recorded, 0 driven"
    ]


def test_at_high_speed_what_could_be_missed_may_be_missed():
    missed = figures(notifications={}, first_packet_ms=None)
    assert len(differences(missed, speed=2.0)) == 2
    assert differences(missed, speed=50.0) == []


def test_times_are_expected_as_much_earlier_as_the_speed_says():
    recorded = figures(first_packet_ms=12_000.0)
    assert differences(figures(first_packet_ms=7_900.0), recorded=recorded, speed=4.0) == []
    assert len(differences(figures(first_packet_ms=8_100.0), recorded=recorded, speed=4.0)) == 1


def test_differences_of_steps_come_first_and_a_stopped_drive_has_only_those():
    step = Difference(room="r-1", peer="p_1", position=3, what="join failed: no connection")
    script = session(figures())
    found = judge(script, driven(figures(joins=0), differences=[step]), 1.0)
    assert found.differences[0] == step
    assert len(found.differences) == 2
    stopped = judge(script, driven(figures(joins=0), differences=[step], stopped=True), 1.0)
    assert stopped.differences == [step]
