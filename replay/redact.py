"""Taking people out of a log: what may name, locate or authenticate somebody becomes a pseudonym.

The rule is the other way round: a text stays only if it is a word of ours (a type, a state, a
reason, a codec, a known header extension, an id that an actor drew). Whatever else there is, in any
field of any release, gets a pseudonym, the same one for the same text within one export:

    addresses      2001:db8::1, 2001:db8::2, … (documentation addresses, RFC 3849); ports stay
    names          name-1, name-2, …; so do cnames and stream ids
    ufrags         ufrag-1, …
    rooms          room-1, …; client requests: request-1, …
    other texts    text-1, …

Data of the application, entropy (from which ids and ufrags were drawn) and hashes (by which a guess
could be confirmed) are taken out. Times, positions, sizes, SSRCs and payload types stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import msgspec
from msgspec import inspect

from protocol import codec, commands, events, messages, notices
from protocol.envelope import HASH_BYTES, Envelope
from protocol.negotiation import router_capabilities
from protocol.negotiation.header_extensions import HEADER_EXTENSIONS
from protocol.personal import FORGOTTEN
from protocol.refusals import RefusalCode
from replay.explain import REASON_WORDS
from replay.text import payload

NO_HASH = bytes(HASH_BYTES)
"""What stands in place of each hash."""

_DRAWN_ID = re.compile(r"[ptsc]_[a-z2-9]{16}")
_PORT = re.compile(r"\d{1,5}")
_SCALABILITY = re.compile(r"[LS]\d{1,2}T\d{1,2}(_KEY)?")
_DIGITS = re.compile(r"\d{1,3}")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){19,63}")
_NAMES = frozenset(("name", "cname", "msid"))
_TIMER = "timer"
_NAMES_OF_OURS = frozenset(("header_extensions", _TIMER))
"""Where a name is nobody's: those of header extensions in the plane's rows, and of timers."""
_ADDRESSES = frozenset(("ip", "address", "host", "remote", "announced_ips"))
_UFRAGS = frozenset(("ufrag", "ice_ufrag", "ice_ufrags", "usernameFragment"))
_APP_DATA = frozenset(("app_data", "appData"))
_PARAMETER_NAMES = frozenset(
    (
        "apt", "packetization-mode", "profile-level-id", "level-asymmetry-allowed", "profile-id",
        "useinbandfec", "usedtx", "minptime", "maxptime", "ptime", "stereo", "sprop-stereo",
        "maxaveragebitrate", "maxplaybackrate", "cbr", "x-google-start-bitrate",
        "x-google-max-bitrate", "x-google-min-bitrate", "level-idx", "profile", "tier",
    )
)  # fmt: skip
_FEEDBACK = frozenset(("nack", "pli", "ccm", "fir", "goog-remb", "transport-cc"))


def _words() -> frozenset[str]:
    """Every text that the protocol itself knows."""
    words: set[str] = {code.value for code in RefusalCode} | set(REASON_WORDS)
    words |= {extension.uri for extension in HEADER_EXTENSIONS}
    words |= {each.mime_type.lower() for each in router_capabilities().codecs}
    words |= _FEEDBACK
    for kind in _KINDS:
        words |= set(_literals(inspect.type_info(kind), set()))
    return frozenset(words)


_KINDS = tuple(
    kind
    for union in (commands.Command, messages.Message, notices.Notice, events.Event)
    for kind in get_args(union)
)


def _literals(info: Any, seen: set[Any]) -> Iterator[str]:
    """The words that literal types within a type allow, and the names of fields."""
    match info:
        case inspect.LiteralType(values=values):
            yield from (value for value in values if isinstance(value, str))
        case inspect.StructType(cls=cls, fields=fields, tag=tag):
            if cls not in seen:
                seen.add(cls)
                yield from (tag,) if isinstance(tag, str) else ()
                for field in fields:
                    yield from (_FIELD_MARK + field.encode_name, _FIELD_MARK + field.name)
                    yield from _literals(field.type, seen)
        case inspect.UnionType(types=types):
            for each in types:
                yield from _literals(each, seen)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            yield from _literals(item, seen)
        case inspect.TupleType(item_types=items):
            for item in items:
                yield from _literals(item, seen)
        case inspect.DictType(value_type=value):
            yield from _literals(value, seen)
        case _:
            return


_FIELD_MARK = "\x00"
_WORDS = _words()
_FIELDS = frozenset(word[1:] for word in _WORDS if word.startswith(_FIELD_MARK))
_TYPES = frozenset(kind.__name__ for kind in _KINDS)


class Redactor:
    """Redacts envelopes of one export; pseudonyms count up in the order of meeting."""

    def __init__(self) -> None:
        self._pseudonyms: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def envelopes(self, log: Iterable[Envelope]) -> Iterator[Envelope]:
        """Redact envelopes one after another."""
        return map(self.envelope, log)

    def envelope(self, envelope: Envelope) -> Envelope:
        """Take people out of an envelope; it still decodes, but is chained to nothing."""
        about = _TIMER if envelope.type == "TimerFired" else ""
        data = codec_bytes(self._value(payload(envelope.data), "", about))
        return msgspec.structs.replace(
            envelope,
            room=self.room(envelope.room),
            actor=self._actor(envelope.actor),
            type=envelope.type
            if envelope.type in _TYPES
            else self._pseudonym("type", envelope.type),
            correlation=None
            if envelope.correlation is None
            else self._pseudonym("request", envelope.correlation),
            data=data,
            entropy=b"",
            hash=NO_HASH,
        )

    def room(self, room: str) -> str:
        """The pseudonym of a room."""
        return self._pseudonym("room", room)

    def _actor(self, actor: str) -> str:
        kind, slash, entity = actor.partition("/")
        if actor == "room" or (
            kind in ("transport", "producer", "consumer") and _DRAWN_ID.fullmatch(entity)
        ):
            return actor
        return kind + slash + self._pseudonym("id", entity) if slash else self._text(actor)

    def _value(self, value: Any, key: str, within: str) -> Any:
        match value:
            case _ if key in _APP_DATA:
                return {}
            case str():
                return self._string(value, key, within)
            case dict():
                return {
                    self._key(name, key): self._value(item, name, key or within)
                    for name, item in value.items()
                }
            case list():
                return [self._value(item, key, within) for item in value]
        return value

    def _key(self, name: str, key: str) -> str:
        known = name in _FIELDS or name in _PARAMETER_NAMES or _DRAWN_ID.fullmatch(name)
        return name if known or (key == "bound" and _DIGITS.fullmatch(name)) else self._text(name)

    def _string(self, text: str, key: str, within: str) -> str:
        if not text:
            return text
        if key in _NAMES and within not in _NAMES_OF_OURS:
            return self._pseudonym("name", text)
        if key in _ADDRESSES:
            return self._address(text)
        if key in _UFRAGS:
            return self._pseudonym("ufrag", text)
        if key == "room":
            return self.room(text)
        if _DRAWN_ID.fullmatch(text) or _SCALABILITY.fullmatch(text):
            return text
        if text.lower() in _WORDS or text in _WORDS or text in _TYPES:
            return text
        if key in ("child", "actor"):
            return self._actor(text)
        if key in ("mid", "profile-level-id") and re.fullmatch(r"\d{1,2}|[0-9a-fA-F]{6}", text):
            return text
        if key == "error" and (known := re.match(r"[A-Z][A-Za-z]+Error\b", text)):
            return known[0]
        return self._other(text, key)

    def _other(self, text: str, key: str) -> str:
        """A pseudonym that keeps the form that its field demands."""
        unknown = text == FORGOTTEN and key == "value"
        if unknown or _FINGERPRINT.fullmatch(text):
            number = int(self._pseudonym("fingerprint", text).rpartition("-")[2])
            digits = f"{number:0{64 if unknown else (len(text) + 1) // 3 * 2}X}"
            return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
        if key in ("mimeType", "mime_type"):
            return text.partition("/")[0][:5].lower() + "/" + self._text(text)
        if key in ("scalabilityMode", "scalability_mode"):
            return self._text(text).replace("-", "_")
        return self._text(text)

    def _address(self, text: str) -> str:
        host, colon, port = text.rpartition(":")
        if colon and _PORT.fullmatch(port) and (":" not in host or host.startswith("[")):
            return f"[{self.host(host.strip('[]'))}]:{port}"
        return self.host(text.strip("[]"))

    def host(self, host: str) -> str:
        """The pseudonym of an IP address or a host's name."""
        return f"2001:db8::{int(self._pseudonym('host', host).rpartition('-')[2]):x}"

    def _text(self, text: str) -> str:
        return self._pseudonym("text", text)

    def _pseudonym(self, sort: str, text: str) -> str:
        known = self._pseudonyms.get((sort, text))
        if known is None:
            number = self._counts[sort] = self._counts.get(sort, 0) + 1
            known = self._pseudonyms[sort, text] = f"{sort}-{number}"
        return known


def codec_bytes(value: Any) -> bytes:
    """A redacted payload as the log would keep it."""
    return codec.state_bytes(value)
