"""The plane as a process: take-over, grace, signals, hostile connections, and clear failures."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from aioice import stun

from protocol.notices import IceStateChanged, Notice
from protocol.orders import (
    FRAME_BYTES_MAX,
    PLANE_PROTOCOL,
    Describe,
    Hello,
    Order,
    PlaneInfo,
    Quit,
    Remove,
    RequestKeyFrame,
    Table,
)
from tests.contract import plane_rows as rows
from tests.contract.plane_harness import ROOT, environment, short_directory

pytestmark = pytest.mark.plane

WITHIN_S = 15.0
HELLO = Hello(protocol=PLANE_PROTOCOL, version="test", grace_ms=60_000)


class Controller:
    """A connection to the plane's socket that speaks frames."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(WITHIN_S)
        self.socket.connect(os.fspath(path))
        self.seq = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *orders: Order) -> int:
        self.seq += 1
        self.send_body(msgspec.msgpack.encode({"seq": self.seq, "orders": orders}))
        return self.seq

    def send_body(self, body: bytes) -> None:
        self.socket.sendall(struct.pack("!I", len(body)) + body)

    def ask(self, *orders: Order) -> list[Any]:
        seq = self.send(*orders)
        while True:
            frame = self.read()
            if frame.get("seq") == seq:
                return frame["results"]

    def read(self) -> dict[str, Any]:
        (length,) = struct.unpack("!I", self.read_exactly(4))
        return msgspec.msgpack.decode(self.read_exactly(length))

    def read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def wait_closed(self) -> None:
        with pytest.raises((EOFError, ConnectionResetError)):
            self.read_for_ever()

    def read_for_ever(self) -> None:
        while True:
            self.read()


@pytest.fixture
def path() -> Iterator[Path]:
    directory = short_directory()
    yield directory / "plane.sock"
    for left in directory.iterdir():
        left.unlink()
    directory.rmdir()


def command(path: Path, **options: object) -> list[str]:
    settings = {"ports": "21000-21999", "workers": 2, "grace_ms": 60_000} | options
    flags = [text for name, value in settings.items() for text in (flag(name), str(value))]
    return [sys.executable, "-m", "media.plane", "--socket", os.fspath(path), *flags]


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@contextmanager
def running(path: Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(path, **options),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_listening(process, path)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def wait_listening(process: subprocess.Popen[str], path: Path) -> None:
    """Try to connect until somebody listens; between tries, wait for the process to say why not."""
    while process.poll() is None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(os.fspath(path)) == 0:
                return
        select.select([process.stdout], [], [], 0.01)
    pytest.fail(f"the plane ended: {process.communicate()[0]}")


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=WITHIN_S)
    return process.returncode, output


def failure(path: Path, **options: object) -> str:
    """What a plane says that can't start: one line, with exit code 1."""
    done = subprocess.run(
        command(path, **options),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("media.plane: ")
    return lines[0]


def info_of(result: Any) -> PlaneInfo:
    return msgspec.convert(result["data"], PlaneInfo)


def table_of(result: Any) -> Table:
    return msgspec.convert(result["data"], Table)


def transport(name: str, worker: int, direction: str = "send") -> Order:
    ice = ({"ufrag": f"u{name}", "pwd": "p" * 22},)
    row = rows.send_transport(name)
    return msgspec.structs.replace(
        row, worker=worker, direction=direction, ice=msgspec.convert(ice, type=type(row.ice))
    )


def test_hello_tells_who_answers_and_quit_ends_it(path: Path) -> None:
    with running(path, version="1.2.3") as process, Controller(path) as controller:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        info = info_of(controller.ask(HELLO)[0])
        assert (info.protocol, info.version, info.pid) == (PLANE_PROTOCOL, "1.2.3", process.pid)
        assert [worker.worker for worker in info.workers] == [0, 1]
        ports = {worker.port for worker in info.workers}
        assert len(ports) == 2
        assert all(21_000 <= port <= 21_999 for port in ports)
        assert controller.ask(Quit()) == [None]
        assert end_of(process) == (0, "")
        assert not path.exists()


def test_sigterm_ends_it_cleanly(path: Path) -> None:
    with running(path) as process:
        process.send_signal(signal.SIGTERM)
        assert end_of(process) == (0, "")
        assert not path.exists()


def test_terminal_signals_do_not_end_it(path: Path) -> None:
    with running(path) as process, Controller(path) as controller:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            process.send_signal(number)
        info_of(controller.ask(HELLO)[0])
        controller.ask(Quit())
        assert end_of(process) == (0, "")


def test_a_second_controller_takes_over_with_the_table(path: Path) -> None:
    with running(path) as process, Controller(path) as first, Controller(path) as second:
        before = info_of(first.ask(HELLO)[0])
        assert first.ask(transport("a", 0), transport("b", 1)) == [None, None]
        after, table = second.ask(HELLO, Describe())
        assert info_of(after) == before
        assert {one.transport: one.worker for one in table_of(table).transports} == {"a": 0, "b": 1}
        first.wait_closed()
        second.ask(Quit())
        assert end_of(process) == (0, "")


def test_without_a_controller_it_ends_after_the_grace_that_hello_named(path: Path) -> None:
    with running(path) as process:
        with Controller(path) as controller:
            controller.ask(msgspec.structs.replace(HELLO, grace_ms=50))
        assert end_of(process) == (0, "")


def test_it_waits_for_its_first_controller_only_so_long(path: Path) -> None:
    with running(path, grace_ms=2_000) as process:
        assert end_of(process) == (0, "")


def test_what_happens_without_a_controller_is_told_to_the_next_one(path: Path) -> None:
    with running(path), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(WITHIN_S)
        peer.bind(("127.0.0.1", 0))
        with Controller(path) as first:
            info = info_of(first.ask(HELLO, transport("a", 1))[0])
        worker = info.workers[1]
        check = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        check.attributes["USERNAME"] = "ua:peer"
        check.attributes["ICE-CONTROLLING"] = 1
        check.attributes["USE-CANDIDATE"] = None
        check.add_message_integrity(b"p" * 22)
        peer.sendto(bytes(check), (worker.host, worker.port))
        answer = stun.parse_message(peer.recv(2048))
        assert answer.message_class == stun.Class.RESPONSE
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == peer.getsockname()
        with Controller(path) as second:
            second.send(HELLO)
            frame: dict[str, Any] = {}
            while "notices" not in frame:
                frame = second.read()
            remote = "{}:{}".format(*peer.getsockname())
            assert msgspec.convert(frame["notices"], list[Notice]) == [
                IceStateChanged(transport="a", state="connected", remote=remote)
            ]


def test_another_protocol_is_refused_and_its_connection_closed(path: Path) -> None:
    with running(path), Controller(path) as controller:
        (result,) = controller.ask(msgspec.structs.replace(HELLO, protocol=PLANE_PROTOCOL + 1))
        assert result["error"]["code"] == "protocol_mismatch"
        controller.wait_closed()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!I", FRAME_BYTES_MAX + 1),
        struct.pack("!I", 3) + b"\xc1\xc1\xc1",
        struct.pack("!I", 0),
    ],
    ids=["http", "too-long", "no-msgpack", "empty"],
)
def test_garbage_closes_that_connection_only(path: Path, garbage: bytes) -> None:
    with running(path), Controller(path) as controller, Controller(path) as hostile:
        controller.ask(HELLO, transport("a", 0))
        hostile.socket.sendall(garbage)
        hostile.wait_closed()
        assert [one.transport for one in table_of(controller.ask(Describe())[0]).transports] == [
            "a"
        ]


def test_an_order_of_an_unknown_type_is_answered_with_an_error(path: Path) -> None:
    with running(path), Controller(path) as controller:
        controller.ask(HELLO)
        later: Any = msgspec.Raw(msgspec.msgpack.encode({"type": "SetHologram", "hologram": "h"}))
        done, refused, made = controller.ask(transport("a", 0), later, transport("b", 1))
        assert (done, made) == (None, None)
        assert refused["error"]["code"] == "unknown_order"
        table = table_of(controller.ask(Describe())[0])
        assert sorted(one.transport for one in table.transports) == ["a", "b"]


def test_orders_before_hello_are_not_heard(path: Path) -> None:
    with running(path), Controller(path) as controller, Controller(path) as hostile:
        controller.ask(HELLO)
        hostile.send(Quit())
        hostile.wait_closed()
        assert table_of(controller.ask(Describe())[0]).transports == ()


def test_idle_strangers_do_not_keep_a_controller_out(path: Path) -> None:
    with running(path), Controller(path) as controller:
        controller.ask(HELLO)
        strangers = [Controller(path) for _ in range(12)]
        for stranger in strangers[8:]:
            stranger.wait_closed()
        for stranger in strangers:
            stranger.socket.close()
        info_of(controller.ask(HELLO)[0])


def test_a_consumer_may_be_on_another_worker_than_its_producer(path: Path) -> None:
    with running(path) as process, Controller(path) as controller:
        results = controller.ask(
            HELLO,
            transport("t-send", 0),
            transport("t-recv", 1, "recv"),
            rows.producer(),
            rows.consumer(),
            RequestKeyFrame(consumer="c"),
            transport("t-send", 1),
            transport("t-far", 2),
        )
        assert results[1:6] == [None] * 5
        codes = [result["error"]["code"] for result in results[6:]]
        assert codes == ["immutable_field", "wrong_worker"]
        # Who takes the plane over finds each entry once, and may say all again.
        with Controller(path) as second:
            assert second.ask(HELLO, rows.producer(), rows.consumer())[1:] == [None, None]
            table = table_of(second.ask(Describe())[0])
            assert (table.producers, table.consumers) == (("p",), ("c",))
            assert second.ask(msgspec.structs.replace(rows.producer(), paused=True)) == [None]
            # With the publisher's transport all goes that hung on it, on both workers.
            assert second.ask(Remove(kind="transport", id="t-send")) == [None]
            table = table_of(second.ask(Describe())[0])
            assert [one.transport for one in table.transports] == ["t-recv"]
            assert (table.producers, table.consumers) == ((), ())
            (result,) = second.ask(rows.consumer())
            assert result["error"]["code"] == "unknown_producer"
        assert process.poll() is None


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(os.fspath(path))
    stale.close()
    with running(path) as process, Controller(path) as controller:
        controller.ask(HELLO)
        assert "another plane listens" in failure(path)
        controller.ask(Quit())
        assert end_of(process) == (0, "")


def test_what_is_not_a_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    assert "not a socket" in failure(path)
    assert path.read_text() == "precious"


def test_a_socket_path_that_is_too_long_or_has_no_directory_is_one_clear_line(path: Path) -> None:
    assert "too long" in failure(path.with_name("x" * 100))
    assert "cannot listen" in failure(path / "plane.sock")


def test_ports_in_use_and_bad_addresses_are_one_clear_line(path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert f"no free UDP port left in {port}-{port}" in failure(
            path, ports=port, workers=1, host="127.0.0.1"
        )
    assert "not an IP address" in failure(path, host="localhost")
    assert "cannot bind" in failure(path, host="192.0.2.1")
    assert "workers must be" in failure(path, workers=0)
    assert not path.exists()
