"""What the plane said to a control process that never wrote it down is told to the next one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from load.media import media_loop
from load.parameters import publisher_parameters
from load.sender import StreamSender
from protocol.rtp_parameters import RtpEncodingParameters
from tests.scenario.test_serve_sessions import ROOM, Show, replay, served, show
from tests.support.serving import Server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.plane, pytest.mark.timeout(90)]

SILENCE_S = 2.5
"""After which the plane says that a producer is silent."""
NOTICED_S = 1.5
"""The longest that it takes to look, and to put it on the socket."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    yield from served(Server(tmp_path / "data", tmp_path / "logs"))


class Unannounced:
    """A second stream of the host, known by its mid alone, that nobody sends yet."""

    producer: str
    sender: StreamSender

    async def publish(self, found: Show) -> None:
        transport = await found.host.transport("send")
        assert found.host.client.joined is not None
        router = found.host.client.joined.router_rtp_capabilities
        parameters = publisher_parameters(router, "audio/opus", mid="late")
        said = replace(parameters, encodings=(RtpEncodingParameters(),))
        self.producer = await found.host.client.produce(transport.id, "audio", said)
        self.sender = StreamSender(transport, parameters, media_loop("audio/opus"))


def logged(server: Server, actor: str, kind: str) -> list[dict[str, Any]]:
    lines = replay(server, "show", ROOM, "--json", f"--actor={actor}", f"--type={kind}")
    return [json.loads(line) for line in lines.splitlines()]


async def test_streams_that_began_and_ended_unheard_are_told_to_the_next_process(
    server: Server,
) -> None:
    async with show(server) as found, trio.open_nursery() as nursery:
        late = Unannounced()
        await late.publish(found)
        heard = await found.viewer.watch(late.producer)
        os.kill(server.pid, signal.SIGSTOP)
        # From here on the plane speaks to a process that will never read it.
        found.published.sender.muted = True
        nursery.start_soon(late.sender.run)
        await heard.receiver.wait_packets(20)
        await trio.sleep(SILENCE_S + NOTICED_S)
        server.kill()
        await trio.to_thread.run_sync(server.start)

        def news() -> list[list[dict[str, Any]]] | None:
            began, ended = f"producer/{late.producer}", f"producer/{found.published.producer}"
            told = [
                logged(server, began, "ProducerStreamBound"),
                logged(server, began, "ProducerActive"),
                logged(server, ended, "ProducerActive"),
            ]
            return told if told[0] and told[1] and len(told[2]) == 2 else None

        bound, began, ended = await trio.to_thread.run_sync(wait_until, "all is told", news)
        assert [one["data"]["ssrc"] for one in bound] == [late.sender.ssrc]
        assert [one["data"]["active"] for one in began] == [True]
        assert [one["data"]["active"] for one in ended] == [True, False]
        packets = heard.receiver.packets
        await heard.receiver.wait_packets(packets + 20)
        nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(server.stop)
    replay(server, "verify", ROOM)
