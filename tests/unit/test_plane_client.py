"""The plane's face over one connection: order, answers, bounds, and what breaks it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from media.interface import PlaneDown, PlaneUnavailable, PlaneUp
from media.plane_client import ORDERS_MAX, QUERY_IDS_MAX, QUESTIONS_MAX, Plane
from media.plane_connection import FRAMES_IN_FLIGHT_MAX, PlaneRefused
from protocol.notices import (
    ConsumerScore,
    IceStateChanged,
    KeyFrameRequested,
    OrderRefused,
    PlaneLost,
)
from protocol.orders import (
    FRAME_BYTES_MAX,
    PLANE_PROTOCOL,
    Describe,
    IceCredentials,
    QueryStats,
    Remove,
    RequestKeyFrame,
    SetTransport,
    Stats,
    Table,
    TransportEntry,
)
from tests.contract import plane_rows as rows
from tests.unit.scripted_plane import ScriptedPlane, connected, new_plane

SCORE = ConsumerScore(consumer="c", score=9, producer_score=10)


def entry(transport: str, **more: object) -> TransportEntry:
    fields = {"worker": 0, "ice_state": "new", "remote": None, "srtp_profile": None} | more
    return TransportEntry(transport=transport, **fields)  # type: ignore[arg-type]


async def test_hello_takes_the_plane_over() -> None:
    plane = new_plane(grace_ms=1234)
    ours, theirs = trio.testing.memory_stream_pair()
    scripted = ScriptedPlane(theirs)
    table = Table(transports=(entry("t"),), producers=("p",), consumers=())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: plane.serve(ours, fresh=False))
        hello = await scripted.greet(table)
        up = await plane.notices.receive()
        nursery.cancel_scope.cancel()
    assert (hello.protocol, hello.version, hello.grace_ms) == (PLANE_PROTOCOL, "test", 1234)
    assert up == PlaneUp(info=scripted.info, table=table, fresh=False)
    assert plane.info is None


async def test_orders_of_many_submits_leave_in_one_frame_and_in_order() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        plane.submit([rows.recv_transport("a"), rows.recv_transport("b")])
        plane.submit([Remove(kind="consumer", id="x")])
        orders = await scripted.next_orders()
    assert [type(order).__name__ for order in orders] == ["SetTransport", "SetTransport", "Remove"]


async def test_empty_ice_passwords_are_filled_in_and_others_kept() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        ice = (IceCredentials(ufrag="new"), IceCredentials(ufrag="old", pwd="kept"))
        row = rows.send_transport(ice=ice)
        plane.submit([row])
        (order,) = await scripted.next_orders()
    assert isinstance(order, SetTransport)
    assert [one.pwd for one in order.ice] == ["pwd-new", "kept"]
    assert row.ice == ice


async def test_a_refused_order_comes_back_as_a_notice_between_the_others() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        plane.submit([rows.recv_transport(), RequestKeyFrame(consumer="c")])
        frame = await scripted.next_frame()
        await scripted.say(SCORE)
        error = {"error": {"code": "unknown_consumer", "message": "none"}}
        await scripted.answer(frame, None, error)
        await scripted.say(SCORE)
        said = [await plane.notices.receive() for _ in range(3)]
    refused = OrderRefused(kind="consumer", id="c", code="unknown_consumer", message="none")
    assert said == [SCORE, refused, SCORE]


async def test_an_order_larger_than_a_frame_is_refused_and_the_rest_goes_on() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        huge = rows.consumer("c" * FRAME_BYTES_MAX)
        plane.submit([rows.recv_transport("a"), huge, rows.recv_transport("b")])
        names = [order.transport for order in await scripted.next_orders()]  # type: ignore[union-attr]
        if names == ["a"]:
            names += [order.transport for order in await scripted.next_orders()]  # type: ignore[union-attr]
        said = await plane.notices.receive()
    assert names == ["a", "b"]
    assert isinstance(said, OrderRefused)
    assert said.code == "too_large"


async def test_questions_are_answered_whatever_comes_between(autojump_clock: object) -> None:
    plane = new_plane()
    answers: list[tuple[Stats, ...]] = []
    one = Stats(id="p", kind="producer", at_ns=1)
    async with connected(plane) as scripted, trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await plane.query_stats([str(n) for n in range(QUERY_IDS_MAX + 1)]))

        nursery.start_soon(ask)
        first = await scripted.next_frame()
        await scripted.say(SCORE)
        await scripted.answer(first, {"data": [one]})
        second = await scripted.next_frame()
        await scripted.answer(second, {"data": [one, one]})
    sizes = [len(o.ids) for f in (first, second) for o in f.orders if isinstance(o, QueryStats)]
    assert sizes == [QUERY_IDS_MAX, 1]
    assert answers == [(one, one, one)]


async def test_a_question_without_an_answer_times_out(autojump_clock: object) -> None:
    plane = new_plane()
    async with connected(plane):
        with pytest.raises(PlaneUnavailable, match="in time"):
            await plane.describe(timeout_s=3)
        with pytest.raises(PlaneUnavailable, match="in time"):
            await plane.query_stats(["p"], timeout_s=3)


@pytest.mark.parametrize(
    "result",
    [None, {"data": "no table"}, {"error": {"code": "broken", "message": ""}}],
    ids=["nil", "another shape", "an error"],
)
async def test_a_useless_answer_is_plane_unavailable(result: object) -> None:
    plane = new_plane()
    async with connected(plane) as scripted, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(PlaneUnavailable):
                await plane.describe()

        nursery.start_soon(ask)
        frame = await scripted.next_frame()
        assert frame.orders == [Describe()]
        await scripted.answer(frame, result)


async def test_a_broken_connection_leaves_no_question_hanging() -> None:
    plane = new_plane()
    async with connected(plane) as scripted, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(PlaneUnavailable, match="connection ended"):
                await plane.describe()

        nursery.start_soon(ask)
        await scripted.next_frame()
        await trio.aclose_forcefully(scripted.stream)


async def test_too_many_questions_are_refused() -> None:
    plane = new_plane()
    refused = 0
    async with connected(plane), trio.open_nursery() as nursery:

        async def ask() -> None:
            nonlocal refused
            with pytest.raises(PlaneUnavailable, match="too many"):
                await plane.describe()
            refused += 1

        for _ in range(QUESTIONS_MAX + 5):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert refused == 5
        nursery.cancel_scope.cancel()


async def serve_and_report(plane: Plane, stream: trio.abc.Stream, reasons: list[str]) -> None:
    reasons.append(await plane.serve(stream, fresh=True))


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "connection_lost"),
        (b"\xff\xff\xff\xff", "protocol_error: a frame of 4294967295 bytes"),
        (b"\0\0\0\1\xc1", "protocol_error"),
        (b"\0\0\0\x0b\x81\xa3seq\x63\0\0\0\0\0", "protocol_error"),
        (b"\0\0\0\x06\x81\xa3seq\x63", "protocol_error: an answer that fits no question: 99"),
    ],
    ids=["closed", "too long", "no msgpack", "trailing bytes", "unknown seq"],
)
async def test_what_breaks_the_protocol_ends_the_connection(sent: bytes, reason: str) -> None:
    plane = new_plane()
    ours, theirs = trio.testing.memory_stream_pair()
    scripted = ScriptedPlane(theirs)
    reasons: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_and_report, plane, ours, reasons)
        await scripted.greet()
        await plane.notices.receive()
        await theirs.send_all(sent) if sent else await theirs.aclose()
    assert reasons[0].startswith(reason)
    assert plane.info is None


async def test_a_plane_that_refuses_hello_has_changed_nothing() -> None:
    plane = new_plane()
    ours, theirs = trio.testing.memory_stream_pair()
    scripted = ScriptedPlane(theirs)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(PlaneRefused) as caught:
                await plane.serve(ours, fresh=True)
            assert caught.value.code == "protocol_mismatch"

        nursery.start_soon(serve)
        frame = await scripted.next_frame()
        error = {"error": {"code": "protocol_mismatch", "message": "I speak 2"}}
        await scripted.answer(frame, error, error)
    with pytest.raises(trio.WouldBlock):
        plane.notices.receive_nowait()


async def test_a_plane_that_never_answers_hello_is_given_up(autojump_clock: object) -> None:
    plane = new_plane()
    ours, _theirs = trio.testing.memory_stream_pair()
    assert await plane.serve(ours, fresh=True) == "hello_timeout"


async def test_a_plane_that_reads_no_orders_is_cut_off_when_the_queue_is_full() -> None:
    plane = new_plane()
    ours, theirs = trio.testing.memory_stream_pair()
    scripted = ScriptedPlane(theirs)
    reasons: list[str] = []
    removal = Remove(kind="consumer", id="x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_and_report, plane, ours, reasons)
        await scripted.greet()
        await plane.notices.receive()
        plane.submit([removal] * ORDERS_MAX)
        assert plane.info == scripted.info
        plane.submit([removal])
        assert plane.info is None
        plane.submit([removal])
    assert reasons == ["order_queue_overflow"]


async def test_frames_without_answers_are_bounded() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        frames = []
        for n in range(FRAMES_IN_FLIGHT_MAX):
            plane.submit([Remove(kind="consumer", id=str(n))])
            frames.append(await scripted.next_frame())
        plane.submit([Remove(kind="consumer", id="late")])
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0):
            await scripted.next_frame()
            pytest.fail("a frame more than may be in flight")
        await scripted.answer(frames[0])
        assert (await scripted.next_frame()).orders == [Remove(kind="consumer", id="late")]


async def test_a_slow_reader_of_notices_stops_the_socket_not_the_orders() -> None:
    plane = new_plane(notices_max=4)
    async with connected(plane) as scripted:
        said = [KeyFrameRequested(producer="p", encoding=0, requests=n) for n in range(9)]
        await scripted.say(*said)
        await trio.testing.wait_all_tasks_blocked()
        assert plane.notices.statistics().current_buffer_used == 4
        plane.submit([rows.recv_transport("a")])
        assert len(await scripted.next_orders()) == 1
        assert [await plane.notices.receive() for _ in range(9)] == said


async def test_while_down_orders_are_dropped() -> None:
    plane = new_plane()
    plane.submit([rows.recv_transport("a")])
    async with connected(plane) as scripted:
        plane.submit([rows.recv_transport("b")])
        (order,) = await scripted.next_orders()
    assert isinstance(order, SetTransport)
    assert order.transport == "b"


async def test_a_lost_plane_loses_each_transport_that_it_carried_once() -> None:
    plane = new_plane()
    table = Table(transports=(entry("old"),), producers=(), consumers=())
    async with connected(plane, table) as scripted:
        plane.submit([rows.recv_transport("new"), rows.recv_transport("gone")])
        plane.submit([Remove(kind="transport", id="gone")])
        await scripted.next_orders()
    await plane.report_down("signal SIGKILL", lost=True)
    await plane.report_down("again", lost=True)
    said = [await plane.notices.receive() for _ in range(4)]
    assert said == [
        PlaneLost(transport="new", reason="signal SIGKILL"),
        PlaneLost(transport="old", reason="signal SIGKILL"),
        PlaneDown(reason="signal SIGKILL"),
        PlaneDown(reason="again"),
    ]


async def test_another_plane_at_the_same_socket_means_that_the_first_is_lost() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        plane.submit([rows.recv_transport("a")])
        await scripted.next_orders()
    await plane.report_down("connection_lost", lost=False)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: plane.serve(ours, fresh=False))
        await ScriptedPlane(theirs, "two").greet()
        said = [await plane.notices.receive() for _ in range(3)]
        nursery.cancel_scope.cancel()
    assert said[0] == PlaneDown(reason="connection_lost")
    assert isinstance(said[1], PlaneLost)
    assert isinstance(said[2], PlaneUp)


async def test_notices_that_come_before_the_greeting_ends_follow_plane_up() -> None:
    plane = new_plane()
    ours, theirs = trio.testing.memory_stream_pair()
    scripted = ScriptedPlane(theirs)
    early = IceStateChanged(transport="t", state="connected", remote="127.0.0.1:9")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: plane.serve(ours, fresh=False))
        await scripted.say(early)
        await scripted.greet()
        await scripted.say(SCORE)
        said = [await plane.notices.receive() for _ in range(3)]
        nursery.cancel_scope.cancel()
    assert isinstance(said[0], PlaneUp)
    assert said[1:] == [early, SCORE]
