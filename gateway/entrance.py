"""Where peers come into rooms: no peer is left behind whose socket went away in the doorway."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from gateway.control import Answered, Control
from protocol.answers import Entered
from protocol.commands import Command
from protocol.messages import SocketLost
from protocol.refusals import Refusal, RefusalCode

_log = structlog.get_logger()


class Entrance:
    """Asks to join and resume on behalf of sockets.

    The request goes on when the socket that waits for it is lost, for the room may have let the
    peer in already; then it is told that the peer has no socket.
    """

    def __init__(self, control: Control, nursery: trio.Nursery) -> None:
        self._control = control
        self._nursery = nursery

    async def enter(self, room: str, command: Command, *, correlation: str) -> Answered | Refusal:
        """Request `command`, a `Join` or a `Resume`. The caller attaches before it waits again."""
        visit = _Visit()
        self._nursery.start_soon(self._ask, visit, room, command, correlation)
        try:
            await visit.answered.wait()
        except trio.Cancelled:
            visit.abandoned = True
            if visit.outcome is not None:
                self._give_up(room, visit.outcome)
            raise
        assert visit.outcome is not None
        return visit.outcome

    async def _ask(self, visit: _Visit, room: str, command: Command, correlation: str) -> None:
        try:
            visit.outcome = await self._control.request(room, command, correlation=correlation)
        except Exception:  # noqa: BLE001 - a fault of ours must not end the server
            _log.exception("request_failed", room=room, method=type(command).__name__)
            visit.outcome = Refusal(RefusalCode.INTERNAL_ERROR, "the server made a mistake")
        if visit.abandoned:
            self._give_up(room, visit.outcome)
        visit.answered.set()

    def _give_up(self, room: str, outcome: Answered | Refusal) -> None:
        if not isinstance(outcome, Refusal) and isinstance(outcome.answer, Entered):
            entered = outcome.answer
            lost = SocketLost(peer=entered.joined.peer, attachment=entered.attachment)
            self._control.post(room, lost)


class _Visit:
    """One request under way."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.outcome: Answered | Refusal | None = None
        self.abandoned = False


class Doorbook:
    """Which socket each peer of each room has now: the one of its highest attachment."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, str], tuple[int, Callable[[], None]]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def enter(self, room: str, peer: str, attachment: int, take_over: Callable[[], None]) -> bool:
        """Note a socket, and call the `take_over` of the one that it replaces.

        False when a later attachment is there already: then this one is the replaced.
        """
        holder = self._holders.get((room, peer))
        if holder is not None:
            if holder[0] > attachment:
                return False
            holder[1]()
        self._holders[room, peer] = (attachment, take_over)
        return True

    def leave(self, room: str, peer: str, attachment: int) -> None:
        """Forget a socket, unless another one took its place."""
        holder = self._holders.get((room, peer))
        if holder is not None and holder[0] == attachment:
            del self._holders[room, peer]
