"""The little SDP that a hand-made client needs: offers to publish, answers to watch. Pure.

Only what `load.janus` says and hears: BUNDLE, rtcp-mux, no candidates of our own (the other side
learns them from our checks, RFC 8445, 7.3.1.3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from load.streams import Publication

_HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


class Credentials(Struct, frozen=True, kw_only=True):
    """What a description says of our transport."""

    ufrag: str
    pwd: str
    fingerprint: str
    """Of SHA-256, pairs of hex digits."""


class Section(Struct, frozen=True, kw_only=True):
    """An m-section that was received."""

    kind: str
    protocol: str
    payload_types: tuple[int, ...]
    lines: tuple[str, ...]
    """Its attributes, without `a=`."""

    def first(self, name: str) -> str | None:
        """The value of an attribute's first line."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """The values of all lines of an attribute."""
        return [line[len(name) + 1 :] for line in self.lines if line.startswith(f"{name}:")]


class Description(Struct, frozen=True, kw_only=True):
    """A received description."""

    lines: tuple[str, ...]
    sections: tuple[Section, ...]

    def attribute(self, name: str) -> str:
        """An attribute of the transport: of the session, or of the first section that has it.

        Raises `ValueError`.
        """
        for lines in (self.lines, *(one.lines for one in self.sections)):
            for line in lines:
                if line.startswith(f"{name}:"):
                    return line[len(name) + 1 :]
        raise ValueError(f"a description without {name}")

    def candidate(self) -> tuple[str, int]:
        """Address and port of the first candidate of UDP and IPv4. Raises `ValueError`."""
        for section in self.sections:
            for value in section.all("candidate"):
                words = value.split()
                if len(words) >= 6 and words[2].lower() == "udp" and "." in words[4]:
                    return words[4], int(words[5])
        raise ValueError("a description without a candidate of UDP and IPv4")


def parse(text: str) -> Description:
    """Take a description apart. Raises `ValueError`."""
    session: list[str] = []
    sections: list[tuple[list[str], list[str]]] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.startswith("m="):
            sections.append((line[2:].split(), []))
        elif line.startswith("a="):
            (sections[-1][1] if sections else session).append(line[2:])
    made = []
    for words, lines in sections:
        if len(words) < 4:
            raise ValueError("a malformed m-line")
        numbers = tuple(int(word) for word in words[3:] if word.isdecimal())
        made.append(
            Section(kind=words[0], protocol=words[2], payload_types=numbers, lines=tuple(lines))
        )
    if not made:
        raise ValueError("a description without media")
    return Description(lines=tuple(session), sections=tuple(made))


def offer(publications: Sequence[Publication], credentials: Credentials) -> str:
    """Offer to publish streams; each has its SSRC, or the rids of its layers."""
    mids = [publication.rtp_parameters.mid or "0" for publication in publications]
    text = f"{_HEAD}a=group:BUNDLE {' '.join(mids)}\r\n"
    for publication, mid in zip(publications, mids, strict=True):
        parameters = publication.rtp_parameters
        numbers = " ".join(str(codec.payload_type) for codec in parameters.codecs)
        lines = [
            f"m={publication.kind} 9 UDP/TLS/RTP/SAVPF {numbers}",
            *_transport(mid, credentials, "sendonly"),
        ]
        for codec in parameters.codecs:
            channels = f"/{codec.channels}" if (codec.channels or 1) > 1 else ""
            name = codec.mime_type.partition("/")[2]
            lines.append(f"a=rtpmap:{codec.payload_type} {name}/{codec.clock_rate}{channels}")
            lines += [
                f"a=rtcp-fb:{codec.payload_type} {one.type} {one.parameter or ''}".rstrip()
                for one in codec.rtcp_feedback
            ]
            if codec.parameters:
                pairs = ";".join(f"{name}={value}" for name, value in codec.parameters.items())
                lines.append(f"a=fmtp:{codec.payload_type} {pairs}")
        lines += [f"a=extmap:{one.id} {one.uri}" for one in parameters.header_extensions]
        cname = parameters.rtcp.cname or "load"
        for encoding in parameters.encodings:
            if encoding.ssrc is not None:
                if encoding.rtx is not None:
                    lines.append(f"a=ssrc-group:FID {encoding.ssrc} {encoding.rtx.ssrc}")
                    lines.append(f"a=ssrc:{encoding.rtx.ssrc} cname:{cname}")
                lines.append(f"a=ssrc:{encoding.ssrc} cname:{cname}")
        text += "\r\n".join(lines) + "\r\n"
    return text


def answer(offered: Description, credentials: Credentials) -> str:
    """Answer to watch all that is offered."""
    mids = [section.first("mid") or str(at) for at, section in enumerate(offered.sections)]
    text = f"{_HEAD}a=group:BUNDLE {' '.join(mids)}\r\n"
    for section, mid in zip(offered.sections, mids, strict=True):
        numbers = " ".join(map(str, section.payload_types))
        lines = [f"m={section.kind} 9 {section.protocol} {numbers}"]
        lines += _transport(mid, credentials, "recvonly")
        for name in ("rtpmap", "fmtp", "rtcp-fb", "extmap"):
            lines += [f"a={name}:{value}" for value in section.all(name)]
        text += "\r\n".join(lines) + "\r\n"
    return text


def receiver_arguments(section: Section) -> dict[str, object]:
    """Arguments of `LoadPlane.add_receiver` but for client and stream. Raises `ValueError`."""
    codecs = {
        int(number): name
        for number, name in (value.split(" ", 1) for value in section.all("rtpmap"))
    }
    number = next((one for one in section.payload_types if "rtx" not in codecs.get(one, "")), None)
    if number is None or number not in codecs:
        raise ValueError("an m-section without a codec")
    name, rate, *_ = codecs[number].split("/")
    ssrcs = [int(value.split()[0]) for value in section.all("ssrc")]
    if not ssrcs:
        raise ValueError("an m-section without SSRC")
    ssrc, rtx = ssrcs[0], None
    group = re.match(r"FID (\d+) (\d+)", section.first("ssrc-group") or "")
    if group is not None:
        ssrc, rtx = int(group[1]), int(group[2])
    feedback = [value.partition(" ")[2].strip() for value in section.all("rtcp-fb")]
    return {
        "mime_type": f"{section.kind}/{name}",
        "clock_rate": int(rate),
        "ssrc": ssrc,
        "rtx_ssrc": rtx,
        "nack": "nack" in feedback,
        "pli": "nack pli" in feedback,
        "extensions": [
            (int(head.partition("/")[0]), uri.split()[0])
            for head, _, uri in (value.partition(" ") for value in section.all("extmap"))
        ],
    }


def _transport(mid: str, credentials: Credentials, direction: str) -> list[str]:
    return [
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a={direction}",
        "a=rtcp-mux",
        f"a=ice-ufrag:{credentials.ufrag}",
        f"a=ice-pwd:{credentials.pwd}",
        f"a=fingerprint:sha-256 {credentials.fingerprint}",
        "a=setup:active",
    ]
