"""Sessions for tests and measurements: rooms run by their deciders alone, as logs.

    session = Session("lobby")
    host = session.join("Ann")
    video = session.produce(host)

`drafts` is the log as an actor would append it: message, its events, then what it caused.
Everything is drawn from a seed, so the same calls give the same log.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from protocol import codec
from protocol.commands import (
    ConnectTransport,
    Consume,
    CreateTransport,
    Join,
    Leave,
    Produce,
    ResumeConsumer,
)
from protocol.envelope import Draft, Envelope, genesis, seal
from protocol.ids import (
    ROOM,
    Address,
    consumer_address,
    producer_address,
    transport_address,
)
from protocol.messages import CloseRoom, OpenRoom, RoomSettings, TimerFired, TransportSettings
from protocol.negotiation import router_capabilities
from protocol.notices import DtlsStateChanged, IceStateChanged, ProducerActivityChanged
from protocol.orders import WorkerInfo
from protocol.rtp_parameters import RtpParameters
from protocol.transport_parameters import DtlsFingerprint, DtlsParameters
from replay.rehearsal import Rehearsal, Step
from replay.store import SqliteStore

S = 1_000_000_000
START_NS = 1_772_366_400_000_000_000  # 2026-03-01 12:00:00 UTC
ROUTER = router_capabilities()
FINGERPRINT = DtlsFingerprint(algorithm="sha-256", value=":".join(["AB"] * 32))
WORKERS = (WorkerInfo(worker=0, host="127.0.0.1", port=20000),)


def room_settings(**more: Any) -> RoomSettings:
    transport = TransportSettings(announced_ips=("192.0.2.1",), fingerprints=(FINGERPRINT,))
    fields: dict[str, Any] = {"router_rtp_capabilities": ROUTER, "transport": transport}
    return RoomSettings(**(fields | more))


def rtp_parameters(kind: str, number: int) -> RtpParameters:
    opus = {"mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2}
    vp8 = {
        "mimeType": "video/VP8",
        "payloadType": 96,
        "clockRate": 90000,
        "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}],
    }
    rtx = {
        "mimeType": "video/rtx",
        "payloadType": 97,
        "clockRate": 90000,
        "parameters": {"apt": 96},
    }
    raw = {
        "mid": str(number),
        "codecs": [opus] if kind == "audio" else [vp8, rtx],
        "headerExtensions": [{"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 4}],
        "encodings": [{"ssrc": 1000 + 2 * number}],
        "rtcp": {"cname": "someone"},
    }
    return msgspec.convert(raw, RtpParameters)


class Session:
    """A room that is open. Methods act as clients and as the plane do, `after_s` later."""

    def __init__(
        self,
        room: str = "lobby",
        *,
        seed: int = 0,
        at_ns: int = START_NS,
        settings: RoomSettings | None = None,
    ) -> None:
        self.room = room
        self.at_ns = at_ns
        self.drafts: list[Draft] = []
        self._random = Random(seed)
        self._rehearsal = Rehearsal(lambda: self._random.randbytes(16))
        self._requests = 0
        self._positions: dict[int, int] = {}
        self._timers: dict[tuple[Address, str], tuple[int, int]] = {}
        """When each timer fires, and the position of the message that set it."""
        self._numbers = 0
        self._settings = room_settings() if settings is None else settings
        self.open()

    @property
    def position(self) -> int:
        return len(self.drafts)

    @property
    def states(self) -> Any:
        return self._rehearsal.states

    def open(self) -> None:
        """Open the room, again if it was closed."""
        self._rehearsal.states.clear()
        self.tell(ROOM, OpenRoom(settings=self._settings, workers=WORKERS))

    def wait(self, seconds: float) -> None:
        """Let time pass, and fire the timers that come due."""
        until = self.at_ns + round(seconds * S)
        while (due := self._rehearsal.deadlines()) and due[0][0] <= until:
            self.at_ns = max(self.at_ns, due[0][0])
            _, address, name = due[0]
            self._run(address, TimerFired(name=name), None, self._timers[address, name][1])
        self.at_ns = until

    def tell(self, address: Address, message: Any) -> list[Step]:
        """Give an actor a message of the house or the plane."""
        return self._run(address, message, None)

    def ask(self, command: Any) -> list[Step]:
        """Give an actor a client's request."""
        self._requests += 1
        return self._run(command.target, command, f"request-{self._requests}")

    def _run(
        self, address: Address, message: Any, correlation: str | None, cause: int | None = None
    ) -> list[Step]:
        self.at_ns += 1_000_000
        steps = self._rehearsal.run(address, message, self.at_ns)
        for step in steps:
            self._record(step, correlation, cause)
        timers = {(address, name): due_ns for due_ns, address, name in self._rehearsal.deadlines()}
        self._timers = {
            timer: self._timers[timer]
            if self._timers.get(timer, (None,))[0] == due_ns
            else (due_ns, self._positions[steps[0].number])
            for timer, due_ns in timers.items()
        }
        return steps

    def _record(self, step: Step, correlation: str | None, cause: int | None) -> None:
        if step.source is not None:
            cause = self._positions[step.source]
        position = self.position + 1
        self._positions[step.number] = position
        self._note(step, "message", step.message, cause, correlation, step.entropy)
        for event in step.events:
            self._note(step, "event", event, position, correlation, b"")

    def _note(
        self,
        step: Step,
        kind: Any,
        value: Any,
        cause: int | None,
        correlation: str | None,
        entropy: bytes,
    ) -> None:
        draft = Draft(
            at_ns=step.at_ns,
            actor=step.address,
            kind=kind,
            type=codec.type_of(value),
            version=codec.version_of(codec.type_of(value)),
            cause=cause,
            correlation=correlation,
            data=codec.encode(value),
            entropy=entropy,
        )
        self.drafts.append(draft)

    # What clients do.

    def join(self, name: str = "") -> str:
        return str(self.ask(Join(room=self.room, name=name))[0].events[0].peer)

    def transport(self, peer: str, direction: Any = "send", *, connect: bool = True) -> str:
        made = self.ask(CreateTransport(peer=peer, direction=direction))
        transport = str(made[0].events[0].transport)
        if connect:
            self.connect(peer, transport)
        return transport

    def connect(self, peer: str, transport: str) -> None:
        parameters = DtlsParameters(fingerprints=(FINGERPRINT,), role="client")
        self.ask(ConnectTransport(peer=peer, transport=transport, dtls_parameters=parameters))
        address = transport_address(transport)
        remote = f"198.51.100.{self._random.randrange(1, 255)}:40000"
        self.tell(address, IceStateChanged(transport=transport, state="connected", remote=remote))
        done = DtlsStateChanged(
            transport=transport, state="connected", srtp_profile="AEAD_AES_128_GCM"
        )
        self.tell(address, done)

    def produce(self, peer: str, transport: str, kind: Any = "video", **more: Any) -> str:
        self._numbers += 1
        parameters = rtp_parameters(kind, self._numbers)
        asked = Produce(
            peer=peer, transport=transport, kind=kind, rtp_parameters=parameters, **more
        )
        producer = str(self.ask(asked)[0].events[0].producer)
        active = ProducerActivityChanged(producer=producer, active=True)
        self.tell(producer_address(producer), active)
        return producer

    def consume(self, peer: str, transport: str, producer: str) -> str:
        asked = Consume(peer=peer, transport=transport, producer=producer, rtp_capabilities=ROUTER)
        consumer = str(self.ask(asked)[0].events[0].consumer)
        self.ask(ResumeConsumer(peer=peer, consumer=consumer))
        return consumer

    def leave(self, peer: str) -> None:
        self.ask(Leave(peer=peer))

    def close(self, reason: str = "server_stopped") -> None:
        self.tell(ROOM, CloseRoom(reason=reason))

    def to_producer(self, producer: str, message: Any) -> list[Step]:
        return self.tell(producer_address(producer), message)

    def to_consumer(self, consumer: str, message: Any) -> list[Step]:
        return self.tell(consumer_address(consumer), message)

    # The log.

    def envelopes(self) -> list[Envelope]:
        """The log, sealed."""
        sealed = []
        previous = genesis(self.room)
        for position, draft in enumerate(self.drafts, 1):
            envelope = seal(previous, self.room, position, draft)
            previous = envelope.hash
            sealed.append(envelope)
        return sealed


def call(room: str = "lobby", *, viewers: int = 2, seed: int = 0) -> Session:
    """A host with sound and picture, and viewers who watch both; all still there."""
    session = Session(room, seed=seed)
    host = session.join("Ann")
    sending = session.transport(host)
    producers = [session.produce(host, sending, kind) for kind in ("audio", "video")]
    for n in range(viewers):
        session.wait(0.5)
        viewer = session.join(f"viewer {n}")
        receiving = session.transport(viewer, "recv")
        for producer in producers:
            session.consume(viewer, receiving, producer)
    return session


def store(directory: Path, *sessions: Session) -> Path:
    """Write sessions into an event log; return its directory."""

    async def write() -> None:
        async with await SqliteStore.open(directory) as log:
            for session in sessions:
                after = log.next_position(session.room) - 1
                for begin in range(after, len(session.drafts), 1000):
                    receipt = log.append_nowait(session.room, session.drafts[begin : begin + 1000])
                    await receipt.wait_durable()

    trio.run(write)
    return directory
