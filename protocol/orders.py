"""Orders: what the control plane tells the media plane.

Two sorts, and both are idempotent, so that a batch may be sent again after a
broken connection:

- *Rows* (`SetTransport`, `SetProducer`, `SetConsumer`) are upserts: the whole
  wanted truth about one entry of the plane's table. Actors derive them from
  their state; a row that equals the present one changes nothing.
- *Acts* (`Remove`, `SendDtls`, `SetSrtpKeys`, `RequestKeyFrame`, `Describe`,
  `QueryStats`, `Hello`, `Quit`) happen once when they arrive.

Removing a transport removes its producers and consumers; removing a producer
removes its consumers. Removing what is not there is no error.

On the Unix socket a frame is a 4-byte big-endian length (at most
`FRAME_BYTES_MAX`) and a msgpack map. Control sends
`{"seq": int, "orders": [order, …]}`; the plane answers each such frame with
`{"seq": int, "results": [result, …]}`, one result an order, where a result is
nil (done), `{"error": {"code", "message"}}` or `{"data": …}`; in between it
sends `{"notices": [notice, …]}`. Orders and notices are maps whose key `type`
names the struct. Fields that equal their default may be absent.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from protocol.personal import Concealed

PLANE_PROTOCOL = 1
"""Version of orders and notices; `Hello` refuses another."""

FRAME_BYTES_MAX = 4 * 1024 * 1024
"""Largest frame on the plane's socket, in bytes."""

Kind = Literal["audio", "video"]
ExtensionName = Literal[
    "mid",
    "rid",
    "repaired_rid",
    "abs_send_time",
    "transport_cc",
    "audio_level",
    "video_orientation",
    "playout_delay",
    "dependency_descriptor",
    "video_layers_allocation",
    "abs_capture_time",
]
SrtpProfile = Literal["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES128_CM_HMAC_SHA1_80"]


class _Part(Struct, frozen=True, kw_only=True):
    """A map inside an order or a notice."""


class _Order(Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """An order; its type name is its tag."""


class IceCredentials(_Part, frozen=True, kw_only=True):
    """Local ICE credentials of one generation (RFC 8445, 5.3).

    The password is empty in an actor's row and is filled in at the edge, on the
    way to the plane: it is never in the log.
    """

    ufrag: str
    pwd: str = ""


class SetTransport(_Order, frozen=True, kw_only=True):
    """One BUNDLE transport: ICE-lite, DTLS-SRTP, rtcp-mux.

    `ice` lists the credentials that are accepted, newest first: the second one
    lives on during an ICE restart until a check with the first verified.
    `worker` is the index of the thread that owns the transport.
    `dtls_role` and `fingerprints` (algorithm, value) are for the DTLS driver in
    Python; the native plane ignores them. Without them no handshake starts.
    `room` is what its telemetry and its recordings go under; without it there are none.
    """

    transport: str
    worker: int
    direction: Literal["send", "recv"]
    ice: tuple[IceCredentials, ...]
    dtls_role: Literal["client", "server"] | None = None
    fingerprints: tuple[tuple[str, str | Concealed], ...] = ()
    room: str = ""


class SetSrtpKeys(_Order, frozen=True, kw_only=True):
    """Keys of a finished DTLS handshake (RFC 5764, 4.2), each key followed by its salt.

    The same keys again change nothing; other keys start new SRTP contexts.
    """

    transport: str
    profile: SrtpProfile
    local: bytes
    remote: bytes

    def __repr__(self) -> str:
        return f"SetSrtpKeys(transport={self.transport!r}, profile={self.profile!r}, keys=…)"


class ProducerCodec(_Part, frozen=True, kw_only=True):
    """A codec as the publisher numbers it, and as all its viewers see it."""

    payload_type: int
    mapped_payload_type: int
    mime_type: str
    clock_rate: int
    channels: int | None = None
    rtx_payload_type: int | None = None
    mapped_rtx_payload_type: int | None = None
    nack: bool = False
    pli: bool = False
    fir: bool = False
    transport_cc: bool = False
    remb: bool = False


class ProducerEncoding(_Part, frozen=True, kw_only=True):
    """One RTP stream of a producer; with a rid alone, its SSRCs are learned (RFC 8852)."""

    rid: str | None = None
    ssrc: int | None = None
    rtx_ssrc: int | None = None
    scalability_mode: str | None = None


class HeaderExtension(_Part, frozen=True, kw_only=True):
    """A header extension (RFC 8285): the publisher's id and the one that viewers see."""

    name: ExtensionName
    id: int
    mapped_id: int


class SetProducer(_Order, frozen=True, kw_only=True):
    """One media source on a `send` transport.

    While `paused`, its packets are received and counted, but not forwarded.
    """

    producer: str
    transport: str
    kind: Kind
    codecs: tuple[ProducerCodec, ...]
    encodings: tuple[ProducerEncoding, ...]
    header_extensions: tuple[HeaderExtension, ...]
    mid: str | None = None
    cname: str = ""
    paused: bool = False


class ConsumerCodec(_Part, frozen=True, kw_only=True):
    """A codec as the viewer numbers it: equal to the producer's mapped one."""

    payload_type: int
    mime_type: str
    clock_rate: int
    rtx_payload_type: int | None = None
    nack: bool = False
    pli: bool = False
    fir: bool = False


class ConsumerExtension(_Part, frozen=True, kw_only=True):
    """A header extension that the viewer takes."""

    name: ExtensionName
    id: int


class SetConsumer(_Order, frozen=True, kw_only=True):
    """One viewer's copy of a producer on a `recv` transport.

    `spatial_layer` and `temporal_layer` are the highest wanted ones (None: the
    highest there is). While `paused`, nothing is sent; when it ends, the plane
    asks for a keyframe and resumes with it, without a gap in sequence numbers.
    Of the transport's bandwidth, videos of higher `priority` (1 to 255) get theirs first.
    """

    consumer: str
    transport: str
    producer: str
    kind: Kind
    ssrc: int
    codecs: tuple[ConsumerCodec, ...]
    header_extensions: tuple[ConsumerExtension, ...]
    mid: str
    cname: str
    rtx_ssrc: int | None = None
    paused: bool = False
    spatial_layer: int | None = None
    temporal_layer: int | None = None
    priority: int = 1


Row = SetTransport | SetProducer | SetConsumer


class Remove(_Order, frozen=True, kw_only=True):
    """Takes an entry, and all that hangs on it, out of the table."""

    kind: Literal["transport", "producer", "consumer"]
    id: str


def removal_of(row: Row) -> Remove:
    """The order that takes a row out again; also a key for it."""
    match row:
        case SetTransport(transport=entry):
            return Remove(kind="transport", id=entry)
        case SetProducer(producer=entry):
            return Remove(kind="producer", id=entry)
        case SetConsumer(consumer=entry):
            return Remove(kind="consumer", id=entry)


class RequestKeyFrame(_Order, frozen=True, kw_only=True):
    """Asks the publisher for a keyframe on behalf of one consumer; coalesced."""

    consumer: str


class FreezeRecorder(_Order, frozen=True, kw_only=True):
    """Hands over what the flight recorder holds of a transport, as `Recording` notices.

    `position` is that of the event in the room's log that asked for it. In a decision it is the
    number of that event among those of the message, from 1; the kernel adds the message's own.
    """

    transport: str
    reason: str
    position: int


class SendDtls(_Order, frozen=True, kw_only=True):
    """DTLS records to send to the transport's selected tuple, one datagram each."""

    transport: str
    datagrams: tuple[bytes, ...]


class Hello(_Order, frozen=True, kw_only=True):
    """First order on a connection: takes over the plane. An older connection is closed.

    Without a controller the plane goes on forwarding for `grace_ms`, then ends.
    Answered by `PlaneInfo`.
    """

    protocol: int
    version: str
    grace_ms: int


class Describe(_Order, frozen=True, kw_only=True):
    """Asks for the whole table. Answered by `Table`."""


class QueryStats(_Order, frozen=True, kw_only=True):
    """Asks for the statistics of entries. Answered by a list of `Stats`, unknown ids left out."""

    ids: tuple[str, ...]


class Quit(_Order, frozen=True, kw_only=True):
    """Ends the plane at once."""


Order = (
    SetTransport
    | SetSrtpKeys
    | SetProducer
    | SetConsumer
    | Remove
    | RequestKeyFrame
    | FreezeRecorder
    | SendDtls
    | Hello
    | Describe
    | QueryStats
    | Quit
)


class WorkerInfo(_Part, frozen=True, kw_only=True):
    """A worker thread: its UDP address is where its transports are reached."""

    worker: int
    port: int
    """UDP port."""
    host: str


class PlaneInfo(_Part, frozen=True, kw_only=True):
    """Who answers: `incarnation` is random per process, so that a restart is noticed."""

    protocol: int
    version: str
    incarnation: str
    pid: int
    workers: tuple[WorkerInfo, ...]


class TransportEntry(_Part, frozen=True, kw_only=True):
    """A transport in the plane's table, with what only the plane knows."""

    transport: str
    worker: int
    ice_state: Literal["new", "connected", "disconnected", "failed"]
    remote: str | None
    """Selected remote address, `ip:port` or `[ip6]:port`."""
    srtp_profile: SrtpProfile | None
    """Set once keys are there."""


class EncodingEntry(_Part, frozen=True, kw_only=True):
    """The SSRCs of an encoding, as announced or learned."""

    ssrc: int | None
    """None while it is not known."""
    rtx_ssrc: int | None


class ProducerEntry(_Part, frozen=True, kw_only=True):
    """How a producer stands, as `ProducerActivityChanged` and its like told it."""

    producer: str
    active: bool
    demand: int | None
    """The highest layer that its publisher was told to be wanted; None: none is."""
    scores: tuple[int, ...]
    encodings: tuple[EncodingEntry, ...]
    """In the order of its row."""


class ConsumerEntry(_Part, frozen=True, kw_only=True):
    """How a consumer stands, as `LayersChanged` and its like told it."""

    consumer: str
    spatial_layer: int | None
    temporal_layer: int | None
    reason: str
    frozen: bool
    score: int | None
    """None before the viewer's first report."""
    producer_score: int


class Table(_Part, frozen=True, kw_only=True):
    """All that is in the plane's table, with what only the plane knows.

    A plane of before `producer_entries` and `consumer_entries` lists ids alone.
    """

    transports: tuple[TransportEntry, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    producer_entries: tuple[ProducerEntry, ...] = ()
    consumer_entries: tuple[ConsumerEntry, ...] = ()


class StreamStats(_Part, frozen=True, kw_only=True):
    """One RTP stream; names follow W3C webrtc-stats, in snake_case. Times in ns or as named."""

    ssrc: int
    rid: str | None = None
    payload_type: int | None = None
    packets: int = 0
    bytes: int = 0
    """Payload bytes without headers and padding."""
    header_bytes: int = 0
    packets_lost: int = 0
    """Inbound: counted by us (RFC 3550, A.3). Outbound: as the viewer last reported."""
    fraction_lost: float = 0.0
    jitter_ms: float = 0.0
    round_trip_time_ms: float | None = None
    packets_discarded: int = 0
    nack_count: int = 0
    pli_count: int = 0
    fir_count: int = 0
    key_frames: int = 0
    retransmitted_packets: int = 0
    bitrate_bps: int = 0
    """Over the last second."""
    spatial_layer: int | None = None
    temporal_layer: int | None = None
    priority: int | None = None
    """Of a consumer."""


class TransportStats(_Part, frozen=True, kw_only=True):
    """A transport's own counters."""

    ice_state: str
    remote: str | None
    bytes_sent: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    stun_requests: int = 0
    available_outgoing_bps: int | None = None
    """Estimated bandwidth towards a viewer, once there was feedback."""
    drops: dict[str, int] = {}
    """Received and dropped packets by reason, e.g. `srtp_replay`, `unknown_ssrc`."""


class Stats(_Part, frozen=True, kw_only=True):
    """Statistics of one entry: `transport` for a transport, `streams` for the others."""

    id: str
    kind: Literal["transport", "producer", "consumer"]
    at_ns: int
    """The plane's monotonic clock."""
    transport: TransportStats | None = None
    streams: tuple[StreamStats, ...] = ()
