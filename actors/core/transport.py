"""The transport's decider: ICE and DTLS of one client, as far as control goes.

    opened ─ ConnectTransport ─▶ connecting ─ DTLS done ─▶ connected
       └───────────────┴──────────────┴─ close, failure, timeout ─▶ closed

ICE goes its own way beside it: new, connected, disconnected, failed; a restart
brings new credentials at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from actors.core.decider import (
    NOTHING,
    Context,
    Decider,
    Decision,
    Reply,
    ReplyStats,
    Tell,
    is_due,
)
from protocol import events
from protocol.answers import Done, IceRestarted, TransportCreated
from protocol.commands import CloseTransport, ConnectTransport, QueryTransport, RestartIce
from protocol.ids import ROOM, transport_address
from protocol.messages import (
    ChildClosed,
    Close,
    FaultNoticed,
    OpenTransport,
    TimerFired,
    TransportSettings,
)
from protocol.notices import (
    BandwidthEstimated,
    DtlsStateChanged,
    IceState,
    IceStateChanged,
    IceTupleChanged,
    OrderRefused,
    PlaneLost,
)
from protocol.notifications import REQUESTED
from protocol.orders import IceCredentials, Row, SetTransport, SrtpProfile
from protocol.personal import Concealed
from protocol.refusals import Refusal, RefusalCode
from protocol.transport_parameters import (
    DtlsFingerprint,
    DtlsParameters,
    IceCandidate,
    IceParameters,
)

_FINGERPRINTS = ("sha-256", "sha-384", "sha-512")
_HOST_PREFERENCE = 126
"""Type preference of host candidates (RFC 8445, 5.1.2.2)."""


class TransportState(Struct, kw_only=True):
    """State of a transport; empty until it is opened."""

    transport: str = ""
    peer: str = ""
    direction: Literal["send", "recv"] = "send"
    worker: int = 0
    port: int = 0
    settings: TransportSettings | None = None
    room: str = ""
    ice_ufrags: tuple[str, ...] = ()
    """Newest first; at most two."""
    ice_state: IceState = "new"
    remote: str | Concealed | None = None
    ice_closes_at_ns: int | None = None
    dtls_role: Literal["client", "server"] | None = None
    fingerprints: tuple[DtlsFingerprint, ...] = ()
    connect_times_out_at_ns: int | None = None
    srtp_profile: SrtpProfile | None = None
    closed: str | None = None
    """Why it is closed."""


def _decide(state: TransportState, message: Any, context: Context) -> Decision | Refusal:
    match message:
        case OpenTransport():
            return _open(message)
        case _ if not state.transport or state.closed is not None:
            return NOTHING
        case ConnectTransport() | RestartIce() | CloseTransport() | QueryTransport():
            if message.peer != state.peer:
                return Refusal(RefusalCode.FORBIDDEN, "the transport is another peer's")
            return _command(state, message, context)
        case IceStateChanged() | IceTupleChanged():
            return _ice(state, message, context)
        case DtlsStateChanged():
            return _dtls(state, message)
        case BandwidthEstimated():
            changed = events.BandwidthChanged(
                bitrate_bps=message.bitrate_bps,
                limit=message.limit,
                wanted_bps=message.wanted_bps,
                probes=message.probes,
                probes_found=message.probes_found,
                on_trial=message.on_trial,
            )
            return Decision((changed,))
        case PlaneLost():
            return _close(state, "plane_failed")
        case OrderRefused():
            return _close(state, "order_refused")
        case TimerFired(name="connect") if is_due(state.connect_times_out_at_ns, context):
            return _close(state, "connect_timeout")
        case TimerFired(name="ice") if is_due(state.ice_closes_at_ns, context):
            return _close(state, "ice_failed")
        case Close(reason=reason):
            return Decision((events.TransportClosed(reason=reason),))
        case TimerFired():
            return NOTHING
        case _:
            raise AssertionError(f"a transport takes no {type(message).__name__}")


def _open(message: OpenTransport) -> Decision:
    opened = events.TransportOpened(
        transport=message.transport,
        peer=message.peer,
        direction=message.direction,
        worker=message.worker,
        port=message.port,
        ice_ufrag=message.ice_ufrag,
        settings=message.settings,
        room=message.room,
    )
    answer = TransportCreated(
        id=message.transport,
        ice_parameters=IceParameters(username_fragment=message.ice_ufrag),
        ice_candidates=_candidates(message.settings.announced_ips, message.port),
        dtls_parameters=DtlsParameters(fingerprints=message.settings.fingerprints),
    )
    return Decision((opened,), (Reply(answer),))


def _candidates(ips: tuple[str, ...], port: int) -> tuple[IceCandidate, ...]:
    """Host candidates, the first address preferred (RFC 8445, 5.1.2.1)."""
    return tuple(
        IceCandidate(
            foundation=f"udp{index}",
            priority=(_HOST_PREFERENCE << 24) | ((65535 - index) << 8) | 255,
            ip=ip,
            address=ip,
            port=port,
        )
        for index, ip in enumerate(ips)
    )


def _command(
    state: TransportState,
    command: ConnectTransport | RestartIce | CloseTransport | QueryTransport,
    context: Context,
) -> Decision | Refusal:
    match command:
        case ConnectTransport(dtls_parameters=remote):
            return _connect(state, remote, context)
        case RestartIce():
            ufrag = context.draw.ufrag()
            answer = IceRestarted(ice_parameters=IceParameters(username_fragment=ufrag))
            return Decision((events.IceRestarting(ice_ufrag=ufrag),), (Reply(answer),))
        case CloseTransport():
            closing = _close(state, REQUESTED)
            return Decision(closing.events, (*closing.effects, Reply(Done())))
        case QueryTransport():
            return Decision(effects=(ReplyStats(state.transport),))


def _connect(state: TransportState, remote: DtlsParameters, context: Context) -> Decision | Refusal:
    if state.dtls_role is not None:
        return Refusal(RefusalCode.ALREADY_CONNECTED, "the transport has its DTLS parameters")
    usable = tuple(f for f in remote.fingerprints if f.algorithm in _FINGERPRINTS)
    if not usable:
        return Refusal(
            RefusalCode.UNSUPPORTED_FINGERPRINT, f"a fingerprint by {', '.join(_FINGERPRINTS)}"
        )
    assert state.settings is not None
    connecting = events.TransportConnecting(
        dtls_role="server" if remote.role == "client" else "client",
        fingerprints=usable,
        times_out_at_ns=context.at_ns + state.settings.connect_timeout_ns,
    )
    return Decision((connecting,), (Reply(Done()),))


def _ice(
    state: TransportState, notice: IceStateChanged | IceTupleChanged, context: Context
) -> Decision:
    ice_state = notice.state if isinstance(notice, IceStateChanged) else state.ice_state
    remote = notice.remote if notice.remote is not None else state.remote
    if (ice_state, remote) == (state.ice_state, state.remote):
        return NOTHING
    closes_at_ns = None
    if ice_state == "failed":
        assert state.settings is not None
        closes_at_ns = context.at_ns + state.settings.ice_failed_grace_ns
    changed = events.IceChanged(state=ice_state, remote=remote, closes_at_ns=closes_at_ns)
    if ice_state != "disconnected" or state.ice_state == "disconnected":
        return Decision((changed,))
    fault = FaultNoticed(transport=state.transport, reason="ice_lost")
    return Decision((changed,), (Tell(ROOM, fault),))


def _dtls(state: TransportState, notice: DtlsStateChanged) -> Decision:
    match notice.state:
        case "connecting":
            return NOTHING
        case "connected" if state.srtp_profile is not None:
            return NOTHING
        case "connected":
            assert notice.srtp_profile is not None
            return Decision((events.DtlsConnected(srtp_profile=notice.srtp_profile),))
        case "failed":
            return _close(state, f"dtls_{notice.reason or 'failed'}")
        case "closed":
            return _close(state, "dtls_closed")


def _close(state: TransportState, reason: str) -> Decision:
    child = transport_address(state.transport)
    return Decision(
        (events.TransportClosed(reason=reason),),
        (Tell(ROOM, ChildClosed(child=child, reason=reason)),),
    )


def _evolve(state: TransportState, event: Any) -> TransportState:
    match event:
        case events.TransportOpened():
            state.transport = event.transport
            state.peer = event.peer
            state.direction = event.direction
            state.worker = event.worker
            state.port = event.port
            state.settings = event.settings
            state.room = event.room
            state.ice_ufrags = (event.ice_ufrag,)
        case events.TransportConnecting():
            state.dtls_role = event.dtls_role
            state.fingerprints = event.fingerprints
            state.connect_times_out_at_ns = event.times_out_at_ns
        case events.IceRestarting(ice_ufrag=ufrag):
            state.ice_ufrags = (ufrag, *state.ice_ufrags[:1])
        case events.IceChanged():
            state.ice_state = event.state
            state.remote = event.remote
            state.ice_closes_at_ns = event.closes_at_ns
        case events.DtlsConnected(srtp_profile=profile):
            state.srtp_profile = profile
            state.connect_times_out_at_ns = None
        case events.TransportClosed(reason=reason):
            state.closed = reason
    return state


def _rows(state: TransportState) -> tuple[Row, ...]:
    if not state.transport or state.closed is not None:
        return ()
    return (
        SetTransport(
            transport=state.transport,
            worker=state.worker,
            direction=state.direction,
            ice=tuple(IceCredentials(ufrag=ufrag) for ufrag in state.ice_ufrags),
            dtls_role=state.dtls_role,
            fingerprints=tuple((f.algorithm, f.value) for f in state.fingerprints),
            room=state.room,
        ),
    )


def _deadlines(state: TransportState) -> Mapping[str, int]:
    wanted = {"connect": state.connect_times_out_at_ns, "ice": state.ice_closes_at_ns}
    return {name: at_ns for name, at_ns in wanted.items() if at_ns is not None}


TRANSPORT = Decider(
    initial=TransportState,
    decide=_decide,
    evolve=_evolve,
    rows=_rows,
    deadlines=_deadlines,
    ended=lambda state: state.closed is not None,
)
"""The decider of transports."""
