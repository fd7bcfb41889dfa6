"""A client that lost its socket comes back: each notification reaches it once, in order."""

import pytest
import trio

from gateway.keys import ServerKeys
from protocol.messages import SocketLost
from protocol.signaling import JSON, MSGPACK, CloseCode
from tests.scenario.signaling_bench import KEYS, signaling


async def positions(client, count):
    return [(await client.next_told())["position"] for _ in range(count)]


async def test_missed_notifications_come_once_and_then_the_live_ones():
    async with signaling() as bench:
        first = await bench.connect()
        joined = await first.join()
        feed = bench.control.feeds["lobby"]
        feed.publish("producerPaused", {"producer": "d"})
        assert await positions(first, 1) == [2]
        await first.websocket.aclose()
        await bench.control.wait_until(lambda: bench.control.posted)
        feed.publish("producerResumed", {"producer": "d"})
        feed.tell("somebody else", "score", {})
        feed.publish("streamingStarted", {})
        second = await bench.connect(JSON)
        answer = await second.request("resume", {"session": joined["session"], "position": 2})
        assert answer["data"]["peer"] == joined["peer"]
        assert answer["data"]["session"] == joined["session"]
        feed.publish("producerClosed", {})
        assert await positions(second, 3) == [3, 5, 6]


async def test_what_happens_while_missed_events_are_read_comes_after_them():
    async with signaling() as bench:
        first = await bench.connect()
        joined = await first.join()
        feed = bench.control.feeds["lobby"]
        await first.websocket.aclose()
        await bench.control.wait_until(lambda: bench.control.posted)
        feed.publish("producerPaused", {})
        feed.reading = trio.Event()
        second = await bench.connect()
        assert (await second.request("resume", {"session": joined["session"], "position": 1}))["ok"]
        feed.publish("producerResumed", {})
        feed.publish("producerClosed", {})
        feed.reading.set()
        assert await positions(second, 3) == [2, 3, 4]


async def test_the_answer_comes_before_what_happened_after_it():
    async with signaling() as bench:
        client = await bench.connect()
        await client.send({"id": 1, "method": "join", "data": {"room": "lobby"}})
        await bench.control.wait_until(lambda: "lobby" in bench.control.feeds)
        bench.control.feeds["lobby"].publish("producerPaused", {})
        frames = [await client.receive(), await client.receive()]
        assert [frame.get("id") or frame["event"] for frame in frames] == [1, "producerPaused"]


async def test_many_missed_notifications_wait_for_their_reader():
    limits = {"outbox_bytes_max": 65_536, "message_bytes_max": 4096}
    async with signaling(limits=limits) as bench:
        first = await bench.connect()
        joined = await first.join()
        feed = bench.control.feeds["lobby"]
        await first.websocket.aclose()
        await bench.control.wait_until(lambda: bench.control.posted)
        for number in range(6000):
            feed.publish("score", {"producer": "d" * 100, "score": [number]})
        second = await bench.connect()
        assert (await second.request("resume", {"session": joined["session"], "position": 1}))["ok"]
        assert await positions(second, 6000) == list(range(2, 6002))


async def test_missed_notifications_that_are_large_wait_for_their_reader_too():
    limits = {"outbox_bytes_max": 65_536, "message_bytes_max": 4096}
    async with signaling(limits=limits) as bench:
        first = await bench.connect()
        joined = await first.join()
        feed = bench.control.feeds["lobby"]
        await first.websocket.aclose()
        await bench.control.wait_until(lambda: bench.control.posted)
        for _ in range(5):
            feed.publish("producerAdded", {"appData": "x" * 20_000})
            feed.publish("producerAdded", {"appData": "x" * 50_000})
        second = await bench.connect()
        assert (await second.request("resume", {"session": joined["session"], "position": 1}))["ok"]
        assert await positions(second, 10) == list(range(2, 12))


async def test_a_living_socket_is_taken_over_and_its_loss_is_nobodys_business():
    async with signaling() as bench:
        old = await bench.connect()
        joined = await old.join()
        new = await bench.connect()
        answer = await new.request("resume", {"session": joined["session"], "position": 1})
        assert answer["ok"]
        assert (await old.wait_closed())[0] == CloseCode.TAKEN_OVER
        feed = bench.control.feeds["lobby"]
        feed.publish("producerPaused", {})
        assert await positions(new, 1) == [2]
        assert bench.control.posted == []
        await new.websocket.aclose()
        await bench.control.wait_until(lambda: bench.control.posted)
        lost = SocketLost(peer=joined["peer"], attachment=2)
        assert bench.control.posted == [("lobby", lost)]
        assert not feed.subscribers


async def test_of_two_sockets_that_resume_at_once_one_wins():
    async with signaling() as bench:
        gone = await bench.connect()
        joined = await gone.join()
        await gone.websocket.aclose()
        rivals = [await bench.connect(), await bench.connect()]
        bench.control.held.add("Resume")
        for rival in rivals:
            data = {"session": joined["session"], "position": 1}
            await rival.send({"id": 1, "method": "resume", "data": data})
        await bench.control.wait_until(lambda: len(bench.control.requests) == 3)
        bench.control.release()
        outcomes = []
        async with trio.open_nursery() as nursery:

            async def watch(rival):
                outcomes.append((await rival.wait_closed())[0])
                nursery.cancel_scope.cancel()

            for rival in rivals:
                nursery.start_soon(watch, rival)
        assert outcomes == [CloseCode.TAKEN_OVER]
        assert len(bench.control.feeds["lobby"].subscribers) == 1


FORGED = [
    None,
    7,
    "",
    "lobby.p_1",
    "lobby.p_1.",
    "lobby.p_1.AAAAAAAAAAAAAAAAAAAAAA",
    "lobby.p_1.é",
    "." * 300,
    "x" * 100_000,
    ServerKeys(bytes(32)).session_id("lobby", "p_1"),
    KEYS.session_id("other", "p_1").replace("other", "lobby"),
]


@pytest.mark.parametrize("session", FORGED, ids=range(len(FORGED)))
async def test_a_session_that_this_server_did_not_make_is_not_found(session):
    async with signaling() as bench:
        await (await bench.connect()).join()
        client = await bench.connect()
        answer = await client.request("resume", {"session": session, "position": 0})
        assert answer["error"]["code"] == "session_not_found"
        assert len(bench.control.requests) == 1


async def test_a_session_whose_time_is_over_is_not_found_and_the_socket_may_join():
    async with signaling() as bench:
        client = await bench.connect()
        session = KEYS.session_id("lobby", "p_99")
        answer = await client.request("resume", {"session": session, "position": 0})
        assert answer["error"]["code"] == "session_not_found"
        await client.join()


@pytest.mark.parametrize("position", [None, -1, "3", 1.5])
async def test_a_resume_without_a_sound_position_is_refused(position):
    async with signaling() as bench:
        joined = await (await bench.connect(MSGPACK)).join()
        client = await bench.connect(MSGPACK)
        data = {"session": joined["session"], "position": position}
        answer = await client.request("resume", data)
        assert answer["error"]["code"] == "invalid_data"


async def test_a_position_of_the_future_is_taken_for_now():
    async with signaling() as bench:
        joined = await (await bench.connect()).join()
        client = await bench.connect()
        data = {"session": joined["session"], "position": 10**9}
        assert (await client.request("resume", data))["ok"]
        bench.control.feeds["lobby"].publish("producerPaused", {})
        assert await positions(client, 1) == [2]


async def test_missed_events_that_cannot_be_read_close_that_socket():
    async with signaling() as bench:
        joined = await (await bench.connect()).join()
        feed = bench.control.feeds["lobby"]
        feed.publish("producerPaused", {})

        async def broken(peer, after, up_to):
            raise RuntimeError("damaged on purpose")

        feed.missed = broken
        client = await bench.connect()
        await client.request("resume", {"session": joined["session"], "position": 1})
        code, reason = await client.wait_closed()
        assert code == CloseCode.INTERNAL_ERROR
        assert "damaged on purpose" not in reason
