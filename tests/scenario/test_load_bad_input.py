"""What `reprise load` says when it cannot run: one clear line, a non-zero exit, no stack trace."""

from __future__ import annotations

import functools
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from gateway import cli
from tests.support.certificate import make_certificate
from tests.support.ports import free_port
from tests.support.serving import COMMAND, ROOT, Server, reprise
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.plane, pytest.mark.timeout(90)]

SECRET = "a-secret-of-the-tests-with-32-bytes-or-more"
SHORT = ("--viewers=2", "--duration=1s", "--join-timeout=1s")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("load")
    server = Server(directory / "data", directory / "logs", env={"REPRISE_SECRET": SECRET})
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.close()


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    assert done.returncode == code, done.stderr + done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for word in ("reprise:", *words):
        assert word in lines[0]
    assert done.stdout == ""


def test_a_server_that_is_not_there_is_said_to_be_unreachable() -> None:
    done = reprise("load", f"ws://127.0.0.1:{free_port()}", *SHORT)
    assert_one_line(done, "cannot reach ws://127.0.0.1", ": Connection refused")


def test_a_host_whose_name_begins_with_http_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["load", "httpd.invalid:1", *SHORT]) == 1
    assert "ws://httpd.invalid:1" in capsys.readouterr().err


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    assert_one_line(reprise("load", "ws://no-such-host.invalid:3001", *SHORT), "cannot reach")


def test_a_web_server_is_no_signaling_server(guarded: Server) -> None:
    done = reprise("load", guarded.url, *SHORT)
    assert_one_line(done, "is no signaling server that we know")


def test_a_refused_token_is_told_with_the_servers_reason(guarded: Server) -> None:
    for token in ((), ("--token=forged",)):
        done = reprise("load", guarded.signaling_url, *SHORT, *token)
        assert_one_line(done, "the server refused", "unauthorized")


def test_tokens_can_be_made_of_the_secret(guarded: Server) -> None:
    options = (*SHORT, "--rooms=2", "--join-timeout=15s")
    done = reprise("load", guarded.signaling_url, *options, env={"REPRISE_SECRET": SECRET})
    assert done.returncode == 0, done.stderr
    assert "4 of 4 joined" in done.stdout
    assert SECRET not in done.stdout


@pytest.mark.parametrize("files", [256, 12])
def test_too_few_files_are_told_with_the_limit_and_how_to_raise_it(
    guarded: Server, files: int
) -> None:
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files, files))
    done = subprocess.run(
        [*COMMAND, "load", guarded.signaling_url, "--viewers=200"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert_one_line(done, "201 clients need 466 open files", f"the limit is {files}", "ulimit -n")


def test_a_full_disk_is_told_behind_the_report_and_what_can_be_written_is(
    guarded: Server, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    options = (*SHORT, "--join-timeout=15s", "--output=/dev/full", f"--report={page}")
    env = {"REPRISE_SECRET": SECRET}
    done = reprise("load", guarded.signaling_url, *options, env=env)
    assert "2 of 2 joined" in done.stdout
    done.stdout = ""
    assert_one_line(done, "/dev/full: No space left on device")
    assert "2 of 2 joined" in page.read_text()


def test_standard_output_that_takes_nothing_is_told_in_one_line(
    guarded: Server, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    options = (*SHORT, "--join-timeout=15s", "--json", f"--report={page}")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "load", guarded.signaling_url, *options],
            env={**os.environ, "REPRISE_SECRET": SECRET},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=60,
        )
    done.stdout = ""
    assert_one_line(done, "standard output: No space left on device")
    assert page.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing at all"], ["is no address"]),
        (["localhost:99999"], ["is no address"]),
        (["localhost:-1"], ["is no address"]),
        (["ws://:3001"], ["is no address"]),
        (["ws://[::1"], ["is no address"]),
        (["ftp://localhost:1"], ["is no address"]),
        (["ws://someone:hunter2@localhost:1"], ["name or password", "--token"]),
        (["localhost:1", "--viewers=0", "--publishers=0"], ["nobody"]),
        (["localhost:1", "--fps=nan"], ["--fps", "no number"]),
        (["localhost:1", "--churn=nan"], ["--churn", "no number"]),
        (["localhost:1", "--watch-pid=99999999"], ["--watch-pid", "no process 99999999"]),
        (["localhost:1", "--report=/nowhere/a.html"], ["--report", "no directory /nowhere"]),
        (["localhost:1", "--output=/nowhere/a.json"], ["--output", "no directory /nowhere"]),
        (["localhost:1", "--bitrate=fast"], ["--bitrate", "1.5M"]),
        (["localhost:1", "--loss=100%"], ["--loss", "below 100%"]),
        (["localhost:1", "--duration=soon"], ["--duration"]),
        (["localhost:1", "--fail-if=loss"], ["--fail-if", "no condition"]),
        (["localhost:1", "--fail-if=beauty>3"], ["no such figure", "latency_p99"]),
        (["localhost:1", "--fail-if=loss>3ms"], ["not measured in 'ms'"]),
        (["localhost:1", "--codec=none", "--no-audio"], ["nothing to publish"]),
        (["localhost:1", "--rooms=2", "--token=x"], ["--secret"]),
        (["localhost:1", "--secret=short"], ["--secret", "32 bytes"]),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.run(["load", *arguments])
    told = capsys.readouterr()
    done = subprocess.CompletedProcess(arguments, code, told.out, told.err)
    assert_one_line(done, *words, code=2)


def test_a_certificate_that_nobody_vouches_for_is_told_in_one_line(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    tls = (f"--tls-cert={cert}", f"--tls-key={key}")
    server = Server(tmp_path / "data", tmp_path / "logs", options=tls)
    url = server.signaling_url.replace("ws", "wss", 1)
    try:
        server.start(wait=False)
        wait_until("it listens", lambda: b'"serving"' in server.log_path.read_bytes(), 30.0)
        assert_one_line(reprise("load", url, *SHORT), f"certificate of {url}", "self-signed")
        options = (*SHORT, "--join-timeout=15s")
        done = reprise("load", url, *options, env={"SSL_CERT_FILE": str(cert)})
        assert done.returncode == 0, done.stderr
        server.stop()
    finally:
        server.close()


WELCOME = {"event": "welcome", "position": 0, "data": {"server": "odd", "version": "1"}}
JOINED = {
    "peer": "p",
    "session": "s",
    "routerRtpCapabilities": {"codecs": [], "headerExtensions": []},
    "peers": [],
    "producers": [],
    "streaming": False,
    "position": 0,
}
TRANSPORT = {
    "id": "t",
    "iceParameters": {"usernameFragment": "u", "password": "p"},
    "iceCandidates": [],
    "dtlsParameters": {"fingerprints": [{"algorithm": "sha-256", "value": "00" + ":00" * 31}]},
}

Answers = Callable[[str], Any]


def answering(replies: dict[str, Any]) -> Answers:
    return lambda method: replies.get(method, {})


async def run_against(first: Any, answer: Answers) -> subprocess.CompletedProcess[str]:
    """Run the command against a server that says `first`, and answers each method as told."""

    async def handle(request: WebSocketRequest) -> None:
        socket = await request.accept(subprotocol="reprise.v1.msgpack")
        async with socket:
            await socket.send_message(raw(first))
            while True:
                asked = msgspec.msgpack.decode(await socket.get_message())
                data = answer(asked["method"])
                if isinstance(data, bytes):
                    await socket.send_message(data)
                else:
                    await socket.send_message(raw({"id": asked["id"], "ok": True, "data": data}))

    async def quiet(request: WebSocketRequest) -> None:
        try:
            await handle(request)
        except ConnectionClosed:
            return

    port = free_port()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            functools.partial(serve_websocket, quiet, "127.0.0.1", port, ssl_context=None)
        )
        done = await trio.to_thread.run_sync(
            functools.partial(reprise, "load", f"ws://127.0.0.1:{port}", *SHORT)
        )
        nursery.cancel_scope.cancel()
    return done


def raw(tree: Any) -> bytes:
    return tree if isinstance(tree, bytes) else msgspec.msgpack.encode(tree)


@pytest.mark.parametrize(
    ("first", "replies", "words"),
    [
        (b"\xc1garbage", {}, ["no signaling server"]),
        (b"", {}, ["no signaling server"]),
        (b"\x93\x01\x02\x03", {}, ["no signaling server"]),
        (WELCOME, {"join": b"\xff\xfe"}, ["no signaling server"]),
        (WELCOME, {"join": {"peer": 7}}, ["no signaling server"]),
        (WELCOME, {"join": JOINED, "createTransport": {"id": "t"}}, ["no signaling server"]),
        (WELCOME, {"join": JOINED, "createTransport": TRANSPORT}, ["no ICE candidate"]),
    ],
)
async def test_a_server_that_answers_garbage_is_told_in_one_line(
    first: Any, replies: dict[str, Any], words: list[str]
) -> None:
    assert_one_line(await run_against(first, answering(replies)), *words)


@pytest.mark.parametrize(
    ("ip", "words"),
    [("127.0.0.1", ["no answer to ICE checks"]), ("nowhere", ["no signaling server"])],
)
async def test_a_media_address_that_is_dead_or_none_is_told_in_one_line(
    ip: str, words: list[str]
) -> None:
    candidate = {
        "foundation": "f",
        "priority": 1,
        "ip": ip,
        "address": ip,
        "port": free_port(),
        "protocol": "udp",
        "type": "host",
    }
    transport = {**TRANSPORT, "iceCandidates": [candidate]}
    replies = {"join": JOINED, "createTransport": transport}
    assert_one_line(await run_against(WELCOME, answering(replies)), *words)


def test_ctrl_c_leaves_and_prints_the_report_so_far(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", tmp_path / "logs")
    try:
        server.start()
        process = subprocess.Popen(
            [*COMMAND, "load", server.signaling_url, "--viewers=3", "--duration=10m"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        wait_until(
            "three viewers have come",
            lambda: server.log_path.read_text().count('"socket_opened"') >= 5,
            30.0,
        )
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "stopped early" in out
        assert err == ""
        server.stop()
    finally:
        server.close()
