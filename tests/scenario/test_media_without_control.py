"""Media does not need the control process: neither its standstill nor its death costs a packet."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from load.receiver import StreamReceiver
from tests.scenario.test_serve_sessions import served, show
from tests.support.serving import Server

pytestmark = [pytest.mark.plane, pytest.mark.timeout(60)]

STANDSTILL_S = 1.0
DEAD_S = 3.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    yield from served(Server(tmp_path / "data", tmp_path / "logs"))


async def received(receiver: StreamReceiver, seconds: float) -> int:
    """How many packets come in that time; fails when none do for long."""
    before, began_s = receiver.packets, trio.current_time()
    while trio.current_time() - began_s < seconds:
        await receiver.wait_packets(receiver.packets + 1, timeout_s=5)
    return receiver.packets - before


async def test_a_second_without_the_control_process_costs_no_packet(server: Server) -> None:
    async with show(server) as found:
        receiver = found.watched.receiver
        os.kill(server.pid, signal.SIGSTOP)
        try:
            during = await received(receiver, STANDSTILL_S)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert during >= 25, "30 frames a second"
        await receiver.wait_packets(receiver.packets + 20)
        assert (receiver.gaps, receiver.duplicates, receiver.retransmissions) == (0, 0, 0)


async def test_killing_the_control_process_costs_no_packet(server: Server) -> None:
    async with show(server) as found:
        receiver = found.watched.receiver
        server.kill()
        assert await received(receiver, DEAD_S) >= 75, "30 frames a second"
        assert (receiver.gaps, receiver.duplicates, receiver.retransmissions) == (0, 0, 0)
