"""What deserves an engineer's attention, decided envelope by envelope from the log alone.

| word | meaning |
| --- | --- |
| `refused` | a request was not met |
| `actor_failed` | a message broke an invariant, and its actor was restarted or given up |
| `order_refused` | control and media plane disagreed about their tables |
| `ice_lost` | the way to a client was lost |
| `dtls_failed` | a handshake failed |
| `not_connected` | a transport closed because its client never connected or did not come back |
| `plane_lost` | the media plane went away |
| `restarted` | the server came back and rebuilt the room from its log |
| `silent` | a publisher's packets stopped |
| `low_score` | a stream fell to a score of 3 of 10 or less |
| `nothing_sent` | a viewer that wants packets gets none |
| `frozen` | nothing reached a viewer for a while though it could have |
| `keyframe_storm` | a publisher was asked for 5 keyframes within 10 s |
| `peer_lost` | a peer lost its socket, or left without having asked for it |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.envelope import Envelope

if TYPE_CHECKING:
    from replay.timeline.index import Said
    from replay.timeline.lanes import Lane

SCORE_LOW = 3
STORM_REQUESTS = 5
STORM_NS = 10_000_000_000

_BY_TYPE = {
    "CommandRefused": "refused",
    "ActorFailed": "actor_failed",
    "ChildFailed": "actor_failed",
    "OrderRefused": "order_refused",
    "PlaneDetached": "plane_lost",
    "ControlRestarted": "restarted",
    "PeerDetached": "peer_lost",
}
_FINE_TO_LEAVE = ("requested", "room_closed", "server_stopped")


def anomaly_of(envelope: Envelope, said: Said, lane: Lane, at_ns: int) -> str | None:
    """The word for what is odd about an envelope, seen before its lane follows it; else None."""
    name = envelope.type
    if (word := _BY_TYPE.get(name)) is not None:
        return word
    match name:
        case "IceChanged" if said.state in ("disconnected", "failed"):
            return None if lane.is_in("ice lost") else "ice_lost"
        case "TransportClosed" if said.reason.startswith("dtls_") and said.reason != "dtls_closed":
            return "dtls_failed"
        case "TransportClosed" if said.reason in ("ice_failed", "connect_timeout"):
            return "not_connected"
        case "ProducerActive" if said.active is False:
            return None if lane.is_in("unused") else "silent"
        case "ConsumerScored" if said.score is not None:
            return _low(said.score, lane)
        case "ProducerScored" if said.scores:
            return _low(max(said.scores), lane)
        case "ConsumerLayersChanged" if said.spatial_layer is None:
            wanted = not (lane.is_in("paused") or lane.is_in("source paused"))
            return "nothing_sent" if wanted and lane.layer and lane.layer[-1] >= 0 else None
        case "ConsumerFreezeChanged" if said.frozen:
            return "frozen"
        case "KeyFrameAsked":
            return _storm(lane, at_ns)
        case "PeerLeft" if said.reason not in _FINE_TO_LEAVE:
            return "peer_lost"
    return None


def _low(score: int, lane: Lane) -> str | None:
    """Only a fall is told: a stream that stays low would drown everything else."""
    was_low = bool(lane.score) and lane.score[-1] <= SCORE_LOW
    return "low_score" if score <= SCORE_LOW and not was_low else None


def _storm(lane: Lane, at_ns: int) -> str | None:
    """A storm is told once, when it begins; it ends when none was asked for a while."""
    lane.asked_ns = [*lane.asked_ns[1 - STORM_REQUESTS :], at_ns]
    full = len(lane.asked_ns) == STORM_REQUESTS and at_ns - lane.asked_ns[0] <= STORM_NS
    if not full:
        return None
    begins = at_ns - lane.storm_ns > STORM_NS
    lane.storm_ns = at_ns
    return "keyframe_storm" if begins else None
