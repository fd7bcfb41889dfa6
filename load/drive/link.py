"""A driven client's signaling socket, which it may lose and open again."""

from __future__ import annotations

from collections import Counter

import trio
from trio_websocket import ConnectionClosed, DisconnectionTimeout, HandshakeError

from load.client import SignalingClient, SignalingClosed, connect
from load.drive.target import CONNECT_TIMEOUT_S, Target, reason_of


class LinkFailed(Exception):
    """The socket could not be opened; the message says why."""


class Link:
    """The socket of a driven client; notifications are counted by kind as they come."""

    def __init__(self, target: Target, nursery: trio.Nursery) -> None:
        self.client: SignalingClient | None = None
        self.heard: Counter[str] = Counter()
        self.position = 0
        """The highest position heard on any of its sockets."""
        self.broken: SignalingClosed | None = None
        """Why the server closed the current socket, if it did."""
        self._target = target
        self._nursery = nursery

    async def open(self) -> SignalingClient:
        """Open a socket; the server closes the one before. Raises `LinkFailed`."""
        self.broken = None
        outcome = await self._nursery.start(self._hold)
        if isinstance(outcome, LinkFailed):
            raise outcome
        assert isinstance(outcome, SignalingClient)
        self.client = outcome
        return outcome

    async def lose(self) -> None:
        """Break the socket without a goodbye."""
        client, self.client = self.client, None
        if client is not None:
            await client.abandon()

    async def _hold(self, task_status: trio.TaskStatus[SignalingClient | LinkFailed]) -> None:
        started = False
        try:
            async with connect(
                self._target.signaling_url,
                ssl_context=self._target.ssl_context,
                timeout_s=CONNECT_TIMEOUT_S,
            ) as client:
                started = True
                task_status.started(client)
                await self._listen(client)
        except SignalingClosed as error:
            if not started:
                task_status.started(LinkFailed(f"the server closed the socket: {error}"))
        except (
            HandshakeError, OSError, DisconnectionTimeout, ConnectionClosed, trio.TooSlowError,
            trio.BrokenResourceError, trio.ClosedResourceError,
        ) as error:  # fmt: skip
            if not started:
                task_status.started(LinkFailed(f"no connection: {reason_of(error)}"))

    async def _listen(self, client: SignalingClient) -> None:
        """Count what the client is told, until its socket closes."""
        try:
            while True:
                notified = await client.next_notification()
                self.heard[notified.event] += notified.event != "welcome"
                self.position = max(self.position, notified.position or 0)
        except SignalingClosed as error:
            if client is self.client:
                self.broken = error
