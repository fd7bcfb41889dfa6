"""The room's decider: the directory of a room, and the one who lets in and out.

The room says what exists, who owns it and when it goes; transports, producers
and consumers live their own lives in their own actors. A child that closes by
itself tells the room (`ChildClosed`), which removes whatever hung on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, get_args

from actors.core.closing import Removal, close_room
from actors.core.counting import COUNT, count, counts_at_ns
from actors.core.decider import (
    NOTHING,
    Context,
    Decider,
    Decision,
    Reply,
    Start,
    Tell,
    is_due,
)
from actors.core.recordings import record
from actors.core.room_state import RoomState, TransportEntry, evolve
from protocol import events
from protocol.answers import Done, Entered, Joined, PeerView, ProducerView
from protocol.behaviours import SPATIAL_LAYERS_REST, SPREAD_OVER_WORKERS
from protocol.commands import Command, Consume, CreateTransport, Join, Leave, Produce, Resume
from protocol.ids import Address, consumer_address, kind_of, producer_address, transport_address
from protocol.messages import (
    CaptureRoom,
    ChildClosed,
    ChildFailed,
    CloseRoom,
    ControlRestarted,
    EvictPeer,
    FaultNoticed,
    OpenConsumer,
    OpenProducer,
    OpenRoom,
    OpenTransport,
    PlaneStarted,
    PlaneStopped,
    ProducerPauseChanged,
    ProducerWentLive,
    SocketLost,
    SpeakerNoted,
    TimerFired,
)
from protocol.negotiation import (
    consumer_parameters,
    consumer_row,
    negotiate_producer,
    producer_row,
    top_spatial_layer,
    transport_conflict,
)
from protocol.notifications import REQUESTED
from protocol.orders import WorkerInfo
from protocol.refusals import Refusal, RefusalCode

_EMPTY = "empty"
_LEAVES = "leaves"
_LEAVING_EVENTS_MAX = 512
"""Events after which no further peer is taken out at one time; the others follow at once."""


def _decide(state: RoomState, message: Any, context: Context) -> Decision | Refusal:
    if isinstance(message, OpenRoom):
        closes_at_ns = context.at_ns + message.settings.empty_room_linger_ns
        opened = events.RoomOpened(
            settings=message.settings,
            workers=message.workers,
            closes_at_ns=closes_at_ns,
            room=message.room,
        )
        return Decision((opened,))
    if state.settings is None or state.closed is not None:
        if isinstance(message, get_args(Command)):
            return Refusal(RefusalCode.ROOM_NOT_FOUND, "the room is closed")
        return NOTHING
    match message:
        case Join():
            return _join(state, message, context)
        case Resume() | Leave() | CreateTransport() | Produce() | Consume():
            if message.peer not in state.peers:
                return Refusal(RefusalCode.SESSION_NOT_FOUND, "the peer is not in the room")
            return _command(state, message, context)
        case SocketLost() | EvictPeer() | ControlRestarted():
            return _presence(state, message, context)
        case TimerFired(name=name):
            return _timer(state, name, context)
        case ChildClosed(child=child, reason=reason):
            return _remove_child(state, child, reason)
        case ChildFailed(child=child, reason=reason):
            return _remove_child(state, child, reason)
        case ProducerPauseChanged() | ProducerWentLive() | SpeakerNoted():
            return _producer_news(state, message)
        case PlaneStarted(workers=workers):
            return Decision((events.PlaneAttached(workers=workers),))
        case PlaneStopped(reason=reason):
            return Decision((events.PlaneDetached(reason=reason),))
        case FaultNoticed() | CaptureRoom():
            return record(state, message, context)
        case CloseRoom(reason=reason):
            return close_room(state, reason)
        case _:
            raise AssertionError(f"a room takes no {type(message).__name__}")


def _join(state: RoomState, command: Join, context: Context) -> Decision | Refusal:
    assert state.settings is not None
    if len(state.peers) >= state.settings.peers_max:
        return _limit("peers in the room", state.settings.peers_max)
    peer = context.draw.id("p")
    announced_max = state.settings.announced_peers_max
    joined = events.PeerJoined(
        peer=peer,
        name=command.name,
        rights=command.rights,
        announced=announced_max is None or len(state.peers) < announced_max,
    )
    return Decision((joined,), (Reply(_entered(state, peer, attachment=1)),))


@lru_cache(maxsize=8192)
def _peer_view(peer: str, name: str) -> PeerView:
    """A view, made once: each answer to `join` shows those of all peers."""
    return PeerView(id=peer, name=name)


def _entered(state: RoomState, peer: str, *, attachment: int) -> Entered:
    assert state.settings is not None
    return Entered(
        joined=Joined(
            peer=peer,
            router_rtp_capabilities=state.settings.router_rtp_capabilities,
            peers=tuple(
                _peer_view(other, entry.name)
                for other, entry in state.peers.items()
                if entry.announced and other != peer
            ),
            producers=tuple(
                ProducerView(
                    id=producer,
                    peer=entry.peer,
                    kind=entry.kind,
                    paused=entry.paused,
                    app_data=entry.app_data,
                )
                for producer, entry in state.producers.items()
                if entry.peer != peer
            ),
            streaming=state.streaming,
            peer_count=len(state.peers) + (peer not in state.peers),
            active_speaker=state.speaker,
        ),
        attachment=attachment,
    )


def _command(
    state: RoomState,
    command: Resume | Leave | CreateTransport | Produce | Consume,
    context: Context,
) -> Decision | Refusal:
    match command:
        case Resume(peer=peer):
            attachment = state.peers[peer].attachment + 1
            attached = events.PeerAttached(peer=peer, attachment=attachment)
            return Decision((attached,), (Reply(_entered(state, peer, attachment=attachment)),))
        case Leave(peer=peer):
            removal = Removal(state)
            removal.peer(peer, REQUESTED, at_ns=context.at_ns)
            return removal.decision(Reply(Done()))
        case CreateTransport():
            return _create_transport(state, command, context)
        case Produce():
            return _produce(state, command, context)
        case Consume():
            return _consume(state, command, context)


def _create_transport(
    state: RoomState, command: CreateTransport, context: Context
) -> Decision | Refusal:
    settings = state.settings
    assert settings is not None
    entry = state.peers[command.peer]
    allowed = entry.rights.publish if command.direction == "send" else entry.rights.subscribe
    if not allowed:
        verb = "publish" if command.direction == "send" else "subscribe"
        return Refusal(RefusalCode.FORBIDDEN, f"the token does not allow to {verb}")
    if len(entry.transports) >= settings.transports_per_peer_max:
        return _limit("transports of a peer", settings.transports_per_peer_max)
    if not state.workers:
        return Refusal(RefusalCode.PLANE_UNAVAILABLE, "the media plane is being restarted")
    worker = _worker(state, context)
    transport = context.draw.id("t")
    added = events.TransportAdded(
        transport=transport,
        peer=command.peer,
        direction=command.direction,
        worker=worker.worker,
    )
    start = Start(
        transport_address(transport),
        OpenTransport(
            transport=transport,
            peer=command.peer,
            direction=command.direction,
            worker=worker.worker,
            port=worker.port,
            ice_ufrag=context.draw.ufrag(),
            settings=settings.transport,
            room=state.room,
        ),
    )
    return Decision((added,), (start,))


TRANSPORTS_TOGETHER = 8
"""Transports that a room has on each of its workers before it takes one more."""


def _worker(state: RoomState, context: Context) -> WorkerInfo:
    """The worker of a new transport: of those that the room is on, the one with the fewest.

    Packets between workers cost a copy and a wake-up, so a small room stays together: it moves on
    to one more worker when each that it is on has `TRANSPORTS_TOGETHER`. Which one is drawn, so
    that rooms spread over the workers.
    """
    carried = {worker.worker: 0 for worker in state.workers}
    for entry in state.transports.values():
        if entry.worker in carried:
            carried[entry.worker] += 1
    settings = state.settings
    assert settings is not None
    used = [worker for worker in state.workers if carried[worker.worker]]
    if used and SPREAD_OVER_WORKERS not in settings.behaviours:
        first = next(entry.worker for entry in state.transports.values() if entry.worker in carried)
        return next(worker for worker in used if worker.worker == first)
    unused = [worker for worker in state.workers if not carried[worker.worker]]
    least = min(used, key=lambda worker: carried[worker.worker], default=None)
    if least and not (unused and carried[least.worker] >= TRANSPORTS_TOGETHER):
        return least
    choice = int.from_bytes(context.draw.bytes("worker")[:4])
    return unused[choice % len(unused)]


def _own_transport(
    state: RoomState, peer: str, transport: str, direction: str
) -> TransportEntry | Refusal:
    entry = state.transports.get(transport)
    if entry is None:
        return Refusal(RefusalCode.TRANSPORT_NOT_FOUND, "there is no such transport")
    if entry.peer != peer:
        return Refusal(RefusalCode.FORBIDDEN, "the transport is another peer's")
    if entry.direction != direction:
        return Refusal(RefusalCode.WRONG_DIRECTION, f"a {direction} transport is needed")
    return entry


def _produce(state: RoomState, command: Produce, context: Context) -> Decision | Refusal:
    settings = state.settings
    assert settings is not None
    carrier = _own_transport(state, command.peer, command.transport, "send")
    if isinstance(carrier, Refusal):
        return carrier
    own = sum(len(state.transports[t].producers) for t in state.peers[command.peer].transports)
    if own >= settings.producers_per_peer_max:
        return _limit("producers of a peer", settings.producers_per_peer_max)
    negotiated = negotiate_producer(
        command.kind, command.rtp_parameters, settings.router_rtp_capabilities
    )
    if isinstance(negotiated, Refusal):
        return negotiated
    present = (state.producers[producer].rtp_parameters for producer in carrier.producers)
    conflict = transport_conflict(negotiated.rtp_parameters, present)
    if conflict is not None:
        return conflict
    producer = context.draw.id("s")
    added = events.ProducerAdded(
        producer=producer,
        peer=command.peer,
        transport=command.transport,
        kind=command.kind,
        paused=command.paused,
        app_data=command.app_data,
        rtp_parameters=negotiated.rtp_parameters,
        consumable=negotiated.consumable_rtp_parameters,
        type=negotiated.type,
    )
    row = producer_row(
        producer=producer,
        transport=command.transport,
        kind=command.kind,
        rtp_parameters=negotiated.rtp_parameters,
        mapping=negotiated.mapping,
        paused=command.paused,
    )
    layered = top_spatial_layer([one.scalability_mode for one in row.encodings])
    top = layered if SPATIAL_LAYERS_REST in settings.behaviours else None
    opening = OpenProducer(peer=command.peer, row=row, top_layer=top)
    start = Start(producer_address(producer), opening)
    entry = state.peers[command.peer]
    if entry.announced:
        return Decision((added,), (start,))
    announced = events.PeerAnnounced(peer=command.peer, name=entry.name)
    return Decision((announced, added), (start,))


def _consume(state: RoomState, command: Consume, context: Context) -> Decision | Refusal:
    settings = state.settings
    assert settings is not None
    carrier = _own_transport(state, command.peer, command.transport, "recv")
    if isinstance(carrier, Refusal):
        return carrier
    source = state.producers.get(command.producer)
    if source is None:
        return Refusal(RefusalCode.PRODUCER_NOT_FOUND, "there is no such producer")
    own = sum(len(state.transports[t].consumers) for t in state.peers[command.peer].transports)
    if own >= settings.consumers_per_peer_max:
        return _limit("consumers of a peer", settings.consumers_per_peer_max)
    ssrc, rtx_ssrc = _ssrcs(state, carrier, context)
    parameters = consumer_parameters(
        source.consumable,
        command.rtp_capabilities,
        ssrc=ssrc,
        rtx_ssrc=rtx_ssrc,
        mid=str(carrier.mids),
        cname=source.peer,
    )
    if isinstance(parameters, Refusal):
        return parameters
    consumer = context.draw.id("c")
    added = events.ConsumerAdded(
        consumer=consumer,
        peer=command.peer,
        transport=command.transport,
        producer=command.producer,
        ssrcs=(ssrc, rtx_ssrc),
    )
    row = consumer_row(
        consumer=consumer,
        transport=command.transport,
        producer=command.producer,
        kind=source.kind,
        rtp_parameters=parameters,
        paused=True,
        priority=command.priority,
    )
    opening = OpenConsumer(
        peer=command.peer,
        type=source.type,
        rtp_parameters=parameters,
        row=row,
        producer_paused=source.paused,
    )
    return Decision((added,), (Start(consumer_address(consumer), opening),))


def _ssrcs(state: RoomState, carrier: TransportEntry, context: Context) -> tuple[int, int]:
    """Draw two SSRCs that no other consumer on the transport has."""
    taken = {ssrc for consumer in carrier.consumers for ssrc in state.consumers[consumer].ssrcs}
    drawn: list[int] = []
    attempt = 0
    while len(drawn) < 2:
        ssrc = context.draw.ssrc(str(attempt))
        attempt += 1
        if ssrc not in taken:
            taken.add(ssrc)
            drawn.append(ssrc)
    return drawn[0], drawn[1]


def _presence(
    state: RoomState, message: SocketLost | EvictPeer | ControlRestarted, context: Context
) -> Decision:
    assert state.settings is not None
    leaves_at_ns = context.at_ns + state.settings.resume_grace_ns
    match message:
        case SocketLost(peer=peer, attachment=attachment):
            entry = state.peers.get(peer)
            if entry is None or entry.attachment != attachment or peer in state.leaving:
                return NOTHING
            return Decision((events.PeerDetached(peer=peer, leaves_at_ns=leaves_at_ns),))
        case EvictPeer(peer=peer, reason=reason):
            if peer not in state.peers:
                return NOTHING
            removal = Removal(state)
            removal.peer(peer, reason, at_ns=context.at_ns)
            return removal.decision()
        case ControlRestarted():
            return Decision(
                tuple(
                    events.PeerDetached(peer=peer, leaves_at_ns=leaves_at_ns)
                    for peer in state.peers
                    if peer not in state.leaving
                )
            )


def _timer(state: RoomState, name: str, context: Context) -> Decision:
    if name == _EMPTY:
        return close_room(state, "empty") if is_due(state.closes_at_ns, context) else NOTHING
    if name == COUNT:
        return count(state, context)
    removal = Removal(state)
    for peer, leaves_at_ns in state.leaving.items():
        if leaves_at_ns > context.at_ns or len(removal) > _LEAVING_EVENTS_MAX:
            break
        removal.peer(peer, "connection_lost", at_ns=context.at_ns)
    return removal.decision()


def _remove_child(state: RoomState, child: Address, reason: str) -> Decision:
    removal = Removal(state, told=child)
    entity = child.partition("/")[2]
    match kind_of(child):
        case "transport":
            removal.transport(entity, reason)
        case "producer":
            removal.producer(entity, reason)
        case "consumer":
            removal.consumer(entity, reason)
    return removal.decision()


def _producer_news(
    state: RoomState, message: ProducerPauseChanged | ProducerWentLive | SpeakerNoted
) -> Decision:
    entry = state.producers.get(message.producer)
    if entry is None:
        return NOTHING
    match message:
        case ProducerPauseChanged(producer=producer, paused=paused):
            noted = events.ProducerPauseNoted(producer=producer, peer=entry.peer, paused=paused)
            told = tuple(Tell(consumer_address(consumer), message) for consumer in entry.consumers)
            return Decision((noted,), told)
        case ProducerWentLive(producer=producer):
            if state.streaming:
                return NOTHING
            return Decision((events.StreamingStarted(producer=producer, peer=entry.peer),))
        case SpeakerNoted(producer=producer):
            if state.speaker == producer:
                return NOTHING
            changed = events.ActiveSpeakerChanged(
                producer=producer,
                peer=entry.peer,
                level=message.level,
                before=message.before,
                before_level=message.before_level,
            )
            return Decision((changed,))


def _limit(what: str, most: int) -> Refusal:
    return Refusal(RefusalCode.LIMIT_REACHED, f"the limit of {what} is {most}")


def _deadlines(state: RoomState) -> Mapping[str, int]:
    wanted: dict[str, int] = {}
    for leaves_at_ns in state.leaving.values():
        wanted[_LEAVES] = leaves_at_ns
        break
    if state.closes_at_ns is not None:
        wanted[_EMPTY] = state.closes_at_ns
    if state.counting:
        count_at_ns = counts_at_ns(state)
        if count_at_ns is not None:
            wanted[COUNT] = count_at_ns
    return wanted


ROOM_DECIDER = Decider(
    initial=RoomState,
    decide=_decide,
    evolve=evolve,
    rows=lambda _state: (),
    deadlines=_deadlines,
    ended=lambda state: state.closed is not None,
)
"""The decider of rooms."""
