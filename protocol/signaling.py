"""Signaling frames: what stands on a client's WebSocket, in both subprotocols.

`reprise.v1.msgpack` has binary frames, `reprise.v1.json` text frames; the maps
in them are the same. Whatever comes from a client passes through
`decode_request` and `command_of` before anything else looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Any, Literal, cast

import msgpack
import msgspec
from msgspec import Meta, Struct

from protocol import commands
from protocol.answers import Answer, Done, Entered
from protocol.capabilities import with_known_capabilities
from protocol.commands import Command
from protocol.notifications import Notification
from protocol.personal import Concealed
from protocol.refusals import Refusal, RefusalCode

MSGPACK = "reprise.v1.msgpack"
JSON = "reprise.v1.json"
SUBPROTOCOLS = (MSGPACK, JSON)
Subprotocol = Literal["reprise.v1.msgpack", "reprise.v1.json"]

REQUEST_ID_MAX = 2**53

WORDS_MAX = 240
"""Letters of an error that a refusal repeats."""


class CloseCode(IntEnum):
    """Why the server closes a socket (RFC 6455, 7.4: 4000 and above are ours)."""

    NORMAL = 1000
    """The peer left, or its room closed."""
    GOING_AWAY = 1001
    """The server stops."""
    TOO_LARGE = 1009
    """A message over the limit."""
    INTERNAL_ERROR = 1011
    """A fault of ours."""
    TAKEN_OVER = 4001
    """The session was resumed on another socket."""
    TOO_SLOW = 4002
    """The client reads more slowly than it is told things."""
    TOO_MANY_ERRORS = 4003
    """Malformed frames, or requests over the rate, again and again."""
    ORIGIN_REFUSED = 4004
    """The page's origin is not allowed."""
    EVICTED = 4005
    """The peer was removed from its room."""
    IDLE = 4006
    """Nobody joined in time, or pings went unanswered."""


class Request(Struct, frozen=True, kw_only=True):
    """A client's request, its data not looked at yet."""

    id: Annotated[int, Meta(ge=0, le=REQUEST_ID_MAX)]
    method: Annotated[str, Meta(max_length=64)]
    data: dict[str, Any] | None = None


class BadFrame(Struct, frozen=True, kw_only=True):
    """A frame that is no request; `id` where one could be made out, to answer it."""

    refusal: Refusal
    id: int | None = None


_METHODS: dict[str, type[Struct]] = {
    "join": commands.Join,
    "resume": commands.Resume,
    "leave": commands.Leave,
    "createTransport": commands.CreateTransport,
    "connectTransport": commands.ConnectTransport,
    "restartIce": commands.RestartIce,
    "closeTransport": commands.CloseTransport,
    "produce": commands.Produce,
    "consume": commands.Consume,
    "pauseProducer": commands.PauseProducer,
    "resumeProducer": commands.ResumeProducer,
    "closeProducer": commands.CloseProducer,
    "resumeConsumer": commands.ResumeConsumer,
    "pauseConsumer": commands.PauseConsumer,
    "closeConsumer": commands.CloseConsumer,
    "requestKeyFrame": commands.RequestConsumerKeyFrame,
    "setPreferredLayers": commands.SetPreferredLayers,
    "setPriority": commands.SetPriority,
}
_STATS: dict[str, type[Struct]] = {
    "transport": commands.QueryTransport,
    "producer": commands.QueryProducer,
    "consumer": commands.QueryConsumer,
}
METHODS = (*_METHODS, "getStats")
"""Every method of the contract."""
METHOD_OF: Mapping[str, str] = {
    **{kind.__name__: method for method, kind in _METHODS.items()},
    **{kind.__name__: "getStats" for kind in _STATS.values()},
}
"""The method that each command, by the name of its type, came by."""


def decode_request(subprotocol: Subprotocol, frame: bytes | str) -> Request | BadFrame:
    """Read a frame as a request. Work is bounded by the frame's length."""
    if isinstance(frame, bytes) != (subprotocol == MSGPACK):
        wanted = "binary" if subprotocol == MSGPACK else "text"
        return _bad(f"{subprotocol} has {wanted} frames")
    try:
        tree = _unpack(frame) if isinstance(frame, bytes) else msgspec.json.decode(frame)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return _bad(f"not a frame of {subprotocol}")
    try:
        return msgspec.convert(tree, Request)
    except msgspec.ValidationError as error:
        return _bad(f"not a request: {_in_short(error)}", _id_in(tree))


def command_of(
    request: Request, *, peer: str | None, extra: Mapping[str, Any] | None = None
) -> Command | Refusal:
    """The typed command of a request; `peer` is who asks, None before it joined.

    `extra` is what the gateway knows better than the client, such as `rights`;
    it replaces fields of the same name.
    """
    data = {key: value for key, value in (request.data or {}).items() if value is not None}
    kind = _METHODS.get(request.method)
    if request.method == "getStats":
        named = [name for name in _STATS if name in data]
        if len(named) != 1:
            return Refusal(
                RefusalCode.INVALID_DATA, "getStats wants one of transport, producer, consumer"
            )
        kind = _STATS[named[0]]
    if kind is None:
        return Refusal(RefusalCode.UNKNOWN_METHOD, f"there is no method {request.method!r}")
    data.pop("rights", None)
    data.pop("peer", None)
    if peer is not None:
        data["peer"] = peer
    if kind is commands.Consume and "rtpCapabilities" in data:
        data["rtpCapabilities"] = with_known_capabilities(data["rtpCapabilities"])
    if extra is not None:
        data.update(extra)
    try:
        command = cast("Command", msgspec.convert(data, kind))
    except (msgspec.ValidationError, RecursionError) as error:
        return Refusal(RefusalCode.INVALID_DATA, f"{request.method}: {_in_short(error)}")
    if _bears_concealed(command):
        return Refusal(
            RefusalCode.INVALID_DATA, f"{request.method}: a text or a map is needed, not an array"
        )
    return command


def _bears_concealed(command: Command) -> bool:
    """Whether a client sent what only this server makes."""
    match command:
        case commands.Join(name=name):
            return isinstance(name, Concealed)
        case commands.Produce(app_data=app_data, rtp_parameters=sent):
            return any(isinstance(v, Concealed) for v in (app_data, sent.msid, sent.rtcp.cname))
        case commands.ConnectTransport(dtls_parameters=sent):
            return any(isinstance(each.value, Concealed) for each in sent.fingerprints)
    return False


def encode_answer(subprotocol: Subprotocol, request_id: int, answer: Answer) -> bytes | str:
    """The frame that says yes."""
    match answer:
        case Entered():
            data: object = answer.joined
        case Done():
            data = {}
        case _:
            data = answer
    return encode(subprotocol, {"id": request_id, "ok": True, "data": data})


def encode_refusal(
    subprotocol: Subprotocol, request_id: int | None, refusal: Refusal
) -> bytes | str:
    """The frame that says no; `id` is null where the request's own could not be made out."""
    return encode(subprotocol, {"id": request_id, "ok": False, "error": refusal})


def encode_notification(
    subprotocol: Subprotocol, position: int, notification: Notification
) -> bytes | str:
    """The frame that tells of an event at a position of the room's log."""
    return encode(
        subprotocol,
        {"event": notification.name, "position": position, "data": notification.data},
    )


def encode(subprotocol: Subprotocol, tree: object) -> bytes | str:
    """Any map as a frame."""
    if subprotocol == MSGPACK:
        return msgspec.msgpack.encode(tree)
    return msgspec.json.encode(tree).decode()


def _unpack(frame: bytes) -> Any:
    """Msgpack with nothing but plain values: extensions are refused, keys are strings."""
    return msgpack.unpackb(frame, strict_map_key=True, ext_hook=_refuse_extension, timestamp=0)


def _refuse_extension(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def _bad(message: str, request_id: int | None = None) -> BadFrame:
    return BadFrame(refusal=Refusal(RefusalCode.MALFORMED_FRAME, message), id=request_id)


def _in_short(error: Exception) -> str:
    """What an error says, without most of a long value that it quotes."""
    words = str(error)
    if len(words) <= WORDS_MAX:
        return words
    return f"{words[: WORDS_MAX // 2]} … {words[-WORDS_MAX // 2 :]}"


def _id_in(tree: object) -> int | None:
    if isinstance(tree, dict):
        found = tree.get("id")
        if type(found) is int and 0 <= found <= REQUEST_ID_MAX:
            return found
    return None
