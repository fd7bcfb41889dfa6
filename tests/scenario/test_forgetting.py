"""One person is forgotten: nothing of it can be read anywhere, and the log is what it was."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import trio
from click.testing import CliRunner

from load.client import SignalingClient, connect
from load.endpoint import Endpoint
from load.parameters import publisher_parameters, viewer_capabilities
from protocol.codec import state_bytes
from replay.cli import replay
from replay.forgetting import people
from replay.history import History
from replay.key_file import FILE_NAME, KeyFile
from replay.reader import LogReader
from replay.recordings import Recordings
from replay.store.errors import StoreError
from tests.support.serving import Server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.plane, pytest.mark.timeout(180)]

ROOM = "rehearsal"
NAME, OTHER = "Änne Kanarienvogel", "Otto Bleibtreu"
APP_DATA = {"mail": "kanarienvogel@example.org", "seat": [7, {"row": "canary-row"}]}
OTHER_APP_DATA = {"mail": "bleibtreu@example.org"}
CNAME, MSID = "canary-cname@host.example", "canary-stream canary-track"
OPEN = quote(
    json.dumps([["room"], ["room", "peers"], ["room", "producers"], ["transports"]]), safe=""
)
FORMATS = ("jsonl", "chrome-trace", "mermaid", "rtcstats", "otlp")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data", tmp_path / "logs")
    try:
        server.start()
        yield server
        if server.running:
            server.stop()
    finally:
        server.close()


class Host(Endpoint):
    """Publishes with a cname and a stream id of its own."""

    async def show(self, app_data: dict[str, Any], cname: str, msid: str) -> str:
        transport = await self.transport("send")
        made = publisher_parameters(self._router, "video/VP8", mid="0")
        parameters = msgspec.structs.replace(
            made, msid=msid, rtcp=msgspec.structs.replace(made.rtcp, cname=cname)
        )
        return await self.client.produce(transport.id, "video", parameters, app_data=app_data)


class Canaries:
    """What must not be read of a person, once forgotten."""

    def __init__(self, host: Host) -> None:
        transport = host.transports["send"]
        assert transport._socket is not None
        port = transport._socket.getsockname()[1]
        (fingerprint, *_) = transport.dtls_parameters.fingerprints
        self.texts = {
            NAME,
            "Kanarienvogel",
            "kanarienvogel@example.org",
            "canary-row",
            CNAME,
            "canary-stream",
            f"127.0.0.1:{port}",
            str(fingerprint.value),
        }

    def found_in(self, content: bytes) -> set[str]:
        return {text for text in self.texts if text.encode() in content}


async def in_thread(*command: str, code: int = 0) -> str:
    done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(replay, list(command)))
    assert done.exit_code == code, (command, done.output, done.exception)
    return done.output


def raw(server: Server) -> dict[str, bytes]:
    """Every byte of the data directory."""
    return {
        str(path): path.read_bytes()
        for path in server.data.rglob("*")
        if path.is_file() and not path.is_socket()
    }


async def told(server: Server, out: Path) -> dict[str, bytes]:
    """Whatever commands and exports say of the room."""
    data = ("--data", str(server.data))
    found: dict[str, str] = {}
    for command in (
        ("show", ROOM),
        ("show", ROOM, "--json"),
        ("state", ROOM, "--at", "40", "--full"),
        ("state", ROOM, "--at", "40", "--json"),
        ("diff", ROOM, "1", "40"),
        ("diff", ROOM, "1", "40", "--json"),
        ("find", ROOM, "room.peers.*.name | [0]", "--json"),
        ("find", ROOM, "values(room.producers)[].app_data", "--json"),
        ("why", ROOM, "2", "--json"),
        ("why", ROOM, "4"),
        ("stats", ROOM, "--all"),
        ("stats", ROOM, "--all", "--json"),
        ("what-if", ROOM, "--from", "1", "--set", "peers_max=1", "--json"),
        *(("export", ROOM, "--format", form) for form in FORMATS),
        *(("export", ROOM, "--redact", "--format", form) for form in FORMATS),
    ):
        found[" ".join(command)] = await in_thread(*command, *data)
    bundle = out / "bundle.zip"
    await in_thread("export", ROOM, "--format", "bundle", "-o", str(bundle), *data)
    unpacked = await trio.to_thread.run_sync(_unzipped, bundle)
    return {name: text.encode() for name, text in found.items()} | unpacked


def _unzipped(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as bundle:
        return {f"bundle/{name}": bundle.read(name) for name in bundle.namelist()}


async def pages(server: Server) -> dict[str, bytes]:
    """Whatever the page is told of the room."""
    found = {}
    for path in (
        "lanes?session=0",
        "search?q=kanarienvogel",
        "search?q=bleibtreu",
        "event/2",
        "events?around=20&count=200",
        f"state?at=40&open={OPEN}",
        "why/2",
    ):
        status, body = await trio.to_thread.run_sync(server.get, f"/api/replay/{ROOM}/{path}")
        assert status == 200, (path, body)
        found[path] = body
    return found


def places(canaries: Canaries, everything: dict[str, bytes]) -> dict[str, set[str]]:
    return {name: found for name, text in everything.items() if (found := canaries.found_in(text))}


def state_at(server: Server, position: int) -> bytes:
    with LogReader(server.data) as reader:
        return state_bytes(History(reader, ROOM).at(position).states)


async def verified(server: Server) -> dict[str, Any]:
    verdict = json.loads(await in_thread("verify", ROOM, "--json", "--data", str(server.data)))
    assert verdict["equal"] is True
    return verdict


def seen(joined: Any) -> tuple[set[str], list[dict[str, Any]]]:
    return {peer.name for peer in joined.peers}, [each.app_data for each in joined.producers]


async def captured(server: Server, transports: int) -> None:
    """Have the recorder frozen, and wait until both transports' recordings are stored."""
    await in_thread("capture", ROOM, "--url", server.url)

    def stored() -> bool:
        try:
            return len(Recordings(server.data).of_room(ROOM)) == transports
        except StoreError:  # its file is being made
            return False

    await trio.to_thread.run_sync(wait_until, "recordings are stored", stored)


async def test_a_person_is_forgotten_while_the_server_runs(server: Server, tmp_path: Path) -> None:
    async with (
        connect(server.signaling_url) as host_client,
        connect(server.signaling_url) as other_client,
        trio.open_nursery() as nursery,
    ):
        host, other = Host(host_client, nursery), Host(other_client, nursery)
        await other.join(ROOM, name=OTHER)
        joined = await host.join(ROOM, name=NAME)
        assert seen(joined)[0] == {OTHER}
        came = await other_client.wait_for("peerJoined")
        assert came.data["peer"] == {"id": joined.peer, "name": NAME}
        producer = await host.show(APP_DATA, CNAME, MSID)
        await other.show(OTHER_APP_DATA, "bleibtreu-cname", "stays")
        added = await other_client.wait_for("producerAdded")
        assert added.data["producer"]["appData"] == APP_DATA
        transport = await other.transport("recv")
        consumed = await other_client.consume(
            transport.id, producer, viewer_capabilities(other._router)
        )
        assert consumed.rtp_parameters.msid == MSID
        canaries = Canaries(host)
        await captured(server, transports=3)

        # Nothing stands in clear even now; whoever has the keys reads all of it.
        assert places(canaries, raw(server)) == {}
        before_told, before_pages = await told(server, tmp_path), await pages(server)
        read = set().union(*places(canaries, before_told).values())
        assert read == canaries.texts
        assert places(canaries, before_pages)
        redacted = {name: text for name, text in before_told.items() if "--redact" in name}
        assert len(redacted) == len(FORMATS)
        assert places(canaries, redacted) == {}
        with LogReader(server.data) as reader:
            person = people(reader, ROOM)[joined.peer]
            position = reader.end(ROOM)[0].position
        assert person.key is not None
        assert person.in_clear == 0
        secret = _secret(server, person.key)
        states = state_at(server, position)
        verdict = await verified(server)

        wrong = await in_thread(
            "forget", ROOM, joined.peer, "--yes", "--data", str(server.data),
            "--url", "http://127.0.0.1:9", code=1,
        )  # fmt: skip
        assert wrong.count("\n") == 1
        asked = await in_thread(
            "forget", ROOM, "--name", NAME.upper(), "--yes", "--json",
            "--data", str(server.data), "--url", server.url,
        )  # fmt: skip
        answer = json.loads(asked)
        assert (answer["peer"], answer["keys"], answer["in_clear"]) == (joined.peer, 1, 0)
        assert answer["recordings"] >= 1
        assert (await host_client.wait_closed()).code == 4005
        left = await other_client.wait_for("peerLeft")
        assert left.data == {"peer": joined.peer, "reason": "forgotten"}

        everything = {**raw(server), **await told(server, tmp_path), **await pages(server)}
        assert places(canaries, everything) == {}
        assert [name for name, text in raw(server).items() if secret in text] == []
        assert all(
            one.transport not in person.transports for one in Recordings(server.data).of_room(ROOM)
        )
        # What is not that person's is as it was.
        assert "(forgotten)" in everything[f"stats {ROOM} --all"].decode()
        assert OTHER in everything[f"stats {ROOM} --all"].decode()
        assert OTHER_APP_DATA["mail"].encode() in everything[f"show {ROOM} --json"]
        async with connect(server.signaling_url) as late:
            assert seen(await late.join(ROOM, name="late")) == ({OTHER}, [OTHER_APP_DATA])

        # And the log is what it was.
        assert state_at(server, position) == states
        assert (await verified(server))["messages"] >= verdict["messages"]
        again = await in_thread(
            "forget", ROOM, joined.peer, "--yes", "--data", str(server.data), "--url", server.url
        )
        assert "was forgotten already" in again
        nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(server.stop)
    assert places(canaries, raw(server)) == {}
    assert [name for name, text in raw(server).items() if secret in text] == []


async def test_names_outlive_the_server_and_archived_people_are_forgotten(
    server: Server, tmp_path: Path
) -> None:
    async with connect(server.signaling_url) as client, trio.open_nursery() as nursery:
        host = Host(client, nursery)
        joined = await host.join(ROOM, name=NAME)
        await host.show(APP_DATA, CNAME, MSID)
        canaries = Canaries(host)
        async with connect(server.signaling_url) as other:
            watching = await other.join(ROOM, name=OTHER)
            assert seen(watching) == ({NAME}, [APP_DATA])
            await trio.to_thread.run_sync(server.kill)
            await other.wait_closed()
            await client.wait_closed()
        await trio.to_thread.run_sync(server.start)
        async with connect(server.signaling_url) as other:
            back = await other.resume(watching.session, 0)
            assert seen(back) == ({NAME}, [APP_DATA])
            await _resume_and_leave(server, joined.session)
            gone = await other.wait_for("peerLeft")
            assert gone.data["peer"] == joined.peer
        nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(server.stop)

    data = ("--data", str(server.data))
    await in_thread("archive", ROOM, *data)
    before = await told(server, tmp_path)
    assert places(canaries, before)
    assert places(canaries, raw(server)) == {}
    verdict = await verified(server)
    with LogReader(server.data) as reader:
        person = people(reader, ROOM)[joined.peer]
    assert person.key is not None
    secret = _secret(server, person.key)
    shown = await in_thread("forget", ROOM, joined.peer, *data, code=1)
    assert re.search(f"{joined.peer} {NAME}, joined .*Aborted", shown, re.DOTALL), shown
    assert places(canaries, {"show": (await in_thread("show", ROOM, *data)).encode()})

    assert await in_thread("forget", ROOM, joined.peer, "--yes", *data) == (
        f"{joined.peer}: forgotten\n"
    )
    after = await told(server, tmp_path)
    assert places(canaries, {**raw(server), **after}) == {}
    assert [name for name, text in raw(server).items() if secret in text] == []
    assert OTHER.encode() in after[f"stats {ROOM} --all"]
    forgotten = await verified(server)
    assert (forgotten["position"], forgotten["messages"]) == (
        verdict["position"],
        verdict["messages"],
    )
    # A copy of the log alone verifies, and tells of nobody.
    (server.data / FILE_NAME).unlink()
    assert (await verified(server))["position"] == verdict["position"]
    assert OTHER.encode() not in (await told(server, tmp_path))[f"stats {ROOM} --all"]


async def _resume_and_leave(server: Server, session: str) -> None:
    async with connect(server.signaling_url) as client:
        assert isinstance(client, SignalingClient)
        assert seen(await client.resume(session, 0))[0] == {OTHER}
        await client.leave()
        await client.wait_closed()


def _secret(server: Server, key_id: bytes) -> bytes:
    file = KeyFile(server.data, may_write=False)
    try:
        secret = file.secret(key_id)
    finally:
        file.close()
    assert secret is not None
    assert secret in (server.data / FILE_NAME).read_bytes()
    return secret
