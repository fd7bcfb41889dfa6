"""The script of a session: what each of its clients did and when, without who they were.

Made from a log (`replay.script`), and played against a server by synthetic clients (`load.drive`).
Things are named by *labels*, the ids that they had in the recorded session; a player maps them to
the ids that its server gives.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from protocol.orders import Kind
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from protocol.transport_parameters import DtlsParameters

Thing = Literal["transport", "producer", "consumer"]


class _Action(Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """Something that a client does."""


class Enter(_Action, frozen=True, kw_only=True):
    """`join`, on a new socket."""

    name: str
    publish: bool
    """What the recorded token allowed."""
    subscribe: bool


class Return(_Action, frozen=True, kw_only=True):
    """`resume`, on a new socket, having heard everything up to the loss of the one before."""


class Leave(_Action, frozen=True, kw_only=True):
    """`leave`."""


class LoseSocket(_Action, frozen=True, kw_only=True):
    """The signaling socket breaks, without a goodbye; media goes on."""


class OpenTransport(_Action, frozen=True, kw_only=True):
    """`createTransport`."""

    transport: str
    direction: Literal["send", "recv"]


class ConnectTransport(_Action, frozen=True, kw_only=True):
    """`connectTransport`, and the handshake that follows."""

    transport: str
    dtls_parameters: DtlsParameters | None = None
    """What to send instead of one's own, where that was refused."""


class Encoding(Struct, frozen=True, kw_only=True):
    """One encoding of a published stream."""

    rid: str | None = None
    bitrate_bps: int
    """As measured; where nothing was measured, as the client said, or a usual one."""
    has_rtx: bool = True


class Publish(_Action, frozen=True, kw_only=True):
    """`produce`. Its packets flow from the first `Flow` on."""

    producer: str
    transport: str
    kind: Kind
    mid: str | None = None
    mime_type: str
    encodings: tuple[Encoding, ...]
    """More than one: simulcast, the lowest first."""
    paused: bool = False
    app_data: dict[str, Any] = {}
    rtp_parameters: RtpParameters | None = None
    """What to send instead of one's own, where that was refused."""


class Flow(_Action, frozen=True, kw_only=True):
    """The packets of a published stream begin to flow, or cease."""

    producer: str
    flows: bool


class Watch(_Action, frozen=True, kw_only=True):
    """`consume`."""

    consumer: str
    transport: str
    producer: str
    mime_types: tuple[str, ...]
    """Codecs that the client could take, in lower case."""
    rtp_capabilities: RtpCapabilities | None = None
    """What to send instead of one's own, where that was refused."""
    priority: int = 1


class Ask(_Action, frozen=True, kw_only=True):
    """Any other request about one thing."""

    method: str
    thing: Thing
    label: str
    data: dict[str, Any] = {}
    """The request's other fields, as on the wire."""


class HangUp(_Action, frozen=True, kw_only=True):
    """The client ends a transport by DTLS, without saying so in signaling."""

    transport: str


class LoseNetwork(_Action, frozen=True, kw_only=True):
    """No packet of a transport arrives any more, in either direction."""

    transport: str


class FindNetwork(_Action, frozen=True, kw_only=True):
    """Packets of a transport arrive again."""

    transport: str


class MoveNetwork(_Action, frozen=True, kw_only=True):
    """A transport goes on from another address."""

    transport: str


Action = (
    Enter
    | Return
    | Leave
    | LoseSocket
    | OpenTransport
    | ConnectTransport
    | Publish
    | Flow
    | Watch
    | Ask
    | HangUp
    | LoseNetwork
    | FindNetwork
    | MoveNetwork
)


METHODS: dict[type, str] = {
    Enter: "join",
    Return: "resume",
    Leave: "leave",
    OpenTransport: "createTransport",
    ConnectTransport: "connectTransport",
    Publish: "produce",
    Watch: "consume",
}
"""The signaling method of each action that has always the same."""


def method_of(action: Action) -> str:
    """The signaling method of an action; the name of its type where it is no request."""
    if isinstance(action, Ask):
        return action.method
    return METHODS.get(type(action), type(action).__name__)


class Step(Struct, frozen=True, kw_only=True):
    """An action at its time."""

    at_ns: int
    """Since the script's beginning."""
    position: int
    """Of the recorded message, or event, that it stands for."""
    action: Action
    refused: str | None = None
    """The code that it was refused with."""
    tolerant: bool = False
    """It makes up for something that the recorded server did, so a refusal means nothing."""


class Figures(Struct, kw_only=True):
    """What a peer did and met, recorded or driven. What is not known is None.

    Times count from its first join, in milliseconds.
    """

    joins: int = 0
    returns: int = 0
    transports: int = 0
    producers: int = 0
    consumers: int = 0
    refusals: dict[str, int] = {}
    """By method and code: `consume producer_not_found`."""
    notifications: dict[str, int] = {}
    connected_ms: float | None = None
    """To the end of the first DTLS handshake."""
    first_packet_ms: float | None = None
    """To the first packet received. Recorded: to when a viewer had all that it takes."""
    first_keyframe_ms: float | None = None
    """To the first keyframe of video received."""
    packets: int | None = None
    packets_lost: int | None = None
    received_bps: float | None = None
    """Mean of a watched stream while it was not paused."""


class ScriptedPeer(Struct, frozen=True, kw_only=True):
    """One client of the recorded session."""

    peer: str
    """Its recorded id."""
    name: str
    steps: tuple[Step, ...]
    """In order of time."""
    recorded: Figures
    sure_ns: dict[str, int]
    """How far each kind of notification was from being missed: it must come again if this is long
    enough for whoever plays. Others may come or not."""


class Script(Struct, frozen=True, kw_only=True):
    """A whole session."""

    room: str
    begins_at_ns: int
    """When the recorded session's first step was, nanoseconds since the Unix epoch."""
    duration_ns: int
    """To the last step, or to the end of the recording if somebody was there until then."""
    peers: tuple[ScriptedPeer, ...]
    """In order of their joining."""
    measured: bool
    """Whether bitrates and losses come from telemetry."""
    left_out: dict[str, int]
    """What the server of the recording met and clients cannot play, by type of message."""

    @property
    def steps(self) -> int:
        """How many steps there are in all."""
        return sum(len(peer.steps) for peer in self.peers)
