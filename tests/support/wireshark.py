"""Opens captures in the real Wireshark, by tshark."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

FIELDS = (
    "frame.interface_name", "frame.interface_description", "frame.time_epoch", "frame.len",
    "frame.cap_len", "frame.comment", "frame.packet_flags_direction", "ip.src", "udp.srcport",
    "ip.dst", "udp.dstport", "_ws.col.Protocol", "_ws.malformed", "rtp.seq", "rtp.ssrc",
    "rtcp.pt", "stun.type", "ip.checksum.status", "_ws.expert.message",
)  # fmt: skip


def dissect(path: Path, decode_as: Sequence[str] = ()) -> list[dict[str, str]]:
    """What Wireshark says of each frame; a capture that it does not read fails.

    Several values of a field are separated by `;`. IP checksums are validated.
    """
    command = [
        "tshark",
        "-r",
        str(path),
        "-T",
        "fields",
        "-E",
        "aggregator=;",
        "-E",
        "occurrence=a",
    ]
    command += ["-o", "ip.check_checksum:TRUE"]
    for one in decode_as:
        command += ["-d", one]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if "Running as user" not in line]
    assert (done.returncode, said) == (0, [])
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]
