"""What messages and events mean, in a plain sentence each.

Sentences use what the envelope itself says, so they are the same wherever it is shown: no state
is looked at. Text that came from clients is escaped and shortened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol.envelope import Envelope
from protocol.personal import Concealed, shown
from replay.errors import LogNotUnderstood
from replay.fold import event_of
from replay.text import printable

TEXT_MAX = 60
"""Characters of a client's text that a sentence quotes."""

_REASONS = {
    "requested": "its client asked for it",
    "peer_left": "its peer left",
    "transport_closed": "its transport closed",
    "producer_closed": "its producer closed",
    "room_closed": "the room closed",
    "empty": "nobody was in it",
    "connection_lost": "its connection was lost and did not come back in time",
    "connect_timeout": "it did not connect in time",
    "ice_failed": "ICE failed and did not come back in time",
    "dtls_closed": "the client closed DTLS",
    "plane_failed": "the media plane that carried it is gone",
    "order_refused": "the media plane refused it",
    "actor_failed": "its actor failed again and again",
    "interrupted": "a crash cut its making in two",
    "server_stopped": "the server stopped",
    "forgotten": "an operator had its personal data forgotten",
}
REASON_WORDS = (
    *_REASONS,
    *(f"dtls_{why}" for why in ("failed", "fingerprint_mismatch", "timeout", "alert")),
    *("dtls_no_srtp_profile", "dtls_protocol_error", "fingerprint_mismatch", "timeout"),
    *("alert", "no_srtp_profile", "protocol_error", "leaves", "connect", "ice"),
)
"""The reasons, and names of timers, that the program itself gives."""

_SOCKET_ENDS = {
    "": "",
    "too_slow": ": it read more slowly than it was told things",
    "too_many_errors": ": it sent malformed frames, or too many requests, again and again",
    "too_large": ": it sent a message over the limit",
    "idle": ": it answered no ping",
    "going_away": ": the server stops",
    "internal_error": ": a fault of the server",
}

_TIMERS = {
    "leaves": "The time in which a peer without a socket may come back is over",
    "empty": "The time in which an empty room stays is over",
    "connect": "The time in which a transport must connect is over",
    "ice": "The time in which ICE may come back is over",
}


def because(reason: str) -> str:
    """A reason of `docs/closing.md` as half a sentence: `because its peer left`."""
    if reason in _REASONS:
        return f"because {_REASONS[reason]}"
    if reason.startswith("dtls_"):
        return f"because DTLS failed ({quoted(reason.removeprefix('dtls_'))})"
    return f"because of {quoted(reason)}"


def quoted(text: str | Concealed) -> str:
    """A text from outside, safe to print and not too long."""
    told = printable(str(shown(text)))
    return told if len(told) <= TEXT_MAX else told[: TEXT_MAX - 1] + "…"


def sentence(envelope: Envelope) -> str:
    """Say in a sentence, without its full stop, what an envelope bears.

    An envelope that this release does not understand is told by its type.
    """
    tell = _SENTENCES.get(envelope.type)
    if tell is None:
        return f"{printable(envelope.type)} at {printable(envelope.actor)}"
    try:
        value = event_of(envelope)
    except LogNotUnderstood:
        return f"{envelope.type} at {printable(envelope.actor)}, in a shape that is not understood"
    about = printable(envelope.actor).replace("/", " ")
    told = tell(value, about)
    return told[0].upper() + told[1:]


_Tell = Callable[[Any, str], str]


def _form(form: str) -> _Tell:
    """A sentence from the value's fields; `{about}` is the actor."""

    def tell(value: Any, about: str) -> str:
        fields = {name: _word(getattr(value, name)) for name in value.__struct_fields__}
        return form.format(**(fields | {"about": about}))

    return tell


def _word(value: Any) -> str:
    return quoted(value) if isinstance(value, str | Concealed) else str(value)


def _closing(form: str) -> _Tell:
    """A sentence that ends with the value's reason."""
    tell_form = _form(form)

    def tell(value: Any, about: str) -> str:
        return f"{tell_form(value, about)} {because(value.reason)}"

    return tell


def _join(value: Any, _about: str) -> str:
    name = f" as {quoted(value.name)!r}" if value.name else ""
    return f"A client asked to join{name}"


def _peer_joined(value: Any, _about: str) -> str:
    name = f" as {quoted(value.name)!r}" if value.name else ""
    rights = value.rights
    may = [
        verb
        for verb, allowed in (("publish", rights.publish), ("subscribe", rights.subscribe))
        if allowed
    ]
    return f"Peer {value.peer} joined{name}, and may {' and '.join(may) or 'only listen in'}"


def _pause_changed(value: Any, about: str) -> str:
    return f"The {about} heard that producer {value.producer} was {_paused(value.paused)}"


def _pause_noted(value: Any, _about: str) -> str:
    return f"The room noted that producer {value.producer} is {_paused(value.paused)}"


def _paused(paused: bool) -> str:
    return "paused" if paused else "resumed"


def _by_viewer(verb: str) -> _Tell:
    def tell(value: Any, _about: str) -> str:
        why = "as its viewer asked" if value.by == "viewer" else f"as its producer was {verb}"
        return f"Consumer {value.consumer} of peer {value.peer} was {verb} {why}"

    return tell


def _ice(value: Any, about: str) -> str:
    remote = f" at {quoted(value.remote)}" if value.remote else ""
    closes = "; it closes unless ICE comes back" if getattr(value, "closes_at_ns", None) else ""
    return f"ICE of {about} is {value.state}{remote}{closes}"


def _dtls(value: Any, about: str) -> str:
    profile = f" with {value.srtp_profile}" if value.srtp_profile else ""
    reason = f" ({quoted(value.reason)})" if value.reason else ""
    return f"DTLS of {about} is {value.state}{profile}{reason}"


_LAYER_REASONS = {
    "preferred": "for it is the highest that is there and wanted",
    "bandwidth": "for the viewer's bandwidth allows no more",
    "publisher": "for the publisher's streams changed",
    "paused": "for it is paused",
    "transport": "for its transport can't send",
}


def _layers(value: Any, about: str) -> str:
    why = _LAYER_REASONS.get(getattr(value, "reason", None) or "")
    because = f", {why}" if why else ""
    if value.spatial_layer is None:
        return f"Nothing is sent by {about} now{because}"
    temporal = "" if value.temporal_layer is None else f", temporal layer {value.temporal_layer}"
    age_ns = getattr(value, "keyframe_age_ns", None)
    begun = (
        "" if age_ns is None else f", from a keyframe on that had come {age_ns / 1e9:.1f} s before"
    )
    return f"Spatial layer {value.spatial_layer}{temporal} is sent by {about} now{begun}{because}"


LIMIT_WORDS = {
    "delay": "as far as queues on the way let it",
    "loss": "for packets are lost",
    "remb": "as the viewer itself says",
    "silence": "for the viewer's feedback stays away",
}
"""What keeps an estimate from being higher, behind the estimate."""


def _bandwidth(value: Any, about: str) -> str:
    told = f"The way to {about} takes {value.bitrate_bps // 1000} kbit/s"
    limit = LIMIT_WORDS.get(value.limit)
    parts = [f"{told}, {limit}" if limit else told]
    if value.wanted_bps is not None:
        parts.append(f"the next layers need {value.wanted_bps // 1000} kbit/s")
    if value.probes:
        parts.append(probes_told(value.probes, value.probes_found))
    if value.on_trial:
        parts.append("it was last full long ago: what was paused comes back on trial")
    return "; ".join(parts)


def probes_told(probes: int, found: int) -> str:
    """What came of the probes since the estimate before."""
    if probes == 1:
        return f"a probe {'found more room' if found else 'found no more room'}"
    if not found:
        return f"{probes} probes found no more room"
    return f"{found if found < probes else 'all'} of {probes} probes found more room"


def _preferred(value: Any, about: str) -> str:
    temporal = "" if value.temporal_layer is None else f", temporal layer {value.temporal_layer}"
    return f"The viewer of {about} wants no more than layer {value.spatial_layer}{temporal}"


def _active(value: Any, about: str) -> str:
    return f"Packets of {about} {'flow' if value.active else 'have been missing for a while'}"


def _demand(value: Any, about: str) -> str:
    if value.spatial_layer is None:
        return f"Nobody takes {about} any more: its publisher may rest"
    return f"Viewers may take layers of {about} up to {value.spatial_layer}, and none above"


def _speaker(value: Any, _about: str) -> str:
    than = (
        ""
        if value.before is None
        else f", clearly louder than producer {value.before} at {value.before_level} dBov"
    )
    return f"Peer {value.peer} speaks: producer {value.producer} at {value.level} dBov{than}"


_KEYFRAME_CAUSES = {
    "switched": "a viewer must change layers at once",
    "viewer": "a viewer asked for one",
    "clock": "the last one became old while people come or wait to climb",
    "lost": "packets of the publisher are missing",
}


_NOT_FROM_CACHE = {
    "aged": "the last keyframe is too old to begin with",
    "slow": "to catch up from the last keyframe would take too long",
    "full": "its way was full: nothing of the past is sent into it",
}


def _keyframe_causes(causes: tuple[str, ...]) -> str:
    """In brackets; empty if none is known."""
    told = []
    if "began" in causes:
        known = [_NOT_FROM_CACHE[each] for each in causes if each in _NOT_FROM_CACHE]
        told = ["a viewer has nothing to see", *(known or ["nothing in the cache to begin with"])]
    told += [_KEYFRAME_CAUSES[each] for each in causes if each in _KEYFRAME_CAUSES]
    return f" ({', and '.join(told)})" if told else ""


def _keyframe_requested(value: Any, about: str) -> str:
    askers = "one asker" if value.requests == 1 else f"{value.requests} askers"
    again = "again, for none had come" if not value.requests else f"for {askers}"
    return f"The media plane asked the publisher of {about} for a keyframe {again}"


def _keyframe_asked(value: Any, about: str) -> str:
    """At most one request a second goes to a publisher; what is beyond it is held back."""
    why = _keyframe_causes(value.causes)
    if not value.requests:
        return f"A keyframe of {about} was asked for again, for none had come"
    if value.requests == 1:
        return f"A keyframe of {about} was asked for, for one asker{why}"
    held = value.requests - 1
    return (
        f"A keyframe of {about} was asked for once, for {value.requests} askers{why}: "
        f"{held} more {'request was' if held == 1 else 'requests were'} held back"
    )


def _socket_lost(value: Any, _about: str) -> str:
    why = _SOCKET_ENDS.get(value.reason, f": {quoted(value.reason)}" if value.reason else "")
    return f"The socket of peer {value.peer} (number {value.attachment}) was lost{why}"


def _timer(value: Any, about: str) -> str:
    told = _TIMERS.get(value.name.partition("/")[0])
    return f"{told}, at the {about}" if told else f"Timer {quoted(value.name)} of {about} fired"


_SENTENCES: dict[str, _Tell] = {
    # Clients' requests.
    "Join": _join,
    "Resume": _form("Peer {peer} asked to come back on a new socket"),
    "Leave": _form("Peer {peer} asked to leave"),
    "CreateTransport": _form("Peer {peer} asked for a {direction} transport"),
    "Produce": _form("Peer {peer} asked to publish {kind} over transport {transport}"),
    "Consume": _form("Peer {peer} asked to watch producer {producer} over transport {transport}"),
    "ConnectTransport": _form("Peer {peer} gave its DTLS parameters for transport {transport}"),
    "RestartIce": _form("Peer {peer} asked to restart ICE of transport {transport}"),
    "CloseTransport": _form("Peer {peer} asked to close transport {transport}"),
    "PauseProducer": _form("Peer {peer} asked to pause producer {producer}"),
    "ResumeProducer": _form("Peer {peer} asked to resume producer {producer}"),
    "CloseProducer": _form("Peer {peer} asked to close producer {producer}"),
    "ResumeConsumer": _form("Peer {peer} asked to resume consumer {consumer}"),
    "PauseConsumer": _form("Peer {peer} asked to pause consumer {consumer}"),
    "CloseConsumer": _form("Peer {peer} asked to close consumer {consumer}"),
    "RequestConsumerKeyFrame": _form("Peer {peer} asked for a keyframe for consumer {consumer}"),
    "SetPreferredLayers": _form("Peer {peer} chose layers for consumer {consumer}"),
    "SetPriority": _form("Peer {peer} gave consumer {consumer} the priority {priority}"),
    "QueryTransport": _form("Peer {peer} asked for statistics of transport {transport}"),
    "QueryProducer": _form("Peer {peer} asked for statistics of producer {producer}"),
    "QueryConsumer": _form("Peer {peer} asked for statistics of consumer {consumer}"),
    # Messages of the house.
    "TimerFired": _timer,
    "Close": _closing("The {about} was told to close"),
    "OpenRoom": _form("The room was told to open"),
    "SocketLost": _socket_lost,
    "EvictPeer": _closing("Peer {peer} was to be removed"),
    "PlaneStarted": _form("The room heard that a media plane is there"),
    "PlaneStopped": _closing("The room heard that the media plane is gone,"),
    "ControlRestarted": _form("The server came back and rebuilt the room from its log"),
    "CloseRoom": _closing("The room was told to close"),
    "ChildClosed": _closing("The room heard that {child} closed"),
    "ChildFailed": _closing("The room heard that {child} was given up"),
    "ProducerPauseChanged": _pause_changed,
    "FaultNoticed": _form("The room heard of a fault on transport {transport}: {reason}"),
    "CaptureRoom": lambda value, _about: (
        f"An operator asked for a recording of transport {value.transport}"
        if value.transport
        else "An operator asked for a recording of the room"
    ),
    "ProducerWentLive": _form("The room heard that packets of producer {producer} arrive"),
    "SpeakerNoted": _form("The room heard who speaks now: producer {producer} at {level} dBov"),
    "OpenTransport": _form("Transport {transport} of peer {peer} was started on worker {worker}"),
    "OpenProducer": _form("A producer of peer {peer} was started: {about}"),
    "OpenConsumer": _form("A consumer of peer {peer} was started: {about}"),
    # Notices of the media plane.
    "IceStateChanged": lambda value, about: f"The media plane noticed: {_ice(value, about)}",
    "IceTupleChanged": _form("The media plane noticed: {about} is reached at {remote} now"),
    "DtlsReceived": _form("DTLS records of {about} arrived"),
    "DtlsStateChanged": lambda value, about: f"The handshake told: {_dtls(value, about)}",
    "ProducerStreamLearned": _form(
        "The media plane learned the SSRC {ssrc} of encoding {encoding} of {about}"
    ),
    "ProducerActivityChanged": lambda value, about: (
        f"The media plane noticed: {_active(value, about)}"
    ),
    "ProducerDemandChanged": lambda value, about: (
        f"The media plane noticed: {_demand(value, about)}"
    ),
    "ProducerScore": _form("The media plane gave {about} the scores {scores}"),
    "ConsumerScore": _form("The media plane gave {about} the score {score} of 10"),
    "ConsumerFrozen": lambda value, about: (
        f"The media plane told: nothing reaches {about} though its producer sends"
        if value.frozen
        else f"The media plane told: {about} is sent media again"
    ),
    "Recording": _form("The media plane handed over what it had recorded of {transport}"),
    "AudioLevels": _form("The media plane heard the microphones of room {room}"),
    "Telemetry": _form("The media plane measured the streams of room {room}"),
    "LayersChanged": lambda value, about: f"The media plane told: {_layers(value, about)}",
    "BandwidthEstimated": lambda value, about: (
        f"The media plane estimated: {_bandwidth(value, about)}"
    ),
    "KeyFrameRequested": _keyframe_requested,
    "OrderRefused": _form("The media plane refused an order about {kind} {id}: {code}"),
    "PlaneLost": _form("The media plane that carried transport {transport} is gone"),
    # Events of any actor.
    "CommandRefused": _form("The request was refused: {code}, {message}"),
    "ActorFailed": _form("{message} broke {about}, which was restarted from its events: {error}"),
    # Events of the room.
    "RoomOpened": _form("The room opened; it closes if nobody joins"),
    "PlaneAttached": _form("A media plane carries the room"),
    "PlaneDetached": _closing("No media plane carries the room"),
    "PeerJoined": _peer_joined,
    "PeerAnnounced": _form("Peer {peer} is announced to the others, as it publishes"),
    "PeersCounted": _form("{peers} peers are in the room"),
    "PeerDetached": _form("Peer {peer} has no socket; it leaves unless it comes back in time"),
    "PeerAttached": _form("Peer {peer} came back, on socket number {attachment}"),
    "PeerLeft": _closing("Peer {peer} left"),
    "TransportAdded": _form("Peer {peer} has a {direction} transport {transport}"),
    "TransportRemoved": _closing("Transport {transport} of peer {peer} was removed"),
    "ProducerAdded": _form("Peer {peer} has a {kind} producer {producer} ({type})"),
    "ProducerRemoved": _closing("Producer {producer} of peer {peer} was removed"),
    "ConsumerAdded": _form("Peer {peer} has a consumer {consumer} of producer {producer}"),
    "ConsumerRemoved": _closing("Consumer {consumer} of peer {peer} was removed"),
    "ProducerPauseNoted": _pause_noted,
    "RecordingRequested": _form(
        "The packets of transport {transport} of peer {peer} were recorded: {reason}"
    ),
    "ActiveSpeakerChanged": _speaker,
    "StreamingStarted": _form("The room is live, with producer {producer} of peer {peer}"),
    "StreamingStopped": _closing("The room is no longer live"),
    "RoomClosed": _closing("The room closed"),
    # Events of transports.
    "TransportOpened": _form("Transport {transport} of peer {peer} waits for its client"),
    "TransportConnecting": _form("{about} begins DTLS as {dtls_role}"),
    "IceRestarting": _form("{about} has new ICE credentials"),
    "IceChanged": _ice,
    "DtlsConnected": _form("DTLS of {about} is done with {srtp_profile}; media may flow"),
    "BandwidthChanged": _bandwidth,
    "TransportClosed": _closing("{about} closed"),
    # Events of producers.
    "ProducerOpened": _form("{about} of peer {peer} is in the media plane"),
    "ProducerStreamBound": _form("Encoding {encoding} of {about} has the SSRC {ssrc}"),
    "ProducerActive": _active,
    "ProducerDemandNoted": _demand,
    "ProducerPaused": _form("Producer {producer} was paused by peer {peer}"),
    "ProducerResumed": _form("Producer {producer} was resumed by peer {peer}"),
    "ProducerScored": _form("Producer {producer} of peer {peer} has the scores {scores}"),
    "KeyFrameAsked": _keyframe_asked,
    "ProducerClosed": _closing("{about} closed"),
    # Events of consumers.
    "ConsumerOpened": _form("{about} of peer {peer} is in the media plane, paused"),
    "ConsumerPaused": _by_viewer("paused"),
    "ConsumerResumed": _by_viewer("resumed"),
    "ConsumerLayersPreferred": _preferred,
    "ConsumerPrioritized": _form(
        "{about} has the priority {priority} among the consumers of its transport"
    ),
    "ConsumerLayersChanged": _layers,
    "ConsumerScored": _form("Consumer {consumer} of peer {peer} has the score {score} of 10"),
    "ConsumerFreezeChanged": lambda value, _about: (
        f"Consumer {value.consumer} of peer {value.peer} "
        + (
            "froze: nothing reaches it though its producer sends"
            if value.frozen
            else "gets media again"
        )
    ),
    "ViewerAskedKeyFrame": _form("The viewer of consumer {consumer} asked for a keyframe"),
    "ConsumerClosed": _closing("{about} closed"),
}
