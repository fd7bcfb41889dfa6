"""IP addresses: which are loopback, and which of this machine's are worth announcing."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from gateway.errors import StartupError

ANNOUNCED_MAX = 8
"""Candidates of a transport; more would only slow clients down."""

Ip = IPv4Address | IPv6Address


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or a name, means this machine alone. Resolves no names."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind_address(host: str) -> str:
    """The IP address to listen on. Raises `StartupError` for a name that means none."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartupError(f"host {host!r} has no address: {error.strerror}") from error
    addresses = [str(entry[4][0]) for entry in found]
    v4 = [address for address in addresses if "." in address]
    return (v4 or addresses)[0]


def announced_addresses(host: str) -> tuple[str, ...]:
    """The addresses under which clients reach a server that listens on `host`, an IP address.

    Raises `StartupError` when this machine has none.
    """
    address = ip_address(host)
    if not address.is_unspecified:
        return (str(address),)
    found = choose_announced(_machine_addresses(), address.version)
    if not found:
        raise StartupError(
            f"this machine has no IPv{address.version} address for clients: use --announce"
        )
    return found


def choose_announced(addresses: Iterable[Ip], version: int) -> tuple[str, ...]:
    """Those of one IP version that clients elsewhere can reach, public ones first.

    A machine that has nothing but loopback announces that.
    """
    usable = [
        address
        for address in dict.fromkeys(addresses)
        if address.version == version and not address.is_link_local and not address.is_multicast
    ]
    outside = [address for address in usable if not address.is_loopback]
    ranked = sorted(outside or usable, key=lambda address: not address.is_global)
    return tuple(str(address) for address in ranked[:ANNOUNCED_MAX])


def _machine_addresses() -> list[Ip]:
    import ifaddr  # noqa: PLC0415 - wanted at one start in many

    found: list[Ip] = []
    for adapter in ifaddr.get_adapters():
        for each in adapter.ips:
            text = each.ip if isinstance(each.ip, str) else each.ip[0]
            found.append(ip_address(text.partition("%")[0]))
    return found
