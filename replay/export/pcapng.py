"""pcapng: the packet headers of a room's recordings, as Wireshark and tshark read them.

One interface a recording; its description names the transport, the reason and the position in the
log. Ethernet, IP and UDP headers are made up: ours is 192.0.2.1 or 2001:db8::1, port 10000, and
the peer's address is the recorded one. A packet's original length is that of the wire, so what was
not captured shows as cut off by the capture and not as malformed. RTCP stands as it was after
decryption, so its length is that of the compound. Comments say why a packet was dropped, and which
transport-wide number a forwarded one had.

draft-ietf-opsawg-pcapng: Section Header, Interface Description and Enhanced Packet Blocks,
little-endian, times in nanoseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, ip_address

from replay.export.version import reprise_version
from replay.recordings import Packet, Recording

_ETHERNET = 1
_SNAPLEN = 256
_OUR_PORT = 10_000
_OURS = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
_UNKNOWN = ("192.0.2.2", 1)
_OUR_MAC, _PEER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")

_COMMENT, _USER_APPLICATION = 1, 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 2, 3, 9
_EPB_FLAGS = 2
_INBOUND, _OUTBOUND = 1, 2

Pseudonym = Callable[[str], str]
"""Gives the address that stands for an address."""


def export(
    recordings: Iterable[tuple[Recording, Iterable[Packet]]],
    *,
    pseudonym: Pseudonym | None = None,
) -> Iterator[bytes]:
    """Write recordings; with `pseudonym`, without any peer's address and without CNAMEs."""
    yield _section()
    for number, (recording, packets) in enumerate(recordings):
        yield _interface(recording)
        for packet in packets:
            yield _packet(number, recording, packet, pseudonym)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _options(*options: tuple[int, bytes]) -> bytes:
    written = b"".join(
        struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
        for code, value in options
    )
    return written + bytes(4)


def _section() -> bytes:
    application = f"reprise {reprise_version()}".encode()
    head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    return _block(0x0A0D0D0A, head + _options((_USER_APPLICATION, application)))


def _interface(recording: Recording) -> bytes:
    about = f"transport {recording.transport}: {recording.reason}, position {recording.position}"
    if recording.missing:
        about += f", {recording.missing} of {recording.parts} parts are missing"
    options = _options(
        (_IF_NAME, recording.transport.encode()),
        (_IF_DESCRIPTION, about.encode()),
        (_IF_TSRESOL, b"\x09"),
    )
    return _block(1, struct.pack("<HHI", _ETHERNET, 0, _SNAPLEN) + options)


def _packet(
    interface: int, recording: Recording, packet: Packet, pseudonym: Pseudonym | None
) -> bytes:
    host, port = packet.remote or _UNKNOWN
    captured, length = packet.captured, packet.length
    if pseudonym is not None:
        host = pseudonym(host)
        captured = _without_texts(packet)
    if packet.kind == "rtcp" and len(captured) > 8:
        length = max(len(captured), 4 * _words(captured))
    frame = _frame(packet.out, host, port, length) + captured
    original = len(frame) - len(captured) + length
    comments = [f"{recording.reason}, log position {recording.position}"]
    if packet.kind == "rtcp":
        comments.append("RTCP after decryption" if len(captured) > 8 else "RTCP not decrypted")
    if packet.dropped is not None:
        comments.append(f"dropped: {packet.dropped}")
    if packet.transport_cc is not None:
        comments.append(f"transport-wide sequence number {packet.transport_cc}")
    direction = _OUTBOUND if packet.out else _INBOUND
    options = _options(
        (_COMMENT, "; ".join(comments).encode()),
        (_EPB_FLAGS, struct.pack("<I", direction)),
    )
    head = struct.pack(
        "<IIIII",
        interface,
        packet.at_ns >> 32,
        packet.at_ns & 0xFFFFFFFF,
        len(frame),
        max(original, len(frame)),
    )
    return _block(6, head + frame + bytes(-len(frame) % 4) + options)


def _words(compound: bytes) -> int:
    """Words of the compound as far as its packets' headers are captured."""
    at = 0
    while at + 4 <= len(compound):
        at += 4 * (int.from_bytes(compound[at + 2 : at + 4], "big") + 1)
    return at // 4


def _without_texts(packet: Packet) -> bytes:
    """What is captured without what may name somebody: the texts of SDES, APP, and extensions."""
    captured = packet.captured
    if packet.kind == "rtp":
        if len(captured) < 12:
            return captured
        # Extensions bear stream ids and, in a client's own, whatever it likes.
        return captured[: 12 + 4 * (captured[0] & 0x0F)]
    if packet.kind != "rtcp":
        return captured
    kept = bytearray(captured)
    at = 0
    while at + 4 <= len(kept):
        end = at + 4 * (int.from_bytes(kept[at + 2 : at + 4], "big") + 1)
        if kept[at + 1] in (202, 203, 204):
            kept[at + 8 : end] = bytes(len(kept[at + 8 : end]))
        at = end
    return bytes(kept)


def _frame(out: bool, host: str, port: int, payload: int) -> bytes:
    """Ethernet, IP and UDP headers of a packet with so much payload."""
    peer = ip_address(host)
    ours = _OURS[peer.version]
    source, target = (ours, peer) if out else (peer, ours)
    ports = (_OUR_PORT, port) if out else (port, _OUR_PORT)
    macs = _PEER_MAC + _OUR_MAC if out else _OUR_MAC + _PEER_MAC
    udp = struct.pack(">HHHH", *ports, (8 + payload) & 0xFFFF, 0)
    if isinstance(peer, IPv4Address):
        head = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, (28 + payload) & 0xFFFF, 0, 0x4000, 64, 17, 0,
            source.packed, target.packed,
        )  # fmt: skip
        return macs + b"\x08\x00" + head[:10] + _checksum(head) + head[12:] + udp
    head = struct.pack(
        ">IHBB16s16s", 0x60000000, (8 + payload) & 0xFFFF, 17, 64, source.packed, target.packed
    )
    return macs + b"\x86\xdd" + head + udp


def _checksum(header: bytes) -> bytes:
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)
