"""Clients that stop reading, amid many that read: they are dropped by rule, the others wait for
nobody, and who was dropped comes back and misses nothing."""

from __future__ import annotations

import re

import trio

from protocol.messages import SocketLost
from protocol.signaling import JSON, CloseCode
from tests.scenario.signaling_bench import client_frame, handshake, read_all, signaling

READERS = 300
SLOW = 5
ROUNDS = 120
STUFFING = "x" * 30_000
DELAY_S_MAX = 3.0
"""Of any notification to any reader; some 75 ms where nothing else needs the machine."""


class Reader:
    """A raw socket that reads on and on, and notes when each round came."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.came_s: dict[int, float] = {}
        self.order: list[int] = []
        self.done = trio.Event()
        self._buffer = b""

    async def join(self) -> str:
        """Enter the room; the session."""
        await self.stream.send_all(handshake(JSON))
        await self._wait_for(b"welcome")
        await self.stream.send_all(
            client_frame(b'{"id": 1, "method": "join", "data": {"room": "lobby"}}')
        )
        await self._wait_for(b'"ok":true')
        found = re.search(rb'"session":"([^"]+)"', self._buffer)
        assert found
        return found[1].decode()

    async def _wait_for(self, text: bytes) -> None:
        with trio.fail_after(120):
            while text not in self._buffer:
                self._buffer += await self.stream.receive_some()

    async def read(self) -> None:
        while True:
            while found := re.search(rb'"round":(\d+)\}', self._buffer):
                number = int(found[1])
                self._buffer = self._buffer[found.end() :]
                self.came_s.setdefault(number, trio.current_time())
                self.order.append(number)
                if len(self.order) == ROUNDS:
                    self.done.set()
            self._buffer = self._buffer[-4096:] + await self.stream.receive_some()


async def test_who_does_not_read_is_dropped_and_nobody_else_waits() -> None:
    limits = {
        "outbox_bytes_max": 65_536,
        "message_bytes_max": 4096,
        "sockets_per_address_max": 1000,
    }
    async with signaling(limits=limits) as bench, trio.open_nursery() as nursery:
        readers = []
        for _ in range(READERS):
            readers.append(Reader(await bench.open()))
            await readers[-1].join()
        for reader in readers:
            nursery.start_soon(reader.read)
        feed = bench.control.feeds["lobby"]
        quick = set(feed.subscribers)
        slow = [Reader(await bench.open(receive_bytes=4096)) for _ in range(SLOW)]
        sessions = [await each.join() for each in slow]
        names = [peer for peer in feed.subscribers if peer not in quick]
        assert len(names) == SLOW

        ends: list[bytes] = []
        dropped = trio.Event()

        async def read_when_dropped(each: Reader, name: str) -> None:
            """Begin to read once it is too late: the reason is there for a while."""
            lost = ("lobby", SocketLost(peer=name, attachment=1, reason="too_slow"))
            await bench.control.wait_until(lambda: lost in bench.control.posted)
            ends.append(await read_all(each.stream))
            if len(ends) == SLOW:
                dropped.set()

        for each, name in zip(slow, names, strict=True):
            nursery.start_soon(read_when_dropped, each, name)
        told_s: dict[int, float] = {}
        for number in range(ROUNDS):
            told_s[number] = trio.current_time()
            feed.publish("score", {"producer": "p", "round": number})
            for name in names:
                feed.tell(name, "score", {"producer": STUFFING})
            await trio.sleep(0.02)
        with trio.fail_after(120):
            for reader in readers:
                await reader.done.wait()
        for reader in readers:
            assert reader.order == list(range(ROUNDS))
        delays = sorted(
            reader.came_s[number] - told_s[number] for reader in readers for number in told_s
        )
        assert delays[-1] < DELAY_S_MAX

        with trio.fail_after(120):
            await dropped.wait()
        lost = {message.peer for _, message in bench.control.posted}
        assert lost == set(names)
        assert len(bench.control.posted) == SLOW
        for rest in ends:
            assert int(CloseCode.TOO_SLOW).to_bytes(2) in rest[-60:]

        back = await bench.connect(JSON)
        answer = await back.request("resume", {"session": sessions[0], "position": 0})
        assert answer["ok"], answer
        rounds = []
        while len(rounds) < ROUNDS:
            told = await back.next_told()
            if told["event"] == "score" and "round" in told["data"]:
                rounds.append(told["data"]["round"])
        assert rounds == list(range(ROUNDS))
        nursery.cancel_scope.cancel()
        for reader in (*readers, *slow):
            reader.stream.socket.close()
