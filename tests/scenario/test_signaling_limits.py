"""What a client can cost is bounded, and whoever goes over a bound is told by a code."""

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
        async with bench.raw() as stream:
            await stream.send_all(
                client_frame(b'{"id": 1, "method": "join", "data": {"room": "lobby"}}')
            )
            await bench.control.wait_until(lambda: len(feed.subscribers) == 2)
            read = []

            async def keep_reading():
                while len(read) < 3001:  # the other's join, and the 3,000 below
                    read.append(await reader.next_told())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_reading)
                for number in range(3000):
                    feed.publish("score", {"producer": "d" * 3000, "score": [number]})
                    await trio.lowlevel.checkpoint()
                    while number - len(read) > 5:
                        await trio.lowlevel.checkpoint()
            await bench.control.wait_until(lambda: bench.control.posted)
            lost = SocketLost(peer="p_2", attachment=1)
            assert bench.control.posted == [("lobby", lost)]
            rest = await read_all(stream)
            assert rest.endswith(b"notifications are not read fast enough")
            assert int(CloseCode.TOO_SLOW).to_bytes(2) in rest[-60:]
        assert [told["position"] for told in read] == list(range(2, 3003))


async def test_who_does_not_join_in_time_is_closed(autojump_clock):
    async with signaling_in_memory() as (connection, _, _):
        await trio.sleep(29)
        assert connection.closed is None
        await trio.sleep(2)
        assert connection.closed[0] == CloseCode.IDLE
