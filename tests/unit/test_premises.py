"""What the machine must offer, and what is said when it does not."""

import io
import resource
import socket

import pytest

from gateway import premises
from gateway.announcement import announce, box
from gateway.errors import StartupError
from gateway.keys import Secret
from gateway.settings import Settings, settings_of


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_loopback_is_open(host):
    premises.check_access(Settings(), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_addresses_want_a_secret_or_an_explicit_open(host):
    with pytest.raises(StartupError, match="--open"):
        premises.check_access(Settings(), host)
    premises.check_access(settings_of({"open": True}), host)
    premises.check_access(settings_of({"secret": Secret("x" * 32)}), host)


def test_the_data_directory_is_made_for_its_owner_alone(tmp_path):
    made = premises.prepare_data_dir(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    assert list(made.iterdir()) == []
    assert premises.prepare_data_dir(made) == made


def test_a_port_is_bound_but_not_yet_served():
    with premises.bind_tcp("127.0.0.1", 0, "http-port") as bound:
        port = bound.getsockname()[1]
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        bound.listen()
        with pytest.raises(StartupError, match=f"port {port} on 127.0.0.1 is in use.*--signal"):
            premises.bind_tcp("127.0.0.1", port, "signal-port")


def test_an_address_of_another_machine_is_told():
    with pytest.raises(StartupError, match="not on this machine's addresses"):
        premises.bind_tcp("192.0.2.1", 0, "http-port")


@pytest.mark.parametrize(
    ("soft", "hard", "left", "raised"),
    [
        (20_000, 20_000, None, None),
        (1024, 50_000, None, (10_256, 50_000)),
        (1024, 4096, 4096, (4096, 4096)),
        (1024, resource.RLIM_INFINITY, None, (10_256, resource.RLIM_INFINITY)),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, None),
    ],
)
def test_open_files_are_allowed_as_far_as_it_goes(monkeypatch, soft, hard, left, raised):
    calls = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: calls.append(limits))
    assert premises.allow_open_files(10_000) == left
    assert calls == ([] if raised is None else [raised])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_person_sees_a_box_with_addresses_to_open():
    settings = settings_of({"host": "0.0.0.0", "open": True})
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        announce(settings, http_port=3000, signal_port=3001, workers=["0.0.0.0:1"], stream=stream)
    assert pipe.getvalue() == ""
    lines = terminal.getvalue().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert any("http://localhost:3000/host" in line for line in lines)
    assert any("ws://localhost:3001/" in line for line in lines)


def test_a_concrete_address_is_shown_as_it_is():
    for host, shown in (("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "[2001:db8::1]")):
        terminal = Terminal()
        settings = settings_of({"host": host, "open": True})
        announce(settings, http_port=1, signal_port=2, workers=[], stream=terminal)
        assert f"http://{shown}:1/" in terminal.getvalue()


def test_a_box_is_as_wide_as_its_longest_line():
    assert box(["a", "bcd"]) == "╭───────╮\n│  a    │\n│  bcd  │\n╰───────╯\n"
