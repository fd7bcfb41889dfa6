"""Which addresses are loopback, and which are announced."""

from ipaddress import ip_address

import pytest

from gateway.addresses import (
    ANNOUNCED_MAX,
    announced_addresses,
    bind_address,
    choose_announced,
    is_loopback,
)
from gateway.errors import StartupError


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST."]
)
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "", "::2"])
def test_not_loopback(host):
    assert not is_loopback(host)


def chosen(*texts, version=4):
    return choose_announced([ip_address(text) for text in texts], version)


def test_public_addresses_come_first_and_loopback_only_alone():
    assert chosen("127.0.0.1", "10.0.0.5", "8.8.8.8", "::1") == ("8.8.8.8", "10.0.0.5")
    assert chosen("127.0.0.1") == ("127.0.0.1",)
    assert chosen("127.0.0.1", "169.254.3.3") == ("127.0.0.1",)
    assert chosen("fe80::1", "2600::1", "::1", "8.8.8.8", version=6) == ("2600::1",)
    assert chosen() == ()


def test_announced_addresses_are_few_and_different():
    assert chosen("10.0.0.1", "10.0.0.1") == ("10.0.0.1",)
    assert len(chosen(*(f"10.0.0.{number}" for number in range(1, 30)))) == ANNOUNCED_MAX


def test_a_concrete_host_announces_itself():
    assert announced_addresses("127.0.0.1") == ("127.0.0.1",)
    assert announced_addresses("10.1.2.3") == ("10.1.2.3",)


def test_all_addresses_announce_this_machines():
    found = announced_addresses("0.0.0.0")
    assert found
    assert all(ip_address(each).version == 4 for each in found)


def test_a_host_becomes_an_address():
    assert bind_address("127.0.0.1") == "127.0.0.1"
    assert bind_address("localhost") in {"127.0.0.1", "::1"}
    with pytest.raises(StartupError, match=r"no-such-host\.invalid"):
        bind_address("no-such-host.invalid")
