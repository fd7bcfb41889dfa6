"""The server as a process: it starts, says so, ends cleanly, and says in one line why it cannot."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_client_stream

from protocol.signaling import JSON, CloseCode
from replay.store import SqliteStore
from tests.contract.plane_harness import environment, short_directory
from tests.scenario.signaling_bench import Client

COMMAND = [sys.executable, "-m", "tests.scenario.serve_child"]


@pytest.fixture
def data():
    made = short_directory()
    yield made / "data"
    shutil.rmtree(made)


def serve_arguments(data, *more):
    return [
        *("serve", "--data", str(data), "--http-port", "0", "--signal-port", "0"),
        *("--log-format", "json", *more),
    ]


class Server:
    """A running `reprise serve`."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        self._unread = b""

    async def line(self, event):
        """Read log lines up to the next of that name."""
        with trio.fail_after(30):
            while True:
                while b"\n" not in self._unread:
                    more = await self.process.stderr.receive_some()
                    assert more, (event, self.lines)
                    self._unread += more
                text, _, self._unread = self._unread.partition(b"\n")
                self.lines.append(json.loads(text))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]

    async def ready(self):
        serving = await self.line("serving")
        self.http = serving["pages"].rstrip("/")
        self.signal_port = int(serving["signaling"].rstrip("/").rpartition(":")[2])
        return serving

    async def get(self, path, **headers):
        request = urllib.request.Request(self.http + path, headers=headers)

        def fetch():
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()

        return await trio.to_thread.run_sync(fetch)

    async def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        with trio.fail_after(30):
            return await self.process.wait()


@asynccontextmanager
async def serving(data, *more):
    process = await trio.lowlevel.open_process(
        [*COMMAND, *serve_arguments(data, *more)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    server = Server(process)
    try:
        await server.ready()
        yield server
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.stderr.aclose()


@asynccontextmanager
async def connected(server):
    """A client, past its welcome, whose connection ends with the block."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.signal_port)
    async with stream, trio.open_nursery() as nursery:
        websocket = await wrap_client_stream(
            nursery, stream, f"localhost:{server.signal_port}", "/", subprotocols=[JSON]
        )
        client = Client(websocket, JSON)
        assert (await client.receive())["event"] == "welcome"
        yield client
        nursery.cancel_scope.cancel()


def failing(*arguments, **more_environment):
    """Run a command that must fail: its exit code and its one line."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env={**environment(), **more_environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, lines[0]


async def test_it_serves_and_ends_cleanly_and_tells_its_clients(data):
    async with serving(data) as server:
        status, body = await server.get("/healthz")
        health = json.loads(body)
        assert (status, health["status"], health["plane"]) == (200, "ok", "up")
        async with connected(server) as client:
            joined = await client.join("lobby")
            _, body = await server.get("/healthz")
            assert (json.loads(body)["rooms"], json.loads(body)["peers"]) == (1, 1)
            assert (await server.get("/api/rooms/lobby"))[0] == 200
            assert (await server.get("/api/rooms/other"))[0] == 404
            server.process.send_signal(signal.SIGTERM)
            told = await client.next_told()
            assert (told["event"], told["data"]["reason"]) == ("roomClosed", "server_stopped")
            assert (await client.wait_closed())[0] == CloseCode.GOING_AWAY
        with trio.fail_after(30):
            assert await server.process.wait() == 0
        await server.line("stopped")
        assert joined["session"] not in json.dumps(server.lines)
    async with await SqliteStore.open(data) as store:
        (room,) = await store.rooms()
        assert (room.room, room.open) == ("lobby", False)
        await store.verify_chain("lobby")
        written = await store.read("lobby")
    assert not any(joined["session"].encode() in envelope.data for envelope in written)
    assert data.stat().st_mode & 0o077 == 0
    assert not (data / "plane.sock").exists() or not is_listening(data / "plane.sock")


def is_listening(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def test_after_a_kill_the_next_server_takes_the_plane_over_and_sessions_resume(data):
    async with serving(data) as first:
        plane = next(line for line in first.lines if line["event"] == "plane_up")
        assert plane["fresh"]
        async with connected(first) as client:
            joined = await client.join("lobby")
            first.process.kill()
            with pytest.raises(ConnectionClosed):
                await client.websocket.get_message()
    async with serving(data) as second:
        again = next(line for line in second.lines if line["event"] == "plane_up")
        assert (again["pid"], again["fresh"]) == (plane["pid"], False)
        async with connected(second) as client, connected(second) as other:
            await other.join("lobby")
            data_of = {"session": joined["session"], "position": joined["position"]}
            answer = await client.request("resume", data_of)
            assert answer["data"]["peer"] == joined["peer"]
            told = await client.next_told()
            assert told["event"] == "peerJoined"
            assert told["position"] > joined["position"]
        assert await second.stop() == 0


async def test_a_second_signal_ends_it_at_once(data):
    async with serving(data) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.signal_port)
        async with stream:  # a client that never answers the close frame
            await stream.send_all(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: reprise.v1.json\r\n\r\n"
            )
            assert await stream.receive_some()
            await server.line("socket_opened")
            server.process.send_signal(signal.SIGTERM)
            await server.line("stopping")
            assert await server.stop(signal.SIGINT) == 128 + signal.SIGINT


async def test_a_port_in_use_is_named(data):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ("--http-port", "--signal-port"):
            code, line = await trio.to_thread.run_sync(
                lambda flag=flag: failing(*serve_arguments(data, flag, str(port)))
            )
            assert code == 1
            assert f"port {port} on 127.0.0.1 is in use" in line
            assert flag in line


async def test_a_second_server_on_the_same_data_is_refused_and_harms_nothing(data):
    async with serving(data) as server, connected(server) as client:
        await client.join("lobby")
        code, line = await trio.to_thread.run_sync(lambda: failing(*serve_arguments(data)))
        assert code == 1
        assert str(data) in line
        assert f"process {server.process.pid}" in line
        assert (await client.request("createTransport", {"direction": "recv"}))["ok"]


def test_a_data_directory_that_cannot_be_written_is_named(data):
    data.parent.joinpath("file").write_text("")
    code, line = failing(*serve_arguments(data.parent / "file" / "data"))
    assert code == 1
    assert "cannot be written: Not a directory" in line
    assert "--data" in line


def test_a_damaged_log_is_named_and_left_alone(data):
    data.mkdir()
    path = data / "events.sqlite3"
    path.write_bytes(b"this is no database" * 500)
    code, line = failing(*serve_arguments(data))
    assert code == 1
    assert str(data) in line
    assert re.search("damaged|no event log", line)
    assert path.read_bytes() == b"this is no database" * 500


def test_a_damaged_key_is_named(data):
    data.mkdir()
    (data / "secret.key").write_text("nonsense")
    (data / "secret.key").chmod(0o600)
    code, line = failing(*serve_arguments(data))
    assert code == 1
    assert f"{data}/secret.key is damaged" in line


def test_it_is_not_open_to_a_network_by_accident(data):
    code, line = failing(*serve_arguments(data, "--host", "0.0.0.0"))
    assert code == 1
    assert "--open" in line
    assert "REPRISE_SECRET" in line


async def test_with_a_secret_it_takes_tokens(data):
    secret = "a secret of at least thirty-two bytes"
    path = data.parent / "secret"
    path.write_text(secret + "\n")
    made = await trio.run_process(
        [*COMMAND, "token", "--room", "lobby", "--secret-file", str(path)],
        env=environment(),
        capture_stdout=True,
    )
    token = made.stdout.decode().strip()
    async with serving(data, "--host", "0.0.0.0", "--secret-file", str(path)) as server:
        async with connected(server) as client:
            refused = await client.request("join", {"room": "lobby"})
            assert refused["error"]["code"] == "unauthorized"
            await client.join("lobby", token=token)
        assert (await server.get("/api/rooms"))[0] == 401
        status, body = await server.get("/api/rooms", Authorization=f"Bearer {secret}")
        assert (status, json.loads(body)["rooms"][0]["room"]) == (200, "lobby")
        assert await server.stop() == 0
        assert secret not in json.dumps(server.lines)
        assert token not in json.dumps(server.lines)


def test_tls_files_that_are_none_are_named(data, tmp_path):
    good = tmp_path / "file.pem"
    good.write_text("nothing")
    more = ("--tls-cert", str(tmp_path / "missing.pem"), "--tls-key", str(good))
    code, line = failing(*serve_arguments(data, *more))
    assert code == 1
    assert "missing.pem: No such file" in line
    code, line = failing(*serve_arguments(data, "--tls-cert", str(good), "--tls-key", str(good)))
    assert code == 1
    assert "file.pem" in line


def test_a_plane_that_does_not_start_is_told_with_its_last_words(data):
    code, line = failing(
        *serve_arguments(data, "--log-level", "error"), REPRISE_TEST_PLANE_FAILS="no UDP port left"
    )
    assert code == 1
    assert "the media plane does not start" in line
    assert "no UDP port left" in line
