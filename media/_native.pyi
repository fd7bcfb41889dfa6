# ruff: noqa: PYI021 - the native module has its docstrings nowhere else
"""The native core: a Rust crate in media/native, built by maturin."""

import os
from collections.abc import Collection, Sequence
from typing import Literal, final

__all__ = [
    "Engine",
    "LoadPlane",
    "SrtpError",
    "SrtpSession",
    "StunMessage",
    "TelemetryFold",
    "parse_stun",
    "run_plane",
    "stun_binding_request",
    "stun_binding_success",
    "telemetry_metrics",
]

@final
class Engine:
    """The packet plane of one worker, without sockets and clocks.

    Feed it with `handle_*`, always with the time in ns, then drain it:
    `poll_transmit` until None, and `poll_notices`. The same seed and the same
    calls give the same output.
    """

    def __new__(cls, *, worker: int = 0, seed: int = 0, unix_offset_ns: int = 0) -> Engine:
        """Begin with empty tables.

        `unix_offset_ns` is Unix time at time zero, for sender reports.
        """

    def handle_orders(self, at_ns: int, frame_body: bytes) -> bytes:
        """Carry out an order frame's body (`{"seq", "orders"}`) and give its answer's body.

        Raises ValueError for a malformed body; nothing of it is carried out then.
        """

    def handle_datagram(self, at_ns: int, remote: str, data: bytes) -> None:
        """Take a datagram from `ip:port` or `[ip6]:port`. Raises ValueError for another form."""

    def handle_timeout(self, at_ns: int) -> None:
        """Do what is due."""

    def poll_transmit(self) -> tuple[str, bytes] | None:
        """Take the next datagram to send, and where to."""

    def poll_notices(self) -> bytes:
        """Take all notices, a msgpack list."""

    def next_deadline_ns(self) -> int | None:
        """Say when `handle_timeout` is due; may be early, never late."""

    def drops(self) -> dict[str, int]:
        """Count what was dropped and belonged to no transport, by reason."""

def run_plane(
    *,
    socket_path: str | os.PathLike[str],
    host: str,
    ports: tuple[int, int],
    workers: int,
    version: str,
    grace_ms: int,
    telemetry: bool = True,
    recorder_bytes: int = 67108864,
    recorder_seconds: int = 30,
    keyframe_interval_ms: int = 4000,
) -> Literal["quit", "signal", "grace"]:
    """Run a plane in this process until it ends, and say why it did. Holds no GIL.

    Raises OSError (a port in use, a socket that can't be had, a worker that
    failed) or ValueError (a setting out of its range), with one line to print.
    """

@final
class LoadPlane:
    """The clients of a load test: a thread with a UDP socket for each (media/native/src/load).

    Orders return at once and are carried out in their order; those about a
    client that is not there do nothing. Their `RuntimeError` says that the
    thread is gone.
    """

    def __new__(cls, *, seed: int, origin: int, feedback_interval_ns: int) -> LoadPlane:
        """Start the thread. `origin` (32 bits) names this process in the stamps of its packets."""

    def now_ns(self) -> int:
        """Monotonic time, as all its reports have it."""

    def events_fd(self) -> int:
        """A descriptor that is readable while there are events."""

    def add_client(
        self,
        client: int,
        *,
        remote: str,
        ufrag: str,
        pwd: str,
        remote_ufrag: str,
        remote_pwd: str,
        loss_ppm: int = 0,
        delay_ns: int = 0,
        jitter_ns: int = 0,
    ) -> None:
        """Open a socket towards `ip:port` or `[ip6]:port` and begin ICE checks, controlling.

        The rest is a simulated network, in either direction. Raises OSError if
        no socket can be had, ValueError for what is no address.
        """

    def remove_client(self, client: int) -> None:
        """Close its socket; its counts stay in the sums."""

    def set_srtp_keys(self, client: int, profile: str, local: bytes, remote: bytes) -> None:
        """Install the keys of a DTLS handshake, each followed by its salt.

        Raises ValueError for an unknown profile or other lengths.
        """

    def add_receiver(
        self,
        client: int,
        *,
        stream: int,
        mime_type: str,
        clock_rate: int,
        ssrc: int,
        rtx_ssrc: int | None,
        nack: bool,
        pli: bool,
        extensions: Sequence[tuple[int, str]],
    ) -> None:
        """Receive a stream from now on; extensions by id and URI.

        Raises ValueError for a codec other than opus, VP8 and H264.
        """

    def add_sender(
        self,
        client: int,
        *,
        stream: int,
        mime_type: str,
        clock_rate: int,
        payload_type: int,
        ssrc: int,
        rtx: tuple[int, int] | None,
        extensions: Sequence[tuple[int, bytes]],
        rtx_extensions: Sequence[tuple[int, bytes]],
        transport_cc_id: int | None,
        bitrate_bps: int,
        frame_interval_ns: int,
        units: Sequence[bytes],
        even_split: bool,
        start_ns: int,
    ) -> None:
        """Publish one encoding from `start_ns` on: `units` by turns, padded to the bitrate.

        `rtx` is SSRC and payload type. Raises ValueError for extensions that
        exceed the one-byte form, or without units.
        """

    def send_dtls(self, client: int, datagrams: Sequence[bytes]) -> None:
        """Send datagrams as they are."""

    def take_events(
        self,
    ) -> list[tuple[Literal["ice_connected", "ice_failed", "dtls"], int, bytes | None]]:
        """Take what happened: kind, client, and for `dtls` the datagram."""

    def snapshot(self) -> bytes:
        """Counts now, as msgpack (`load.snapshot.Snapshot`)."""

    def rows(self) -> bytes:
        """All streams that are received now, as msgpack (a list of `load.snapshot.StreamRow`)."""

    def latencies(self) -> bytes:
        """Latencies up to the last snapshot, as msgpack (`load.snapshot.Latencies`)."""

class SrtpError(ValueError):
    """A packet that is forged, replayed, malformed, or must not be sent; the message says which."""

@final
class SrtpSession:
    """SRTP and SRTCP of one transport in both directions (RFC 3711, RFC 7714).

    Holds keys, so its repr shows none. At most 256 SSRCs in each direction.
    """

    def __new__(cls, profile: str, local_key: bytes, remote_key: bytes) -> SrtpSession:
        """Begin with what a DTLS handshake exported: master key and salt, one behind the other.

        `profile` is OpenSSL's name, e.g. `SRTP_AEAD_AES_128_GCM`. Raises
        ValueError for another profile or other lengths.
        """

    def protect_rtp(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet.

        The first packet of an SSRC has rollover counter 0. Raises SrtpError
        for a sequence number that was used: with it the key would leak.
        """

    def unprotect_rtp(self, packet: bytes) -> bytes:
        """Verify and decrypt an SRTP packet. Raises SrtpError; nothing has changed then."""

    def protect_rtcp(self, compound: bytes) -> bytes:
        """Encrypt a compound RTCP packet."""

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Verify and decrypt an SRTCP packet. Raises SrtpError; nothing has changed then."""

@final
class StunMessage:
    """A STUN message (RFC 8489). Nothing of it is verified but its fingerprint."""

    @property
    def message_class(self) -> Literal["request", "indication", "success", "error"]:
        """Its class."""

    @property
    def method(self) -> int:
        """Its method; 1 is Binding."""

    @property
    def transaction_id(self) -> bytes:
        """The 12 bytes that name its transaction."""

    @property
    def username(self) -> str | None:
        """USERNAME: the receiver's ufrag, a colon, the sender's."""

    @property
    def priority(self) -> int | None:
        """PRIORITY."""

    @property
    def use_candidate(self) -> bool:
        """Whether USE-CANDIDATE is there."""

    @property
    def role(self) -> tuple[Literal["controlling", "controlled"], int] | None:
        """The ICE role with its tie-breaker."""

    @property
    def xor_mapped_address(self) -> tuple[str, int] | None:
        """XOR-MAPPED-ADDRESS: address and port."""

    @property
    def error_code(self) -> int | None:
        """ERROR-CODE."""

    @property
    def unknown_attributes(self) -> list[int]:
        """Required attributes that are not known, at most 8."""

    @property
    def has_fingerprint(self) -> bool:
        """Whether FINGERPRINT is there, and right."""

    def verify(self, password: str) -> bool:
        """Whether MESSAGE-INTEGRITY is there and made with this password."""

def parse_stun(data: bytes) -> StunMessage:
    """Parse one datagram. Raises ValueError if it is not STUN, or its fingerprint is wrong."""

def stun_binding_request(
    transaction_id: bytes,
    *,
    username: str,
    password: str,
    priority: int,
    tie_breaker: int,
    controlling: bool = True,
    use_candidate: bool = False,
) -> bytes:
    """Build a connectivity check with integrity and fingerprint (RFC 8445, 7.2.4).

    Raises ValueError if the transaction id has not 12 bytes or the username
    more than 508.
    """

def stun_binding_success(
    transaction_id: bytes, *, mapped_address: tuple[str, int], password: str
) -> bytes:
    """Build the answer to a connectivity check. Raises ValueError for what is no IP address."""

@final
class TelemetryFold:
    """Folds the telemetry frames of a room into equal buckets of time.

    `ids` and `metrics` are what is wanted; None stands for all. Frames of one worker have to come
    in order, and from a key frame on.
    """

    def __new__(
        cls,
        *,
        since_ns: int,
        until_ns: int,
        points: int,
        ids: Collection[str] | None = None,
        metrics: Collection[str] | None = None,
    ) -> TelemetryFold:
        """Make `points` buckets from `since_ns` up to `until_ns`."""

    def take(self, at_ns: int, frame: bytes) -> None:
        """Take a frame, those before the time as well. Raises ValueError for one that is broken."""

    @property
    def skipped(self) -> int:
        """Frames that could not be read because one before them is missing."""

    def entities(self) -> list[tuple[Literal["transport", "producer", "consumer"], str, int]]:
        """Kind, id and encoding of all that was seen in the time."""

    def series(
        self,
        kind: Literal["transport", "producer", "consumer"],
        id: str,  # noqa: A002 - the native name
        encoding: int,
        metric: str,
    ) -> list[tuple[int, int, float, float, float, float]]:
        """Points in order of time: at_ns of the first sample, count, least, most, sum, last."""

def telemetry_metrics(kind: Literal["transport", "producer", "consumer"]) -> list[str]:
    """Names of a kind's metrics. Raises ValueError for an unknown kind."""
