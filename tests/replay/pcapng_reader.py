"""A strict reader of pcapng, for tests: it refuses whatever the draft does not allow."""

import struct
from ipaddress import ip_address
from typing import NamedTuple


class Frame(NamedTuple):
    interface: str
    at_ns: int
    source: str
    target: str
    payload: bytes
    original: int
    """Length of the UDP payload on the wire."""
    comment: str
    flags: int


def options(data):
    found = {}
    at = 0
    while True:
        code, length = struct.unpack_from("<HH", data, at)
        at += 4
        if code == 0:
            assert length == 0
            assert at == len(data)
            return found
        found[code] = data[at : at + length]
        assert len(found[code]) == length
        at += length + -length % 4


def read(data):
    """Interfaces' descriptions and frames."""
    interfaces, frames = [], []
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        body = data[at + 8 : at + length - 4]
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        if at == 0:
            assert kind == 0x0A0D0D0A
            assert struct.unpack_from("<IHH", body) == (0x1A2B3C4D, 1, 0)
            options(body[16:])
        elif kind == 1:
            link, reserved, snaplen = struct.unpack_from("<HHI", body)
            assert (link, reserved) == (1, 0)
            found = options(body[8:])
            assert found[9] == b"\x09"
            interfaces.append((found[2].decode(), found[3].decode(), snaplen))
        else:
            assert kind == 6
            frames.append(_frame(body, interfaces))
        at += length
    return [about for _, about, _ in interfaces], frames


def _frame(body, interfaces):
    number, high, low, captured, original = struct.unpack_from("<IIIII", body)
    name, _, snaplen = interfaces[number]
    assert captured <= min(original, snaplen)
    data = body[20 : 20 + captured]
    assert len(data) == captured
    found = options(body[20 + captured + -captured % 4 :])
    if data[12:14] == b"\x08\x00":
        head = data[14:34]
        assert head[0] == 0x45
        assert head[9] == 17
        total = sum(struct.unpack(">10H", head))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
        assert struct.unpack_from(">H", head, 2)[0] == original - 14
        source, target, udp = head[12:16], head[16:20], 34
    else:
        assert data[12:14] == b"\x86\xdd"
        source, target, udp = data[22:38], data[38:54], 54
        assert struct.unpack_from(">H", data, 18)[0] == original - 54
    ports = struct.unpack_from(">HH", data, udp)
    return Frame(
        interface=name,
        at_ns=high << 32 | low,
        source=f"{ip_address(source)}:{ports[0]}",
        target=f"{ip_address(target)}:{ports[1]}",
        payload=data[udp + 8 :],
        original=original - udp - 8,
        comment=found[1].decode(),
        flags=struct.unpack("<I", found[2])[0],
    )
