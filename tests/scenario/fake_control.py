"""A control plane in memory, for tests of the gateway: it can be told to be slow, wrong or gone."""

from __future__ import annotations

from typing import NamedTuple

import trio

from actors.kernel.feed import Told
from protocol.answers import (
    Consumed,
    Done,
    Entered,
    IceRestarted,
    Joined,
    PeerView,
    Produced,
    TransportCreated,
)
from protocol.commands import (
    Consume,
    CreateTransport,
    Join,
    Leave,
    Produce,
    RestartIce,
    Resume,
)
from protocol.messages import SocketLost
from protocol.notifications import Everyone, Notification, Only
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import RtpCapabilities, RtpCodecParameters, RtpParameters
from protocol.transport_parameters import DtlsFingerprint, DtlsParameters, IceParameters


class FakeAnswered(NamedTuple):
    answer: object
    position: int


class FakeFeed:
    def __init__(self, notify):
        self._notify = notify
        self.log: list[Told] = []
        self.subscribers = {}
        self.reading = trio.Event()
        self.reading.set()

    @property
    def position(self):
        return self.log[-1].position if self.log else 0

    def subscribe(self, peer, deliver):
        self.subscribers[peer] = deliver
        self._notify()
        return self.position

    def unsubscribe(self, peer, deliver):
        if self.subscribers.get(peer) == deliver:
            del self.subscribers[peer]
        self._notify()

    async def missed(self, peer, after, up_to):
        await self.reading.wait()
        return [
            told
            for told in self.log
            if after < told.position <= up_to and told.notification.concerns(peer)
        ]

    def publish(self, name, data, audience=None):
        told = Told(self.position + 1, Notification(name, data, audience or Everyone()))
        self.log.append(told)
        for peer, deliver in list(self.subscribers.items()):
            if told.notification.concerns(peer):
                deliver(told)
        return told.position

    def tell(self, peer, name, data):
        return self.publish(name, data, Only(peer))


class FakeControl:
    """`held` names commands that are not answered until `release`; `broken` ones that raise."""

    def __init__(self):
        self.feeds: dict[str, FakeFeed] = {}
        self.attachments: dict[tuple[str, str], int] = {}
        self.requests = []
        self.posted = []
        self.held: set[str] = set()
        self.broken: set[str] = set()
        self.refusals: dict[str, Refusal] = {}
        self.changed = trio.Event()
        self._release = trio.Event()
        self._ids = 0

    def release(self):
        self.held.clear()
        self._release.set()

    async def wait_until(self, condition, within_s=100):
        with trio.fail_after(within_s):
            while not condition():
                await self.changed.wait()

    def _notify(self):
        self.changed.set()
        self.changed = trio.Event()

    def feed(self, room):
        return self.feeds.get(room)

    def post(self, room, message):
        self.posted.append((room, message))
        if isinstance(message, SocketLost):
            key = room, message.peer
            assert self.attachments[key] >= message.attachment
        self._notify()

    async def request(self, room, command, *, correlation):
        self.requests.append((room, command, correlation))
        self._notify()
        name = type(command).__name__
        if name in self.broken:
            raise RuntimeError("broken on purpose")
        if name in self.refusals:
            return self.refusals[name]
        if name in self.held:
            await self._release.wait()
        outcome = self._answer(room, command)
        self._notify()
        return outcome if isinstance(outcome, Refusal) else FakeAnswered(*outcome)

    def _answer(self, room, command):
        self._ids += 1
        match command:
            case Join():
                feed = self.feeds.setdefault(room, FakeFeed(self._notify))
                peer = f"p_{self._ids}"
                self.attachments[room, peer] = 1
                position = feed.publish(
                    "peerJoined",
                    {"peer": PeerView(id=peer, name=command.name)},
                    Everyone(but=peer),
                )
                return self._entered(room, peer), position
            case Resume(peer=peer):
                if (room, peer) not in self.attachments:
                    return Refusal(RefusalCode.SESSION_NOT_FOUND, "the session is over")
                self.attachments[room, peer] += 1
                return self._entered(room, peer), self.feeds[room].position
            case Leave(peer=peer):
                feed = self.feeds[room]
                feed.publish("peerLeft", {"peer": peer, "reason": "left"}, Everyone(but=peer))
                return Done(), feed.position
            case CreateTransport():
                return TransportCreated(
                    id=f"t_{self._ids}",
                    ice_parameters=IceParameters(username_fragment="ufrag"),
                    ice_candidates=(),
                    dtls_parameters=DtlsParameters(
                        fingerprints=(
                            DtlsFingerprint(algorithm="sha-256", value=":".join(["AB"] * 32)),
                        )
                    ),
                ), self.feeds[room].position
            case RestartIce():
                ice = IceParameters(username_fragment="other")
                return IceRestarted(ice_parameters=ice), self.feeds[room].position
            case Produce():
                return Produced(id=f"d_{self._ids}"), self.feeds[room].position
            case Consume():
                codec = RtpCodecParameters(
                    mime_type="audio/opus", payload_type=100, clock_rate=48000, channels=2
                )
                return Consumed(
                    id=f"c_{self._ids}",
                    producer=command.producer,
                    kind="audio",
                    rtp_parameters=RtpParameters(codecs=(codec,)),
                    type="simple",
                ), self.feeds[room].position
            case _:
                return Done(), self.feeds[room].position

    def _entered(self, room, peer):
        return Entered(
            joined=Joined(
                peer=peer,
                router_rtp_capabilities=RtpCapabilities(),
                peers=(),
                producers=(),
                streaming=False,
            ),
            attachment=self.attachments[room, peer],
        )
