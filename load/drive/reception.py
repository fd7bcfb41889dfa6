"""A watched stream of a script, and what came of it."""

from __future__ import annotations

import functools
from collections.abc import Callable

import trio

from load.receiver import StreamReceiver
from load.webrtc import TransportFailed, WebRtcTransport
from protocol.answers import Consumed

_FOREVER_S = float("inf")


class Reception:
    """The receiver of one consumer. It counts as watched while its viewer has it resumed."""

    def __init__(
        self,
        transport: WebRtcTransport,
        consumed: Consumed,
        *,
        first_packet: Callable[[], None],
        first_keyframe: Callable[[], None],
    ) -> None:
        self.receiver = StreamReceiver(transport, consumed.rtp_parameters)
        self.kind = consumed.kind
        self._first_packet = first_packet
        self._first_keyframe = first_keyframe
        self._transport = transport
        self._scope = trio.CancelScope()
        self._watched_s = 0.0
        self._resumed_s: float | None = None

    @property
    def watched_s(self) -> float:
        """Seconds in which it was resumed."""
        running = 0.0 if self._resumed_s is None else trio.current_time() - self._resumed_s
        return self._watched_s + running

    @property
    def lost(self) -> int:
        """Packets that never came."""
        receiver = self.receiver
        if receiver.highest is None or receiver.first_sequence_number is None:
            return 0
        return max(0, receiver.highest - receiver.first_sequence_number + 1 - receiver.packets)

    def watch(self, *, resumed: bool) -> None:
        """Its viewer resumed or paused it."""
        self._watched_s = self.watched_s
        self._resumed_s = trio.current_time() if resumed else None

    def close(self) -> None:
        """It ended."""
        self.watch(resumed=False)
        self._scope.cancel()

    async def run(self) -> None:
        """Send feedback as long as the transport is connected, until `close`."""
        with self._scope:
            try:
                await self._transport.wait_connected(timeout_s=_FOREVER_S)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._note_first)
                    nursery.start_soon(functools.partial(_feed_back, self.receiver))
            except TransportFailed:
                return

    async def _note_first(self) -> None:
        await self.receiver.wait_packets(1, timeout_s=_FOREVER_S)
        self._first_packet()
        if self.kind == "video":
            await self.receiver.wait_keyframes(1, timeout_s=_FOREVER_S)
            self._first_keyframe()


async def _feed_back(receiver: StreamReceiver) -> None:
    try:
        await receiver.run()
    except TransportFailed:
        return
