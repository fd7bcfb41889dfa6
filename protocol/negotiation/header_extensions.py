"""The RTP header extensions that this router reads and writes.

Identifiers are fixed, the same in every router and for every viewer, so that a packet's extension
block can be prepared once for all of them. All fit the one-byte form of RFC 8285, 4.2.
"""

from collections.abc import Mapping

import msgspec

from protocol.orders import ExtensionName, Kind
from protocol.rtp_parameters import HeaderExtensionDirection, RtpHeaderExtension


class SupportedHeaderExtension(msgspec.Struct, frozen=True, kw_only=True):
    """A header extension with its fixed identifier.

    Directions are the router's: what is `recvonly` is read from publishers, and viewers never
    get it. A kind without a direction does not use the extension.
    """

    name: ExtensionName
    uri: str
    id: int
    audio: HeaderExtensionDirection | None = None
    video: HeaderExtensionDirection | None = None

    def direction(self, kind: Kind) -> HeaderExtensionDirection | None:
        """Return the direction for streams of `kind`."""
        return self.audio if kind == "audio" else self.video


HEADER_EXTENSIONS: tuple[SupportedHeaderExtension, ...] = (
    SupportedHeaderExtension(
        name="mid",
        uri="urn:ietf:params:rtp-hdrext:sdes:mid",
        id=1,
        audio="sendrecv",
        video="sendrecv",
    ),
    # A viewer gets one stream per producer, whatever the publisher's layers are called.
    SupportedHeaderExtension(
        name="rid",
        uri="urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        id=2,
        video="recvonly",
    ),
    SupportedHeaderExtension(
        name="repaired_rid",
        uri="urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        id=3,
        video="recvonly",
    ),
    SupportedHeaderExtension(
        name="abs_send_time",
        uri="http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        id=4,
        audio="sendrecv",
        video="sendrecv",
    ),
    # Towards viewers only video is worth the feedback that it costs.
    SupportedHeaderExtension(
        name="transport_cc",
        uri="http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        id=5,
        audio="recvonly",
        video="sendrecv",
    ),
    SupportedHeaderExtension(
        name="audio_level",
        uri="urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        id=6,
        audio="sendrecv",
    ),
    SupportedHeaderExtension(
        name="video_orientation", uri="urn:3gpp:video-orientation", id=7, video="sendrecv"
    ),
    SupportedHeaderExtension(
        name="playout_delay",
        uri="http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        id=8,
        video="sendrecv",
    ),
    # It numbers the frames of the publisher's stream; the plane rewrites it for each viewer.
    SupportedHeaderExtension(
        name="dependency_descriptor",
        uri="https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
        id=9,
        video="sendrecv",
    ),
    # Addressed to the SFU alone.
    SupportedHeaderExtension(
        name="video_layers_allocation",
        uri="http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
        id=10,
        video="recvonly",
    ),
    SupportedHeaderExtension(
        name="abs_capture_time",
        uri="http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
        id=11,
        audio="sendrecv",
        video="sendrecv",
    ),
)
"""All of them, by ascending identifier."""

HEADER_EXTENSION_BY_URI: Mapping[str, SupportedHeaderExtension] = {
    extension.uri: extension for extension in HEADER_EXTENSIONS
}
"""The same, by URI."""

TRANSPORT_CC_URI = next(e.uri for e in HEADER_EXTENSIONS if e.name == "transport_cc")
"""Transport-wide sequence numbers (draft-holmer-rmcat-transport-wide-cc-extensions-01)."""

ABS_SEND_TIME_URI = next(e.uri for e in HEADER_EXTENSIONS if e.name == "abs_send_time")
"""Absolute send time, which REMB estimates from (draft-alvestrand-rmcat-remb, 2.2)."""


def header_extension_capabilities() -> tuple[RtpHeaderExtension, ...]:
    """Return all extensions as a router's capabilities state them: one entry per kind."""
    kinds: tuple[Kind, ...] = ("audio", "video")
    return tuple(
        RtpHeaderExtension(
            kind=kind,
            uri=extension.uri,
            preferred_id=extension.id,
            direction=direction,
        )
        for extension in HEADER_EXTENSIONS
        for kind in kinds
        if (direction := extension.direction(kind)) is not None
    )
