"""Notices: what the media plane tells the control plane.

Each names the entry that it is about, so it goes to that entry's actor as a
message and is journaled. Their rate is bounded by the plane: state notices
come on change, scores at most once a second and entry.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from protocol.orders import SrtpProfile
from protocol.personal import Concealed

IceState = Literal["new", "connected", "disconnected", "failed"]
DtlsState = Literal["connecting", "connected", "failed", "closed"]


class _Notice(Struct, frozen=True, kw_only=True, tag_field="type", tag=True, gc=False):
    """A notice; its type name is its tag."""


class IceStateChanged(_Notice, frozen=True, kw_only=True):
    """A first check verified, consent was lost (RFC 7675), or came back."""

    transport: str
    state: IceState
    remote: str | Concealed | None = None
    """Selected remote address, `ip:port`."""


class IceTupleChanged(_Notice, frozen=True, kw_only=True):
    """The selected remote address of a connected transport is another one now."""

    transport: str
    remote: str | Concealed


class DtlsReceived(_Notice, frozen=True, kw_only=True):
    """DTLS records from a verified tuple, a datagram each. For the DTLS driver, not for actors."""

    transport: str
    datagrams: tuple[bytes, ...]


class DtlsStateChanged(_Notice, frozen=True, kw_only=True):
    """How the handshake of a transport stands; said by the DTLS driver.

    `reason` says why it failed, in a word: `fingerprint_mismatch`, `timeout`,
    `alert`, `no_srtp_profile`, `protocol_error`.
    """

    transport: str
    state: DtlsState
    srtp_profile: SrtpProfile | None = None
    reason: str | None = None


class ProducerStreamLearned(_Notice, frozen=True, kw_only=True):
    """The SSRCs of an encoding that had been announced by rid or mid alone."""

    producer: str
    encoding: int
    """Index into the producer's encodings."""
    ssrc: int
    rtx_ssrc: int | None = None


class ProducerActivityChanged(_Notice, frozen=True, kw_only=True):
    """Media packets of a producer began to flow, or none came for `silence_ms` (2.5 s).

    The latter is said again when one that rested for want of viewers was asked for and did not
    come within that time.
    """

    producer: str
    active: bool


class ProducerDemandChanged(_Notice, frozen=True, kw_only=True):
    """The highest layer of a producer that any unpaused consumer may be sent is another one.

    More is told at once; less when it has held for 3 s, and not before the producer's packets have
    flowed for 5 s. It follows what viewers prefer, not what their bandwidth carries today.
    """

    producer: str
    spatial_layer: int | None
    """Index into the producer's encodings, or of an only stream (SVC) a spatial layer; None: nobody
    wants any."""


class ProducerScore(_Notice, frozen=True, kw_only=True):
    """How well a producer's streams arrive: 0 (nothing) to 10 (no loss), one an encoding."""

    producer: str
    scores: tuple[int, ...]


class ConsumerScore(_Notice, frozen=True, kw_only=True):
    """How well a viewer receives: 0 to 10, from its receiver reports, and its producer's score."""

    consumer: str
    score: int
    producer_score: int


class LayersChanged(_Notice, frozen=True, kw_only=True, omit_defaults=True):
    """The layers that a consumer sends now; None when it sends nothing.

    Temporal layers are told where the stream has some, at most four times a second and consumer.
    """

    consumer: str
    spatial_layer: int | None
    temporal_layer: int | None
    reason: str | None = None
    """`preferred` (all that is wanted), `bandwidth`, `publisher`, `paused` or `transport`."""
    keyframe_age_ns: int | None = None
    """It began with a keyframe out of the cache, which had come so long before."""


class BandwidthEstimated(_Notice, frozen=True, kw_only=True, omit_defaults=True):
    """What the way to a viewer takes, where it decides about layers.

    Told when it changed by a fourth, at most every five seconds and transport.
    """

    transport: str
    bitrate_bps: int
    limit: str
    """What keeps it from being higher: `delay`, `loss`, `remb` or `silence`."""
    wanted_bps: int | None = None
    """What it would have to be for the next layers; None when nobody lacks any."""
    probes: int = 0
    """Trains of padding that looked for more since the last notice; they alone are told once in
    30 seconds."""
    probes_found: int = 0
    """Those of them that found room."""
    on_trial: bool = False
    """The limit was found so long ago that it is a guess: what was paused comes back on trial."""


class KeyFrameRequested(_Notice, frozen=True, kw_only=True, omit_defaults=True):
    """A keyframe request went to the publisher, for `requests` askers since the last one."""

    producer: str
    encoding: int
    requests: int
    storm: bool = False
    """It is the fifth within ten seconds that somebody asked for."""
    causes: tuple[str, ...] = ()
    """Why; none of a repetition. `began`: a viewer has nothing to see, nor is there anything in the
    cache to begin with. `switched`: it must change layers at once. `viewer`: it asked. `clock`: the
    last keyframe became old while people come or wait to climb. `lost`: packets are missing. Beside
    `began`, if there is a keyframe in the cache: `aged`, it is too old to begin with; `slow`, to
    catch up from it would take too long; `full`, the viewer's way was."""


class ConsumerFrozen(_Notice, frozen=True, kw_only=True):
    """Nothing was sent to a consumer for 2.5 s though its producer's packets flow, or again.

    Nobody who paused it counts, nor a transport that cannot send.
    """

    consumer: str
    frozen: bool


class Level(Struct, frozen=True, kw_only=True):
    """How loud a producer was: the mean over the interval in -dBov, 0 is the loudest (RFC 6464)."""

    producer: str
    level: int


class AudioLevels(_Notice, frozen=True, kw_only=True):
    """How loud a room was in the last 200 ms; for its speaker observer, not for actors.

    The loudest comes first; there are none once the room fell silent. A room that spans workers
    has one a worker.
    """

    room: str
    worker: int
    levels: tuple[Level, ...]


class Telemetry(_Notice, frozen=True, kw_only=True):
    """What the streams of a room did in the last second; for the telemetry store, not for actors.

    `data` is one frame as docs/telemetry.md describes it. A room that spans workers has one a
    worker and second.
    """

    room: str
    at_ns: int
    """When the second ended, by the plane's wall clock: nanoseconds since the Unix epoch."""
    data: bytes


class Recording(_Notice, frozen=True, kw_only=True):
    """What the flight recorder held of a transport, or a part of it; for the store, not for actors.

    `data` is one chunk as docs/flight-recorder.md describes it; each can be read by itself.
    """

    room: str
    transport: str
    reason: str
    position: int
    """Of the event that asked for it."""
    at_ns: int
    """When it was frozen, by the plane's wall clock: nanoseconds since the Unix epoch."""
    part: int
    parts: int
    data: bytes


class OrderRefused(_Notice, frozen=True, kw_only=True):
    """An order could not be carried out: the tables disagree. Said by the plane's face."""

    kind: Literal["transport", "producer", "consumer"]
    id: str
    code: str
    message: str


class PlaneLost(_Notice, frozen=True, kw_only=True):
    """The plane process that carried this entry is gone; said once to each transport."""

    transport: str
    reason: str


Notice = (
    IceStateChanged
    | IceTupleChanged
    | DtlsReceived
    | DtlsStateChanged
    | ProducerStreamLearned
    | ProducerActivityChanged
    | ProducerDemandChanged
    | ProducerScore
    | ConsumerScore
    | LayersChanged
    | BandwidthEstimated
    | KeyFrameRequested
    | ConsumerFrozen
    | AudioLevels
    | Telemetry
    | Recording
    | OrderRefused
    | PlaneLost
)
