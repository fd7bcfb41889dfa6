"""From a log to a script: one pass over a session's envelopes.

What clients asked for stands in the log as commands. What they did without asking is read from what
the media plane noticed: packets that began or ceased, an address that moved, a network that was
lost, a transport that was hung up. What the recorded server did by itself (a plane that crashed, a
peer that was evicted) nobody can play against another server; where it took things away from a
client, the script has the client close them, so that both sides go on alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from protocol import commands, events, script
from protocol.envelope import Envelope
from protocol.notifications import PEER_LEFT, REQUESTED, Everyone, Only, notification_of
from protocol.personal import Concealed, shown
from protocol.rtp_parameters import RtpParameters
from protocol.script import Figures, Script, Step
from protocol.signaling import METHOD_OF
from replay.fold import event_of
from replay.scripting.cast import CastMember, Draft
from replay.scripting.measured import UNMEASURED, Measured
from replay.scripting.streams import encodings_of, media_of
from replay.session_stats import Collector

SILENCE_NS = 2_500_000_000
"""How long nothing came before the plane says that a producer is silent."""
CONSENT_NS = 10_000_000_000
"""How long a client was not heard before the plane says that it is disconnected."""
SETTLED_NS = 1_000_000_000
"""An address that moves earlier than this is ICE choosing among pairs."""
FAULTS = frozenset(
    ("plane_unavailable", "storage_unavailable", "overloaded", "shutting_down", "internal_error")
)
"""Refusals for which the server was to blame. Whoever met one asked again, or gave up."""
CONNECTION_LOST = "connection_lost"
DTLS_CLOSED = "dtls_closed"

_NOT_PLAYED = frozenset(
    (
        "PlaneStopped", "ControlRestarted", "CloseRoom", "EvictPeer", "ChildFailed", "CaptureRoom"
    )
)  # fmt: skip
_CONSUMER_NEWS = (events.ConsumerRemoved, events.ConsumerPaused, events.ConsumerResumed)


class Builder:
    """Takes the envelopes of one session, from its `OpenRoom`, in order; then `finish` gives it."""

    def __init__(self, room: str, measure: Callable[[Builder], Measured] | None = None) -> None:
        self.room = room
        self.begins_at_ns: int | None = None
        self.cast: dict[str, CastMember] = {}
        self.producers: dict[str, events.ProducerAdded] = {}
        """All that there were."""
        self.last_at_ns = 0
        self._measure = measure
        self._stats: Collector | None = None
        self._asked: dict[int, Draft] = {}
        """Requests by position, until they are decided."""
        self._by_clients: set[int] = set()
        """Positions of messages that follow from what clients asked for."""
        self._added_ns: dict[str, int] = {}
        self._owner: dict[str, str] = {}
        self._ice: dict[str, tuple[str, str | None, int]] = {}
        """State, address and time of a transport's first connection."""
        self._open_transports: set[str] = set()
        self._extra: list[tuple[str, Step]] = []
        self._first_video_ns: dict[str, int] = {}
        self._left_out: Counter[str] = Counter()
        self._leaving: tuple[int | None, str] = (None, "")
        """Who left last, and the message that it left by: it is told what that ended."""
        self._ends_at_ns = 0
        self._closed = False

    def take(self, envelope: Envelope) -> None:
        """Take the next envelope. Raises `LogNotUnderstood`."""
        self.last_at_ns = max(self.last_at_ns, envelope.at_ns)
        if self._stats is None:
            self._stats = Collector(envelope)
        self._stats.take(envelope)
        if envelope.kind == "message":
            self._take_message(envelope)
        else:
            self._take_event(envelope, event_of(envelope))

    def finish(self) -> Script:
        """Give the script of what was taken."""
        measured = self._measure(self) if self._measure is not None else UNMEASURED
        begins = self.begins_at_ns or 0
        present = any(member.present for member in self.cast.values())
        ends = self.last_at_ns if present else max(self._ends_at_ns, begins)
        extra: dict[str, list[Step]] = {}
        for peer, added in self._extra:
            extra.setdefault(peer, []).append(added)
        peers = []
        for member in self.cast.values():
            steps = [
                self._step(draft, measured)
                for draft in member.drafts
                if draft.refused not in FAULTS
            ]
            figures = self._figures(member, steps, measured)
            steps += extra.get(member.peer, [])
            peers.append(member.finish(begins, ends, steps, figures))
        return Script(
            room=self.room,
            begins_at_ns=begins,
            duration_ns=max(0, ends - begins),
            peers=tuple(peers),
            measured=measured is not UNMEASURED,
            left_out={what: count for what, count in self._left_out.items() if count},
        )

    # Messages.

    def _take_message(self, envelope: Envelope) -> None:
        if envelope.type in _NOT_PLAYED:
            self._left_out[envelope.type] += 1
        if envelope.cause is not None:
            if envelope.type != "TimerFired" and envelope.cause in self._by_clients:
                self._by_clients.add(envelope.position)
            return
        if envelope.type not in METHOD_OF:
            return
        self._by_clients.add(envelope.position)
        command = event_of(envelope)
        draft = Draft(envelope.at_ns, envelope.position, command)
        self._asked[envelope.position] = draft
        if isinstance(command, commands.Join):
            return  # whose it is, its event says
        member = self.cast.get(command.peer)
        if member is None:
            self._left_out["requests of strangers"] += 1
            return
        member.drafts.append(draft)
        self._ends_at_ns = envelope.at_ns

    # Events.

    def _take_event(self, envelope: Envelope, event: Any) -> None:
        draft = None if envelope.cause is None else self._asked.get(envelope.cause)
        if draft is not None:
            self._decided(envelope, draft, event)
        match event:
            case events.PeerDetached(peer=peer):
                self.cast[peer].detach(envelope.at_ns)
                self._add(peer, envelope, script.LoseSocket())
            case events.PeerAttached(peer=peer):
                self.cast[peer].attach(envelope.at_ns)
            case events.PeerLeft(peer=peer, reason=reason):
                self.cast[peer].leave(envelope.at_ns)
                self._leaving = (envelope.cause, peer)
                if reason not in (REQUESTED, CONNECTION_LOST):
                    self._add(peer, envelope, script.Leave(), tolerant=True)
            case events.TransportAdded(transport=label, peer=peer):
                self._note_thing(label, peer, envelope.at_ns)
                self._open_transports.add(label)
            case events.ProducerAdded(producer=label, peer=peer):
                self._note_thing(label, peer, envelope.at_ns)
            case events.ConsumerAdded(consumer=label, peer=peer):
                self._note_thing(label, peer, envelope.at_ns)
                self.cast[peer].consumers.append(label)
            case events.TransportRemoved() | events.ProducerRemoved() | events.ConsumerRemoved():
                self._removed(envelope, event)
            case events.TransportClosed(reason="dtls_closed"):
                self._hung_up(envelope)
            case events.IceChanged():
                self._ice_changed(envelope, event)
            case events.ProducerActive(active=active):
                self._activity(envelope, flows=active)
            case events.ConsumerLayersChanged(peer=peer, spatial_layer=int()):
                self._first_video_ns.setdefault(peer, envelope.at_ns)
            case events.RoomClosed():
                self._closed = True
            case _:
                pass
        self._tell(envelope, event)

    def _decided(self, envelope: Envelope, draft: Draft, event: Any) -> None:
        match event:
            case events.CommandRefused(code=code):
                draft.refused = code
                self._left_out["requests refused for a fault"] += code in FAULTS
                if isinstance(draft.command, commands.Join):
                    self._joined(envelope, f"refused-{draft.position}", draft)
            case events.PeerJoined(peer=peer, rights=rights):
                member = self._joined(envelope, peer, draft)
                draft.action = script.Enter(
                    name=member.name, publish=rights.publish, subscribe=rights.subscribe
                )
            case events.TransportAdded(transport=label, direction=direction):
                draft.action = script.OpenTransport(transport=label, direction=direction)
            case events.ProducerAdded(producer=label):
                self.producers[label] = event
                draft.command = (draft.command, label)
            case events.ConsumerAdded(consumer=label):
                draft.command = (draft.command, label)
            case _:
                pass

    def _joined(self, envelope: Envelope, peer: str, draft: Draft) -> CastMember:
        name = str(shown(draft.command.name))
        member = CastMember(peer, name, envelope.at_ns)
        member.present = draft.refused is None
        member.drafts.append(draft)
        if draft.refused is not None:
            rights = draft.command.rights
            draft.action = script.Enter(
                name=name, publish=rights.publish, subscribe=rights.subscribe
            )
        self.cast[peer] = member
        if self.begins_at_ns is None:
            self.begins_at_ns = draft.at_ns
        self._ends_at_ns = envelope.at_ns
        return member

    def _note_thing(self, label: str, peer: str, at_ns: int) -> None:
        self._added_ns[label] = at_ns
        self._owner[label] = peer

    def _removed(self, envelope: Envelope, event: Any) -> None:
        """Have the client close what its server took away by itself."""
        kind: script.Thing
        match event:
            case events.TransportRemoved(transport=label):
                kind, method = "transport", "closeTransport"
            case events.ProducerRemoved(producer=label):
                kind, method = "producer", "closeProducer"
            case _:
                kind, method, label = "consumer", "closeConsumer", event.consumer
        self._open_transports.discard(label)
        of_clients = (REQUESTED, PEER_LEFT, DTLS_CLOSED, "transport_closed", "producer_closed")
        if self._closed or event.reason in of_clients:
            return
        action = script.Ask(method=method, thing=kind, label=label)
        self._add(event.peer, envelope, action, tolerant=True)

    def _hung_up(self, envelope: Envelope) -> None:
        label = envelope.actor.partition("/")[2]
        if label in self._open_transports and not self._closed:
            self._add(self._owner[label], envelope, script.HangUp(transport=label))

    def _ice_changed(self, envelope: Envelope, event: events.IceChanged) -> None:
        label = envelope.actor.partition("/")[2]
        peer = self._owner.get(label)
        if peer is None:
            return
        now_at = None if event.remote is None else str(shown(event.remote))
        state, remote, since_ns = self._ice.get(label, ("new", None, envelope.at_ns))
        if event.state == "connected" and state == "new":
            since_ns = envelope.at_ns
        elif event.state == "connected" and state in ("disconnected", "failed"):
            self._add(peer, envelope, script.FindNetwork(transport=label))
        elif event.state == "disconnected":
            begins = max(envelope.at_ns - CONSENT_NS, since_ns)
            self._add(peer, envelope, script.LoseNetwork(transport=label), at_ns=begins)
        elif (
            event.state == "connected"
            and remote not in (None, now_at)
            and envelope.at_ns - since_ns >= SETTLED_NS
        ):
            self._add(peer, envelope, script.MoveNetwork(transport=label))
        self._ice[label] = (event.state, now_at, since_ns)

    def _activity(self, envelope: Envelope, *, flows: bool) -> None:
        label = envelope.actor.partition("/")[2]
        peer = self._owner.get(label)
        if peer is None:
            return
        at_ns = envelope.at_ns if flows else envelope.at_ns - SILENCE_NS
        at_ns = max(at_ns, self._added_ns[label])
        self._add(peer, envelope, script.Flow(producer=label, flows=flows), at_ns=at_ns)

    def _add(
        self,
        peer: str,
        envelope: Envelope,
        action: script.Action,
        *,
        at_ns: int | None = None,
        tolerant: bool = False,
    ) -> None:
        step = Step(
            at_ns=envelope.at_ns if at_ns is None else at_ns,
            position=envelope.position,
            action=action,
            tolerant=tolerant,
        )
        self._extra.append((peer, step))
        self._ends_at_ns = max(self._ends_at_ns, step.at_ns)

    def _tell(self, envelope: Envelope, event: Any) -> None:
        notification = notification_of(event)
        if notification is None:
            return
        since_ns: int | None = None
        if envelope.cause in self._by_clients or isinstance(event, events.StreamingStarted):
            since_ns = envelope.at_ns
            if isinstance(event, _CONSUMER_NEWS):
                since_ns = envelope.at_ns - self._added_ns.get(event.consumer, envelope.at_ns)
        match notification.audience:
            case Only(peer):
                if (member := self.cast.get(peer)) is not None and member.present:
                    member.tell(notification, envelope.at_ns, since_ns)
            case Everyone(but):
                for member in self.cast.values():
                    if member.present and member.peer != but:
                        member.tell(notification, envelope.at_ns, since_ns)
                if self._leaving[0] == envelope.cause and but is None:
                    self.cast[self._leaving[1]].told[notification.name] += 1

    # Steps and figures.

    def _step(self, draft: Draft, measured: Measured) -> Step:
        action = draft.action or self._action(draft, measured)
        return Step(
            at_ns=draft.at_ns, position=draft.position, action=action, refused=draft.refused
        )

    def _action(self, draft: Draft, measured: Measured) -> script.Action:
        """What a request was, once its outcome is known."""
        command, label = draft.command, f"refused-{draft.position}"
        if isinstance(command, tuple):
            command, label = command
        raw = draft.refused is not None
        match command:
            case commands.Resume():
                return script.Return()
            case commands.Leave():
                return script.Leave()
            case commands.CreateTransport(direction=direction):
                return script.OpenTransport(transport=label, direction=direction)
            case commands.ConnectTransport(transport=transport, dtls_parameters=dtls):
                known = all(isinstance(each.value, str) for each in dtls.fingerprints)
                return script.ConnectTransport(
                    transport=transport, dtls_parameters=dtls if raw and known else None
                )
            case commands.Produce():
                parameters = command.rtp_parameters
                return script.Publish(
                    producer=label,
                    transport=command.transport,
                    kind=command.kind,
                    mid=parameters.mid,
                    mime_type=media_of(parameters),
                    encodings=encodings_of(command.kind, parameters, measured.sent(label)),
                    paused=command.paused,
                    app_data={} if isinstance(command.app_data, Concealed) else command.app_data,
                    rtp_parameters=_sendable(parameters) if raw else None,
                )
            case commands.Consume(rtp_capabilities=capabilities):
                return script.Watch(
                    consumer=label,
                    transport=command.transport,
                    producer=command.producer,
                    mime_types=tuple(sorted({c.mime_type.lower() for c in capabilities.codecs})),
                    rtp_capabilities=capabilities if raw else None,
                    priority=command.priority,
                )
        return _ask(command)

    def _figures(self, member: CastMember, steps: list[Step], measured: Measured) -> Figures:
        figures = Figures(refusals={})
        for step in steps:
            if step.refused is not None:
                word = f"{script.method_of(step.action)} {step.refused}"
                figures.refusals[word] = figures.refusals.get(word, 0) + 1
                continue
            match step.action:
                case script.Enter():
                    figures.joins += 1
                case script.Return():
                    figures.returns += 1
                case script.OpenTransport():
                    figures.transports += 1
                case script.Publish():
                    figures.producers += 1
                case script.Watch():
                    figures.consumers += 1
                case _:
                    pass
        stats = None if self._stats is None else self._stats.peer(member.peer)
        if stats is not None:
            figures.connected_ms = _ms(stats.connected_ns)
            figures.first_packet_ms = _ms(stats.first_media_received_ns)
            first_video_ns = self._first_video_ns.get(member.peer)
            if first_video_ns is not None:
                figures.first_keyframe_ms = _ms(first_video_ns - stats.joined_at_ns)
        measured.received(member.peer, figures)
        return figures


def script_of(
    room: str,
    envelopes: Iterable[Envelope],
    measure: Callable[[Builder], Measured] | None = None,
) -> Script:
    """Make the script of the session whose envelopes these are. Raises `LogNotUnderstood`."""
    builder = Builder(room, measure)
    for envelope in envelopes:
        builder.take(envelope)
    return builder.finish()


def _ask(command: Any) -> script.Action:
    """A request about one thing, its other fields as they were on the wire."""
    kind: script.Thing
    for kind in ("transport", "producer", "consumer"):
        label = getattr(command, kind, None)
        if label is not None:
            break
    data: dict[str, Any] = {}
    if isinstance(command, commands.SetPreferredLayers):
        data["spatialLayer"] = command.spatial_layer
        if command.temporal_layer is not None:
            data["temporalLayer"] = command.temporal_layer
    if isinstance(command, commands.SetPriority):
        data["priority"] = command.priority
    method = METHOD_OF[type(command).__name__]
    return script.Ask(method=method, thing=kind, label=str(label), data=data)


def _sendable(parameters: RtpParameters) -> RtpParameters:
    """Parameters as they were sent, without what was forgotten of their sender."""
    if isinstance(parameters.msid, Concealed):
        parameters = replace(parameters, msid=None)
    if isinstance(parameters.rtcp.cname, Concealed):
        parameters = replace(parameters, rtcp=replace(parameters.rtcp, cname=None))
    return parameters


def _ms(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e6
