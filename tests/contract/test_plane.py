"""What every media plane promises: the fake, a process that speaks the protocol, the native one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from media.interface import PlaneDown, PlaneItem, PlaneUnavailable, PlaneUp
from protocol.notices import OrderRefused, PlaneLost, ProducerDemandChanged
from protocol.orders import Order, Remove, RequestKeyFrame
from tests.contract import plane_rows as rows
from tests.contract.plane_harness import (
    Harness,
    drain,
    fake_harness,
    native_command,
    next_of,
    process_harness,
    stand_in_command,
)

ALL: list[Order] = [
    rows.send_transport(),
    rows.recv_transport(),
    rows.producer(),
    rows.consumer(),
]


@pytest.fixture(params=["fake", "stand-in", pytest.param("native", marks=pytest.mark.plane)])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    commands = {"stand-in": stand_in_command, "native": native_command}
    command = commands.get(request.param)
    async with fake_harness() if command is None else process_harness(command) as harness:
        yield harness


async def contents(harness: Harness) -> tuple[list[str], list[str], list[str]]:
    table = await harness.plane.describe()
    names = [entry.transport for entry in table.transports]
    return sorted(names), sorted(table.producers), sorted(table.consumers)


async def refusals(harness: Harness) -> list[tuple[str, str, str]]:
    said = await drain(harness.plane)
    return [(one.kind, one.id, one.code) for one in said if isinstance(one, OrderRefused)]


async def test_it_begins_with_plane_up_and_an_empty_table(harness: Harness) -> None:
    up = await harness.plane.notices.receive()
    assert isinstance(up, PlaneUp)
    assert up.fresh
    assert up.info == harness.plane.info
    assert up.info.workers
    assert await contents(harness) == ([], [], [])


async def test_rows_stand_in_the_table(harness: Harness) -> None:
    harness.plane.submit(ALL)
    assert await contents(harness) == (["t-recv", "t-send"], ["p"], ["c"])
    entry = (await harness.plane.describe()).transports[0]
    assert (entry.ice_state, entry.remote, entry.srtp_profile) == ("new", None, None)
    assert await refusals(harness) == []


async def test_the_same_rows_again_change_nothing(harness: Harness) -> None:
    harness.plane.submit(ALL)
    before = await harness.plane.describe()
    harness.plane.submit(ALL)
    assert await harness.plane.describe() == before
    assert await refusals(harness) == []


@pytest.mark.parametrize(
    ("kind", "name", "left"),
    [
        ("transport", "t-send", (["t-recv"], [], [])),
        ("transport", "t-recv", (["t-send"], ["p"], [])),
        ("producer", "p", (["t-recv", "t-send"], [], [])),
        ("consumer", "c", (["t-recv", "t-send"], ["p"], [])),
    ],
)
async def test_removal_takes_along_what_hangs_on_it(
    harness: Harness, kind: str, name: str, left: tuple[list[str], list[str], list[str]]
) -> None:
    harness.plane.submit([*ALL, Remove(kind=kind, id=name)])  # type: ignore[arg-type]
    assert await contents(harness) == left
    assert await refusals(harness) == []


async def test_removing_what_is_not_there_is_no_error(harness: Harness) -> None:
    harness.plane.submit([Remove(kind="transport", id="x"), Remove(kind="consumer", id="x")])
    assert await refusals(harness) == []


async def test_rows_that_contradict_the_table_are_refused_one_by_one(harness: Harness) -> None:
    harness.plane.submit(
        [
            rows.producer("early"),
            *ALL[:2],
            rows.producer("wrong", transport="t-recv"),
            rows.consumer("early"),
            rows.producer(),
            rows.consumer("wrong", transport="t-send"),
            rows.consumer("lost", transport="nowhere"),
            rows.consumer(),
            RequestKeyFrame(consumer="nobody"),
        ]
    )
    assert await refusals(harness) == [
        ("producer", "early", "unknown_transport"),
        ("producer", "wrong", "wrong_direction"),
        ("consumer", "early", "unknown_producer"),
        ("consumer", "wrong", "wrong_direction"),
        ("consumer", "lost", "unknown_transport"),
        ("consumer", "nobody", "unknown_consumer"),
    ]
    assert await contents(harness) == (["t-recv", "t-send"], ["p"], ["c"])


async def test_what_is_fixed_for_life_can_not_be_changed(harness: Harness) -> None:
    harness.plane.submit([*ALL, rows.recv_transport("t-send"), rows.send_transport("t-2")])
    harness.plane.submit([rows.producer(transport="t-2"), rows.consumer(transport="t-send")])
    assert await refusals(harness) == [
        ("transport", "t-send", "immutable_field"),
        ("producer", "p", "immutable_field"),
        ("consumer", "c", "immutable_field"),
    ]


async def test_stats_tell_each_known_entry_and_leave_out_the_others(harness: Harness) -> None:
    harness.plane.submit(ALL)
    stats = {one.id: one for one in await harness.plane.query_stats(["t-send", "p", "c", "x"])}
    assert {name: one.kind for name, one in stats.items()} == {
        "t-send": "transport",
        "p": "producer",
        "c": "consumer",
    }
    transport = stats["t-send"].transport
    assert transport is not None
    assert (transport.ice_state, transport.packets_received) == ("new", 0)
    assert [stream.ssrc for stream in stats["p"].streams] == [1111]
    assert [stream.ssrc for stream in stats["c"].streams] == [5555]
    assert await harness.plane.query_stats([]) == ()


async def test_a_dead_plane_reports_what_it_carried_lost_and_a_fresh_one_follows(
    harness: Harness,
) -> None:
    first = await next_of(harness.plane, PlaneUp)
    harness.plane.submit([*ALL, rows.send_transport("gone"), Remove(kind="transport", id="gone")])
    await harness.plane.describe()
    await harness.crash()
    said: list[PlaneItem] = []
    while not said or not isinstance(said[-1], PlaneUp):
        said.append(await harness.plane.notices.receive())
    reason = "signal SIGKILL"
    of_the_living = (ProducerDemandChanged,)  # what a consumer that is not paused calls for
    assert [one for one in said[:-1] if not isinstance(one, of_the_living)] == [
        PlaneLost(transport="t-recv", reason=reason),
        PlaneLost(transport="t-send", reason=reason),
        PlaneDown(reason=reason),
    ]
    second = said[-1]
    assert isinstance(second, PlaneUp)
    assert second.fresh
    assert second.info.incarnation != first.info.incarnation
    assert await contents(harness) == ([], [], [])


async def test_a_lost_connection_loses_nothing(harness: Harness) -> None:
    first = await next_of(harness.plane, PlaneUp)
    harness.plane.submit(ALL)
    table = await harness.plane.describe()
    await harness.reconnect()
    await next_of(harness.plane, PlaneDown)
    second = await harness.plane.notices.receive()
    assert isinstance(second, PlaneUp)
    assert not second.fresh
    assert second.info.incarnation == first.info.incarnation
    assert second.table == table
    harness.plane.submit(ALL)
    assert await refusals(harness) == []


async def test_while_it_is_down_orders_are_dropped_and_questions_unanswered() -> None:
    async with fake_harness() as harness:
        plane = harness.plane
        plane.lose_connection()  # type: ignore[attr-defined]
        assert plane.info is None
        plane.submit(ALL)
        with pytest.raises(PlaneUnavailable):
            await plane.describe()
        with pytest.raises(PlaneUnavailable):
            await plane.query_stats(["p"])
        plane.restart()  # type: ignore[attr-defined]
        assert await contents(harness) == ([], [], [])
