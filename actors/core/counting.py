"""How a big room's peers hear how many they are.

Telling each of a thousand viewers of each other one is a million notifications that nobody needs.
So from `announced_peers_max` peers on, who comes is not announced by name unless it publishes, and
the room tells numbers: to those who publish soon, to everyone now and then, and only where the
number is another than the one that was told. docs/signaling.md describes it to clients.
"""

from __future__ import annotations

from actors.core.decider import NOTHING, Context, Decision, is_due
from actors.core.room_state import RoomState
from protocol import events

COUNT = "count"
"""Name of the timer."""

PUBLISHERS_EVERY_NS = 1_000_000_000
EVERYONE_EVERY_NS = 10_000_000_000


def counts_at_ns(state: RoomState) -> int | None:
    """When a number is to be told next, which may be past; None while all know it."""
    peers = len(state.peers)
    due = []
    if state.producers and state.counted.peers != peers:
        due.append(state.counted.at_ns + PUBLISHERS_EVERY_NS)
    if peers and state.counted_for_all.peers != peers:
        due.append(_everyone_at_ns(state))
    return min(due, default=None)


def count(state: RoomState, context: Context) -> Decision:
    """Tell the number, to all whose turn it is."""
    if not is_due(counts_at_ns(state), context):
        return NOTHING
    publishers: tuple[str, ...] | None = None
    if _everyone_at_ns(state) > context.at_ns:
        publishers = tuple(dict.fromkeys(entry.peer for entry in state.producers.values()))
    counted = events.PeersCounted(
        peers=len(state.peers), at_ns=context.at_ns, publishers=publishers
    )
    return Decision((counted,))


def _everyone_at_ns(state: RoomState) -> int:
    return state.counted_for_all.at_ns + EVERYONE_EVERY_NS
