"""What a client can cost is bounded, and whoever goes over a bound is told by a code."""

import pytest
import trio

from protocol.messages import SocketLost
from protocol.signaling import JSON, CloseCode
from tests.scenario.signaling_bench import client_frame, handshake, read_all, signaling


async def test_requests_over_the_rate_are_refused_and_the_session_goes_on():
    limits = {"requests_per_second_max": 1, "requests_burst_max": 5}
    async with signaling(limits=limits) as bench:
        client = await bench.connect()
        await client.join()
        codes = []
        for _ in range(8):
            answer = await client.request("restartIce", {"transport": "t"})
            codes.append(None if answer["ok"] else answer["error"]["code"])
        assert codes[:4] == [None] * 4
        assert codes[4:] == ["rate_limited"] * 4
        assert len(bench.control.requests) == 5


async def test_who_floods_on_and_on_is_closed():
    limits = {"requests_per_second_max": 1, "requests_burst_max": 5}
    async with signaling(limits=limits) as bench:
        bystander = await bench.connect()
        await bystander.join()
        client = await bench.connect()
        for number in range(200):
            await client.send({"id": number, "method": "leave"})
        assert (await client.wait_closed())[0] == CloseCode.TOO_MANY_ERRORS
        assert (await bystander.request("restartIce", {"transport": "t"}))["ok"]


async def test_who_sends_nothing_but_malformed_frames_is_closed():
    async with signaling() as bench:
        client = await bench.connect(JSON)
        for _ in range(120):
            await client.send_raw("{")
        assert (await client.wait_closed())[0] == CloseCode.TOO_MANY_ERRORS


async def test_requests_that_wait_are_bounded():
    async with signaling(limits={"requests_pending_max": 3}) as bench:
        client = await bench.connect()
        await client.join()
        bench.control.held.add("CloseTransport")
        for number in range(10, 15):
            await client.send(
                {"id": number, "method": "closeTransport", "data": {"transport": "t"}}
            )
        refused = [await client.next_answer() for _ in range(2)]
        assert {answer["id"] for answer in refused} == {13, 14}
        assert {answer["error"]["code"] for answer in refused} == {"too_many_requests_pending"}
        bench.control.release()
        assert {(await client.next_answer())["id"] for _ in range(3)} == {10, 11, 12}
        assert (await client.request("restartIce", {"transport": "t"}))["ok"]


async def test_a_client_that_does_not_read_is_closed_and_may_resume():
    limits = {"outbox_bytes_max": 65_536, "message_bytes_max": 4096}
    async with signaling(limits=limits) as bench:
        reader = await bench.connect()
        await reader.join()
        feed = bench.control.feeds["lobby"]
        async with bench.raw(receive_bytes=4096) as stream:
            await stream.send_all(
                client_frame(b'{"id": 1, "method": "join", "data": {"room": "lobby"}}')
            )
            await bench.control.wait_until(lambda: len(feed.subscribers) == 2)
            assert (await reader.next_told())["event"] == "peerJoined"
            for number in range(300):  # 9 MB, more than the server's kernel keeps
                feed.publish("score", {"producer": "d" * 30_000, "score": [number]})
                assert (await reader.next_told())["data"]["score"] == [number]
            await bench.control.wait_until(lambda: bench.control.posted)
            lost = SocketLost(peer="p_2", attachment=1, reason="too_slow")
            assert bench.control.posted == [("lobby", lost)]
            rest = await read_all(stream)
            assert rest.endswith(b"notifications are not read fast enough")
            assert int(CloseCode.TOO_SLOW).to_bytes(2) in rest[-60:]


async def test_who_does_not_join_in_time_is_closed(autojump_clock):
    async with signaling(in_memory=True) as bench:
        began_s = trio.current_time()
        joined, idle = await bench.connect(), await bench.connect()
        await joined.join()
        code, reason = await idle.wait_closed(within_s=100)
        assert (code, reason) == (CloseCode.IDLE, "nobody joined in time")
        assert 30 <= trio.current_time() - began_s < 31
        await trio.sleep(3600)
        assert (await joined.request("restartIce", {"transport": "t"}))["ok"]


async def test_who_does_not_answer_pings_is_closed(autojump_clock):
    async with signaling(in_memory=True) as bench, bench.raw() as stream:
        await stream.send_all(
            client_frame(b'{"id": 1, "method": "join", "data": {"room": "lobby"}}')
        )
        began_s = trio.current_time()
        await bench.control.wait_until(lambda: bench.control.posted)
        assert 35 <= trio.current_time() - began_s < 36
        assert b"pings went unanswered" in await read_all(stream)


async def test_a_connection_that_never_shakes_hands_is_closed(autojump_clock):
    async with signaling(in_memory=True) as bench:
        stream = await bench.open()
        await stream.send_all(b"GET / HTTP/1.1\r\n")
        began_s = trio.current_time()
        assert await stream.receive_some() == b""
        assert 10 <= trio.current_time() - began_s < 11


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (client_frame(b"", opcode=9), client_frame(b"", opcode=9)),
        (client_frame(b"", opcode=2, last=False), client_frame(b"", opcode=0, last=False)),
    ],
    ids=["pings", "empty fragments"],
)
async def test_what_never_becomes_a_message_ends_the_connection(first, then, autojump_clock):
    """Each of them costs us something, and nothing else bounds their number."""
    limits = {"message_bytes_max": 4096}
    async with signaling(in_memory=True, limits=limits) as bench, bench.raw() as stream:
        ended = trio.Event()

        async def read():
            await read_all(stream, within_s=100)
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await stream.send_all(first)
            sent = 0
            while not ended.is_set():
                assert sent < 200_000
                await stream.send_all(then * 100)
                sent += 100 * len(then)
                await trio.sleep(0.01)


async def test_a_fast_sender_is_read_no_faster_than_its_rate(autojump_clock):
    limits = {"bytes_per_second_max": 4096, "message_bytes_max": 4096}
    async with signaling(in_memory=True, limits=limits) as bench:
        client = await bench.connect()
        await client.join()
        began_s = trio.current_time()
        for _ in range(20):
            answer = await client.request("closeTransport", {"transport": "t", "x": "x" * 4000})
            assert answer["ok"]
        # 80 kB, of which 16 kB are a burst, at 4 kB a second
        assert 14 < trio.current_time() - began_s < 18


async def test_requests_that_find_no_answer_are_refused_in_the_end(autojump_clock):
    async with signaling(in_memory=True) as bench:
        client = await bench.connect()
        await client.join()
        bench.control.held.add("CloseTransport")
        await client.send({"id": 9, "method": "closeTransport", "data": {"transport": "t"}})
        answer = await client.receive(within_s=100)
        assert (answer["id"], answer["error"]["code"]) == (9, "overloaded")


async def test_a_room_that_ends_without_a_word_closes_its_sockets(autojump_clock):
    async with signaling(in_memory=True) as bench:
        client = await bench.connect()
        await client.join()
        del bench.control.feeds["lobby"]
        code, reason = await client.wait_closed(within_s=100)
        assert (code, reason) == (CloseCode.INTERNAL_ERROR, "the room is gone")


async def test_sockets_are_bounded_and_the_next_one_is_told_by_http():
    async with signaling(limits={"sockets_max": 3}) as bench:
        for _ in range(2):
            await bench.connect()
        async with bench.raw() as third:
            status, body = await bench.rejected(handshake(JSON))
            assert (status, body) == (503, "The server has as many sockets as it may have.\n")
            await third.send_all(client_frame((1000).to_bytes(2), opcode=8))
            await read_all(third)
        await (await bench.connect()).join()


async def test_loopback_is_not_counted_by_address():
    async with signaling(limits={"sockets_per_address_max": 1}) as bench:
        for client in [await bench.connect() for _ in range(3)]:
            await client.join()


async def test_sockets_of_one_address_are_bounded(monkeypatch):
    monkeypatch.setattr("gateway.signaling_server.is_loopback", lambda host: False)
    async with signaling(limits={"sockets_per_address_max": 1}) as bench:
        client = await bench.connect()
        status, body = await bench.rejected(handshake(JSON))
        assert (status, body) == (429, "Your address has as many sockets as it may have.\n")
        await client.join()
