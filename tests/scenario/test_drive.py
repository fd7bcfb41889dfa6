"""A recorded session is driven against another server: the same things happen there."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter

import pytest
import trio

from replay.reader import LogReader
from tests.contract.plane_harness import short_directory
from tests.support import session
from tests.support.serving import COMMAND, ROOT, Server, reprise
from tests.support.waiting import wait_until

pytestmark = pytest.mark.plane

VARYING = {
    "ProducerScored",
    "ConsumerScored",
    "KeyFrameAsked",
    "ConsumerLayersChanged",
    "ConsumerFreezeChanged",
    "IceChanged",  # how often a restart is noticed is up to the checks' timing
    "RecordingRequested",
}
"""What network and machine have their part in."""
OF_TIME = ("a connected", "a first", "packets lost", "a watched", "was told")
"""How differences begin that a machine makes which is too busy to drive and serve."""
LAG_MS = 150
"""A driver that was later than this at some time tells of its machine, not of the server."""
SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture(scope="module")
def recorded():
    """The data directory of a server on which the session took place."""
    place = short_directory()
    server = Server(place / "data", place / "logs")
    try:
        server.start()
        trio.run(session.play, server.signaling_url)
        server.stop()
        yield place / "data"
    finally:
        server.close()
        shutil.rmtree(place)


@pytest.fixture
def target(request):
    """Another server; parametrize it indirectly with its options."""
    place = short_directory()
    server = Server(
        place / "data",
        place / "logs",
        options=getattr(request, "param", ()),
        env={"REPRISE_SECRET": SECRET} if "secret" in request.node.name else None,
    )
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(place)


def drive(data, server, *more, room=session.ROOM, env=None):
    return reprise(
        *("replay", "drive", room, "--data", str(data), "--against", server.url, "--json", *more),
        env=env,
        timeout_s=90,
    )


def happened(data, room):
    """How often each type of event came, by kind of actor."""
    with LogReader(data) as reader:
        return Counter(
            (envelope.actor.partition("/")[0], envelope.type)
            for batch in reader.batches(room)
            for envelope in batch
            if envelope.kind == "event" and envelope.type not in VARYING
        )


def left(data, room):
    """Why the peers of a room left."""
    with LogReader(data) as reader:
        types = ("PeerLeft",)
        return [e for batch in reader.batches(room, types=types) for e in batch]


def test_two_sets_at_fourfold_speed_do_what_was_recorded(recorded, target):
    before = (recorded / "events.sqlite3").read_bytes()
    done = drive(recorded, target, "--times", "2", "--speed", "4")
    told = json.loads(done.stdout)
    assert done.stderr == ""
    what = [one["what"] for one in told["differences"]]
    if told["lag_ms_max"] < LAG_MS:
        assert what == []
    assert [one for one in what if not one.startswith(OF_TIME)] == []
    assert (done.returncode, told["alike"]) == ((1, False) if what else (0, True))
    assert (recorded / "events.sqlite3").read_bytes() == before
    # Both stay until they are told to close: compare what happened up to then.
    wanted = happened(recorded, session.ROOM)
    wanted.pop(("room", "RoomClosed"), None)
    for room in ("lobby-1", "lobby-2"):
        found = happened(target.data, room)
        found.pop(("room", "RoomClosed"), None)
        assert found == wanted, room
    assert told["measured"] is True
    sent = told["driven"]
    assert (sent["joins"], sent["returns"], sent["consumers"]) == (12, 2, 24)
    assert sent["refusals"] == {"consume producer_not_found": 2}
    assert sent["packets"] > 500
    viewers = [peer for peer in told["peers"] if peer["recorded"]["consumers"]]
    assert len(viewers) == 4
    # A keyframe is asked for once a second at most, and the picture soon pauses: not all get one.
    for name in ("connected_ms", "first_packet_ms", "first_keyframe_ms"):
        assert any(one[name] for viewer in viewers for one in viewer["driven"]), name
    target.stop()
    verified = reprise("replay", "verify", "--all", "--data", str(target.data))
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("target", [("--consumers-per-peer-max=2",)], indirect=True)
def test_a_server_with_lower_limits_is_found_out(recorded, target):
    done = drive(recorded, target, "--speed", "4", "--room", "narrow")
    told = json.loads(done.stdout)
    assert (done.returncode, told["alike"], told["rooms"]) == (1, False, ["narrow"])
    refused = [one for one in told["differences"] if one["position"]]
    assert len(refused) == 4, "the third consumer of each viewer"
    assert {one["room"] for one in refused} == {"narrow"}
    assert all(one["what"].startswith("consume is now refused: limit_reached") for one in refused)
    assert told["driven"]["consumers"] == 8
    assert told["steps_left_out"] > 0
    shown = reprise(
        *("replay", "drive", session.ROOM, "--data", str(recorded), "--against", target.url),
        *("--speed", "8"),
    )
    assert shown.returncode == 1
    assert "limit_reached" in shown.stdout
    assert "differences" in shown.stdout


@pytest.mark.parametrize("target", [("--codecs=opus,H264",)], indirect=True)
def test_a_codec_that_is_no_longer_routed_is_found_out(recorded, target):
    done = drive(recorded, target, "--speed", "4")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    first = min(told["differences"], key=lambda one: one["position"] or 10**9)
    assert first["what"] == "produce failed: video/VP8"


def test_with_a_secret_tokens_are_made_and_without_it_one_line_says_why(recorded, target):
    done = drive(recorded, target, "--speed", "4", "--duration", "2s")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("reprise: the target refuses lobby-1: join: unauthorized")
    assert done.stderr.count("\n") == 1
    secret = {"REPRISE_SECRET": SECRET}
    done = drive(recorded, target, "--speed", "4", "--duration", "2s", env=secret)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["driven"]["joins"] == told["recorded"]["joins"] >= 2
    assert told["driven"]["refusals"] == told["recorded"]["refusals"]
    made = reprise("token", "--room", "mine", env=secret).stdout.strip()
    done = drive(
        recorded, target, "--speed", "4", "--duration", "2s", "--room", "mine", "--token", made
    )
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["driven"]["joins"] == told["recorded"]["joins"] >= 2


def test_ctrl_c_ends_it_and_everybody_leaves(recorded, target):
    process = subprocess.Popen(
        [
            *(*COMMAND, "replay", "drive", session.ROOM, "--data", str(recorded)),
            *("--against", target.url, "--speed", "0.2", "--json"),
        ],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("REPRISE_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:

        def somebody_joined():
            return json.loads(target.get("/healthz")[1])["peers"] >= 2

        wait_until("two have joined", somebody_joined, 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    told = json.loads(out)
    assert (process.returncode, told["stopped"], told["alike"], err) == (130, True, False, b"")
    wait_until("all are gone", lambda: json.loads(target.get("/healthz")[1])["peers"] == 0, 10)
    assert len(left(target.data, "lobby-1")) == told["driven"]["joins"] >= 2
    target.stop()


def test_a_live_room_is_played_elsewhere_in_its_own_server(recorded, target):
    """The log is read while its server writes it, and the session there is not disturbed."""
    room = "live"

    async def both():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.play, target.signaling_url, room)
            await all_joined(target)
            return await trio.to_thread.run_sync(
                lambda: drive(target.data, target, "--speed", "2", "--duration", "1s", room=room)
            )

    done = trio.run(both)
    assert done.stderr == ""
    assert json.loads(done.stdout)["rooms"] == ["live-1"]
    assert json.loads(done.stdout)["driven"]["joins"] >= 2
    wanted = happened(recorded, session.ROOM)
    found = happened(target.data, room)
    for counts in (wanted, found):
        counts.pop(("room", "RoomClosed"), None)
    assert found == wanted
    target.stop()


async def all_joined(server):
    """Wait until all six of the session are in its room."""

    def there():
        return json.loads(server.get("/healthz")[1])["peers"] >= 6

    await trio.to_thread.run_sync(wait_until, "all are in the room", there, 30)


def test_a_room_that_is_in_use_there_is_left_alone(recorded, target):
    async def both():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.play, target.signaling_url, "busy")
            await all_joined(target)
            return await trio.to_thread.run_sync(
                lambda: drive(recorded, target, "--speed", "4", "--room", "busy")
            )

    done = trio.run(both)
    assert (done.returncode, done.stdout) == (1, "")
    assert "room busy is in use on the target" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_target_that_goes_away_is_told_as_differences(recorded, target):
    def when_busy():
        wait_until(
            "six have joined", lambda: json.loads(target.get("/healthz")[1])["peers"] >= 6, 30
        )
        target.signal(signal.SIGTERM)

    async def both():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, when_busy)
            return await trio.to_thread.run_sync(lambda: drive(recorded, target))

    begun = time.monotonic()
    done = trio.run(both)
    assert time.monotonic() - begun < 60
    told = json.loads(done.stdout)
    assert (done.returncode, told["alike"]) == (1, False)
    assert any("closed the socket" in one["what"] for one in told["differences"])
