"""Answers: what a request that was met tells its client, in the wire's words."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from protocol.orders import Kind
from protocol.personal import Concealed
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from protocol.transport_parameters import DtlsParameters, IceCandidate, IceParameters

ConsumerType = Literal["simple", "simulcast", "svc"]


class PeerView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A peer as the others see it."""

    id: str
    name: str | Concealed


class ProducerView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A producer as viewers see it."""

    id: str
    peer: str
    kind: Kind
    paused: bool
    app_data: dict[str, Any] | Concealed = {}


class Joined(Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to `join` and `resume`.

    `session` is empty inside the control plane: the gateway derives it from
    the peer and a key of the server.
    """

    peer: str
    session: str = ""
    router_rtp_capabilities: RtpCapabilities
    peers: tuple[PeerView, ...]
    producers: tuple[ProducerView, ...]
    streaming: bool
    peer_count: int = 0
    """How many are in the room, oneself and those who are not announced among them."""
    active_speaker: str | None = None
    """The producer of who speaks."""
    position: int = 0
    """The room's position as of this answer; filled in when it is known."""


class Entered(Struct, frozen=True, kw_only=True):
    """Answer to `join` and `resume`, with what stays in the gateway.

    `attachment` counts the sockets that the peer has had.
    """

    joined: Joined
    attachment: int


class TransportCreated(Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to `createTransport`."""

    id: str
    ice_parameters: IceParameters
    ice_candidates: tuple[IceCandidate, ...]
    dtls_parameters: DtlsParameters


class IceRestarted(Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to `restartIce`."""

    ice_parameters: IceParameters


class Produced(Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to `produce`."""

    id: str


class Consumed(Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to `consume`."""

    id: str
    producer: str
    kind: Kind
    rtp_parameters: RtpParameters
    type: ConsumerType
    paused: bool = True
    producer_paused: bool = False


class StatsReport(Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer to `getStats`: entries as W3C webrtc-stats names them."""

    stats: tuple[dict[str, Any], ...]


class Done(Struct, frozen=True, kw_only=True):
    """Answer of requests that need no more than a yes."""


Answer = Entered | TransportCreated | IceRestarted | Produced | Consumed | StatsReport | Done
