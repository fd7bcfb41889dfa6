"""What the server writes about itself: structlog, readable on a terminal, else one JSON map a line.

Every line bears what `structlog.contextvars` holds: `room`, `actor` and `correlation`. What looks
like a secret is blacked out whoever logs it, and a line that repeats is written a few times in a
while and then counted, so that no client can fill a disk. The standard library's loggers
(hypercorn, trio-websocket) end in the same place.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["auto", "console", "json"]
LEVELS = ("debug", "info", "warning", "error")

REDACTED = "(redacted)"
_SECRET_WORDS = frozenset({"token", "password", "pwd", "secret", "key", "keys", "session"})
_DEPTH_MAX = 4

REPEATS_MAX = 20
"""How often the same line is written within `REPEATS_WINDOW_S`."""
REPEATS_WINDOW_S = 10.0
_DISTINCT_MAX = 512


def configure(level: str, log_format: Format = "auto", stream: TextIO | None = None) -> None:
    """Set up logging for the whole process; lines go to `stream`, else to standard error."""
    stream = sys.stderr if stream is None else stream
    readable = stream.isatty() if log_format == "auto" else log_format == "console"
    number = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [
        redact,
        structlog.processors.format_exc_info,
        _renderer(readable=readable, colors=readable and stream.isatty()),
    ]
    structlog.configure(
        processors=[*shared, Repeats(time.monotonic), *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _add_origin],
            processors=[_drop_record, *last],
        )
    )
    handler.addFilter(_Dropping())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.INFO))
    logging.captureWarnings(capture=True)
    for noisy in ("hypercorn", "trio-websocket"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Black out values whose key says that they are secret. Numbers stay: they count things."""
    return cast("EventDict", _redacted(event, _DEPTH_MAX))


def looks_secret(key: str) -> bool:
    """Whether one of the words of `key` names a secret, in snake_case, kebab-case or camelCase."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^a-z0-9]+", spaced.lower()))


def _redacted(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        if not depth:
            return REDACTED
        return {
            key: REDACTED
            if looks_secret(str(key)) and not isinstance(item, bool | int | float | None)
            else _redacted(item, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(item, depth - 1) if depth else REDACTED for item in value]
    return value


class Repeats:
    """Processor that drops a line which was written `REPEATS_MAX` times within the window.

    The first line of the next window says how many were dropped, as `suppressed`. Lines are the
    same when event and level are. Forgets the oldest of more than 512 different lines.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Raise `structlog.DropEvent` for what is too much."""
        now_s = self._clock()
        line = (str(event.get("level")), str(event.get("event"))[:200])
        count = self._seen.get(line)
        if count is None or now_s - count[0] >= REPEATS_WINDOW_S:
            if count is not None and count[1] > REPEATS_MAX:
                event["suppressed"] = int(count[1]) - REPEATS_MAX
            self._seen[line] = [now_s, 1]
            self._seen.move_to_end(line)
            if len(self._seen) > _DISTINCT_MAX:
                self._seen.popitem(last=False)
            return event
        count[1] += 1
        if count[1] > REPEATS_MAX:
            raise structlog.DropEvent
        return event


class _Dropping(logging.Filter):
    """`Repeats` for the standard library, where a formatter cannot drop a line any more."""

    def __init__(self) -> None:
        super().__init__()
        self._repeats = Repeats(time.monotonic)

    def filter(self, record: logging.LogRecord) -> bool:
        line = {"level": record.levelname, "event": record.msg}
        try:
            record.suppressed = self._repeats(None, "", line).get("suppressed")
        except structlog.DropEvent:
            return False
        return True


def _drop_record(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out what structlog hands over for formatters that want the record itself."""
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


def _add_origin(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event["_record"]
    event["logger"] = record.name
    if record.suppressed is not None:
        event["suppressed"] = record.suppressed
    return event


def _renderer(*, readable: bool, colors: bool) -> Processor:
    if readable:
        return structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(serializer=_to_json)


def _to_json(event: Mapping[str, Any], **_options: object) -> str:
    first = {name: event[name] for name in ("timestamp", "level", "event") if name in event}
    return msgspec.json.encode({**first, **event}, enc_hook=str).decode()
