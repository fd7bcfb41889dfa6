"""When the flight recorder is frozen: at faults that actors notice, and when an operator asks.

Faults come in storms, and one recording shows what the next would: so a transport is recorded at
most once in `SPACING_NS`, and a room at most `PER_MINUTE_MAX` times a minute. What is beyond that
leaves its message in the log, and no event. An operator is not bound by faults that came before,
only by `OPERATOR_SPACING_NS` and by `TRANSPORTS_MAX` transports at a time.
"""

from __future__ import annotations

from actors.core.decider import NOTHING, Act, Context, Decision
from actors.core.room_state import RECORDINGS_KEPT_NS, RoomState
from protocol import events
from protocol.messages import CaptureRoom, FaultNoticed, RecordingReason
from protocol.orders import FreezeRecorder

SPACING_NS = 30_000_000_000
PER_MINUTE_MAX = 6
OPERATOR_SPACING_NS = 1_000_000_000
TRANSPORTS_MAX = 64


def record(state: RoomState, message: FaultNoticed | CaptureRoom, context: Context) -> Decision:
    """Freeze recorders, unless there was enough of it."""
    match message:
        case FaultNoticed(transport=transport, reason=reason):
            ages = [context.at_ns - at_ns for at_ns in state.recordings.values()]
            enough = sum(age < RECORDINGS_KEPT_NS for age in ages) >= PER_MINUTE_MAX
            if enough or not _is_due(state, transport, SPACING_NS, context):
                return NOTHING
            return _record(state, (transport,), reason, context)
        case CaptureRoom(transport=transport):
            wanted = state.transports if transport is None else (transport,)
            due = [one for one in wanted if _is_due(state, one, OPERATOR_SPACING_NS, context)]
            return _record(state, tuple(due[:TRANSPORTS_MAX]), "operator", context)


def _is_due(state: RoomState, transport: str, spacing_ns: int, context: Context) -> bool:
    last_ns = state.recordings.get(transport)
    spaced = last_ns is None or context.at_ns - last_ns >= spacing_ns
    return transport in state.transports and spaced


def _record(
    state: RoomState, transports: tuple[str, ...], reason: RecordingReason, context: Context
) -> Decision:
    return Decision(
        tuple(
            events.RecordingRequested(
                transport=transport,
                peer=state.transports[transport].peer,
                reason=reason,
                at_ns=context.at_ns,
            )
            for transport in transports
        ),
        tuple(
            Act(FreezeRecorder(transport=transport, reason=reason, position=place))
            for place, transport in enumerate(transports, 1)
        ),
    )
