"""An operator captures a live room: from the command line to the recording and its log position."""

import contextlib
import sys

import pytest
import trio
from click.testing import CliRunner

from load.client import connect
from replay.cli import replay
from replay.recordings import Recordings
from replay.store.errors import StoreError
from tests.contract.plane_harness import short_directory
from tests.scenario import test_serve
from tests.scenario.test_serve import data, serving

__all__ = ["data", "short_directory"]
REAL = [sys.executable, "-c", "from gateway.cli import run; run()"]
pytestmark = pytest.mark.plane


async def invoke(*arguments):
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(replay, list(arguments)))


async def stored(data):
    """Wait until another process has written its first recording; nothing tells of it."""
    with trio.fail_after(20):
        while True:
            with contextlib.suppress(StoreError):
                if Recordings(data).of_room("lobby"):
                    return
            await trio.sleep(0.05)


async def test_a_command_freezes_the_recorder_of_a_live_room(data, monkeypatch):
    # With the real media plane, not its stand-in.
    monkeypatch.setattr(test_serve, "COMMAND", REAL)
    async with (
        serving(data) as server,
        connect(f"ws://127.0.0.1:{server.signal_port}") as client,
    ):
        await client.join("lobby")
        transport = (await client.create_transport("recv")).id
        asked = await invoke("capture", "lobby", "--url", server.http)
        assert asked.exit_code == 0, asked.output
        missing = await invoke("capture", "nobody", "--url", server.http)
        assert (missing.exit_code, missing.output.count("\n")) == (1, 1)
        await stored(data)
        await server.stop()
    (one,) = Recordings(data).of_room("lobby")
    assert (one.transport, one.reason, one.missing) == (transport, "operator", 0)
    shown = await invoke("why", "lobby", str(one.position), "--data", str(data))
    assert "recorded: operator" in shown.output, shown.output
    written = await invoke(
        "export", "lobby", "--format", "pcapng", "-o", str(data / "x.pcapng"), "--data", str(data)
    )
    assert written.exit_code == 0, written.output
