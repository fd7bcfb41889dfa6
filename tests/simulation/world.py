"""A world of random clients, faults and crashes around one control plane, all from one seed.

Each step something happens: a client asks for something sensible or senseless, loses its socket
or comes back; the plane says something, crashes, or loses its connection; the disk is full,
slow, or damaged; time passes; the control process is killed and another one started. Between
steps things may still be under way. `check_quiet` waits until they are done and looks at all that
must hold.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import trio
from trio.testing import MockClock

from actors.kernel.feed import Told, event_in
from actors.kernel.letter import Answered
from actors.kernel.mailbox import LETTERS_MAX
from protocol import commands
from protocol.answers import Consumed, Entered, Produced, TransportCreated
from protocol.ids import ROOM
from protocol.messages import EvictPeer
from protocol.notices import (
    BandwidthEstimated,
    ConsumerFrozen,
    ConsumerScore,
    DtlsStateChanged,
    IceStateChanged,
    IceTupleChanged,
    KeyFrameRequested,
    LayersChanged,
    OrderRefused,
    ProducerActivityChanged,
    ProducerDemandChanged,
    ProducerScore,
    ProducerStreamLearned,
)
from protocol.notifications import notification_of
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import RtpCapabilities
from replay.redecide import redecide
from replay.store.errors import LogDamaged, StoreFull, StoreWriteFailed
from tests.control.samples import REMOTE_DTLS, ROUTER, produce, room_settings
from tests.control.stage import Client, Stage

ROOMS = ("alpha", "beta")
CLIENTS_MAX = 7


class Person(Client):
    """A client with a mind: what it knows, from answers and notifications alone."""

    def __init__(self, stage: Stage, name: str, room: str) -> None:
        super().__init__(stage, name, room)
        self.connected = False
        self.gone = False
        """It left, or was told that it or its room is no more."""
        self.joined_at = 0
        self.peers: dict[str, str] = {}
        self.producers: dict[str, bool] = {}
        """Others' producers, and whether they are paused."""
        self.streaming = False
        self.transports: dict[str, str] = {}
        self.own: list[str] = []
        self.consumers: list[str] = []

    def take(self, entered: Entered, position: int) -> None:
        """Begin from what the answer to `join` shows."""
        self.joined_at = position
        self.connected = True
        self.peers = {view.id: view.name for view in entered.joined.peers}
        self.producers = {view.id: view.paused for view in entered.joined.producers}
        self.streaming = entered.joined.streaming

    def _tell(self, told: Told) -> None:
        super()._tell(told)
        data: Any = told.notification.data
        match told.notification.name:
            case "peerJoined":
                self.peers[data["peer"].id] = data["peer"].name
            case "peerLeft" if data["peer"] == self.peer:
                self.gone = True
            case "peerLeft":
                del self.peers[data["peer"]]
            case "producerAdded":
                self.producers[data["producer"].id] = data["producer"].paused
            case "producerPaused":
                self.producers[data["producer"]] = True
            case "producerResumed":
                self.producers[data["producer"]] = False
            case "producerClosed":
                self.producers.pop(data["producer"], None)
                if data["producer"] in self.own:
                    self.own.remove(data["producer"])
            case "streamingStarted":
                assert not self.streaming, "streaming started twice"
                self.streaming = True
            case "streamingStopped":
                assert self.streaming, "streaming stopped that had not started"
                self.streaming = False
            case "transportClosed":
                self.transports.pop(data["transport"], None)
            case "consumerClosed" if data["consumer"] in self.consumers:
                self.consumers.remove(data["consumer"])
            case "roomClosed":
                self.gone = True


class World:
    """All of it. `run` is the whole story."""

    def __init__(self, seed: int, clock: MockClock) -> None:
        self.random = Random(seed)
        self.clock = clock
        self.stage = Stage(
            seed=seed,
            settings=room_settings(peers_max=6, announced_peers_max=3, consumers_per_peer_max=6),
            rooms_max=2,
        )
        self.people: list[Person] = []
        self.story: list[str] = []
        self.damaged: set[str] = set()
        self.asked = 0
        self.answered = 0
        self.cut_off = 0
        """Requests of a control process that was killed."""
        self.held = False
        self.refusals: set[RefusalCode] = set()
        self._outer: trio.Nursery | None = None
        self._process: trio.Nursery | None = None
        self._process_ended = trio.Event()

    async def run(self, steps: int) -> None:
        """Live through `steps` steps, with a look at everything now and then and at the end."""
        async with trio.open_nursery() as self._outer:
            await self._boot()
            for _ in range(steps):
                await self.step()
            await self.check_quiet()
            await self.check_ending()
            self._outer.cancel_scope.cancel()

    # The control process.

    async def _boot(self) -> None:
        assert self._outer is not None
        await self._outer.start(self._live)

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        """A control process and all that is asked of it; both end together."""
        self._process_ended = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                self._process = nursery
                await self.stage.start(nursery)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._process = None
            self._process_ended.set()

    async def _crash(self) -> None:
        assert self._process is not None
        for person in self.people:
            person.lose_socket(say=False)
            person.connected = False
        self._process.cancel_scope.cancel()
        await self._process_ended.wait()
        await self.stage.kill()
        self.held = False
        if self.random.random() < 0.9:
            self.stage.plane.restart()  # which may take it over, or find a dead one
        await self._boot()

    # What happens.

    async def step(self) -> None:
        """Let one thing happen, and perhaps wait until it has had its effects."""
        happenings: list[tuple[int, Callable[[], Any]]] = [
            (8, self._someone_joins),
            (120, self._someone_asks),
            (8, self._someone_asks_nonsense),
            (3, self._someone_loses_its_socket),
            (12, self._someone_resumes),
            (40, self._plane_says),
            (2, self._plane_breaks),
            (3, self._disk_fails),
            (4, self._disk_holds),
            (6, self._time_passes),
            (1, self._someone_is_evicted),
            (2, self._crash),
        ]
        if self.random.random() < 0.001:
            happenings = [(1, self._log_is_damaged)]
        weights = [weight for weight, _ in happenings]
        (happening,) = self.random.choices([act for _, act in happenings], weights)
        self.story.append(happening.__name__)
        result = happening()
        if result is not None:
            await result
        match self.random.randrange(6):
            case 0 | 1:
                await self.stage.settle()
            case 2:
                await trio.lowlevel.checkpoint()
            case 3 if self.random.random() < 0.3:
                await self.check_quiet()
        self.check_bounds()

    def _ask(self, command: Any, room: str, then: Callable[[Any], None] | None = None) -> None:
        assert self._process is not None
        self.asked += 1
        self.story.append(f"  {type(command).__name__} in {room}")
        self._process.start_soon(self._wait_answer, command, room, then)

    async def _wait_answer(self, command: Any, room: str, then: Any) -> None:
        try:
            outcome = await self.stage.request(command, room)
        except trio.Cancelled:
            self.cut_off += 1
            raise
        self.answered += 1
        if isinstance(outcome, Refusal):
            self.refusals.add(outcome.code)
            assert outcome.code != RefusalCode.INTERNAL_ERROR, outcome
        elif then is not None:
            then(outcome.answer)

    def _someone_joins(self) -> None:
        present = [person for person in self.people if not person.gone]
        if len(present) >= CLIENTS_MAX * len(ROOMS):
            return
        person = Person(self.stage, f"person {len(self.people)}", self.random.choice(ROOMS))
        assert self._process is not None
        self.asked += 1
        self._process.start_soon(self._join, person)

    async def _join(self, person: Person) -> None:
        command = commands.Join(room=person.room, name=person.name)
        try:
            outcome = await self.stage.request(command, person.room)
        except trio.Cancelled:
            self.cut_off += 1
            raise
        self.answered += 1
        if isinstance(outcome, Refusal):
            self.refusals.add(outcome.code)
            return
        assert isinstance(outcome.answer, Entered)
        person.take(outcome.answer, outcome.position)
        self.people.append(person)
        person._socket = socket = object()
        await person._enter(outcome, socket, after=outcome.position)

    def _anyone(self, *, connected: bool) -> Person | None:
        found = [p for p in self.people if not p.gone and p.connected is connected]
        return self.random.choice(found) if found else None

    def _pick(self, *choices: Any) -> str:
        """One of the ids, or now and then another's or nobody's."""
        pool = [entry for choice in choices for entry in choice]
        if not pool or self.random.random() < 0.05:
            everyone: list[str] = [
                i for p in self.people for i in (*p.transports, *p.own, *p.consumers)
            ]
            pool = [*everyone[-20:], "nothing", "room", "transport/"]
        return str(self.random.choice(pool))

    def _someone_asks(self) -> None:  # noqa: C901 - a list of what one may ask
        person = self._anyone(connected=True)
        if person is None:
            return
        peer, pick = person.peer, self._pick
        sends = [t for t, direction in person.transports.items() if direction == "send"]
        receives = [t for t, direction in person.transports.items() if direction == "recv"]
        then: Callable[[Any], None] | None = None
        command: Any
        match 0 if not (sends and receives) else self.random.randrange(24):
            case 0:
                lacking = ["send"] * (not sends) + ["recv"] * (not receives)
                direction: Any = self.random.choice(lacking or ["send", "recv"])
                command = commands.CreateTransport(peer=peer, direction=direction)

                def then(answer: TransportCreated) -> None:
                    person.transports[answer.id] = direction

            case 1 | 2 | 3 | 22:
                command = commands.ConnectTransport(
                    peer=peer, transport=pick(person.transports), dtls_parameters=REMOTE_DTLS
                )
            case 5:
                command = commands.RestartIce(peer=peer, transport=pick(person.transports))
            case 6:
                command = commands.CloseTransport(peer=peer, transport=pick(person.transports))
                person.transports.pop(command.transport, None)
            case 4 | 7 | 8:
                command = produce(
                    peer,
                    pick(sends),
                    self.random.choice(["audio", "video"]),
                    number=self.random.randrange(8),
                    paused=self.random.random() < 0.2,
                )

                def then(answer: Produced) -> None:
                    person.own.append(answer.id)

            case 9 | 10 | 11 | 18:
                capabilities = ROUTER if self.random.random() < 0.95 else RtpCapabilities()
                command = commands.Consume(
                    peer=peer,
                    transport=pick(receives),
                    producer=pick(person.producers),
                    rtp_capabilities=capabilities,
                )

                def then(answer: Consumed) -> None:
                    person.consumers.append(answer.id)

            case 12 | 21:
                kind = self.random.choice([commands.PauseProducer, commands.ResumeProducer])
                command = kind(peer=peer, producer=pick(person.own))
            case 13:
                command = commands.CloseProducer(peer=peer, producer=pick(person.own))
            case 14 | 15 | 19 | 20:
                kinds = [
                    commands.ResumeConsumer,
                    commands.PauseConsumer,
                    commands.RequestConsumerKeyFrame,
                    commands.CloseConsumer,
                ]
                command = self.random.choice(kinds)(peer=peer, consumer=pick(person.consumers))
            case 16:
                consumer = pick(person.consumers)
                if self.random.random() < 0.3:
                    priority = self.random.randrange(1, 256)
                    command = commands.SetPriority(peer=peer, consumer=consumer, priority=priority)
                else:
                    layer = self.random.randrange(3)
                    command = commands.SetPreferredLayers(
                        peer=peer, consumer=consumer, spatial_layer=layer
                    )
            case 17:
                command = commands.QueryTransport(peer=peer, transport=pick(person.transports))
            case _:
                if self.random.random() < 0.8:
                    return
                command = commands.Leave(peer=peer)

                def then(_answer: Any) -> None:
                    person.lose_socket(say=False)
                    person.gone = True

        self._ask(command, person.room, then)

    def _someone_asks_nonsense(self) -> None:
        room = self.random.choice([*ROOMS, "nowhere"])
        peer = self._pick([p.peer for p in self.people])
        command = self.random.choice(
            [
                commands.Leave(peer="nobody"),
                commands.CreateTransport(peer="nobody", direction="send"),
                commands.CloseTransport(peer="nobody", transport=self._pick()),
                commands.PauseProducer(peer=peer, producer=self._pick()),
                commands.CloseConsumer(peer="nobody", consumer=self._pick()),
                commands.Resume(peer="nobody", position=2**53),
                commands.Join(room=room, create=False),
            ]
        )
        if not isinstance(command, commands.Join):
            self._ask(command, room)

    def _someone_loses_its_socket(self) -> None:
        person = self._anyone(connected=True)
        if person is not None:
            person.lose_socket(say=self.random.random() < 0.9)
            person.connected = False

    def _someone_resumes(self) -> None:
        person = self._anyone(connected=False)
        if person is not None:
            assert self._process is not None
            self.asked += 1
            person.connected = True
            self._process.start_soon(self._resume, person)

    async def _resume(self, person: Person) -> None:
        try:
            outcome = await person.resume()
        except trio.Cancelled:
            self.cut_off += 1
            raise
        self.answered += 1
        if not isinstance(outcome, Answered):
            person.connected = False
            self.refusals.add(outcome.code)
            if outcome.code in {RefusalCode.SESSION_NOT_FOUND, RefusalCode.ROOM_NOT_FOUND}:
                person.gone = True

    def _plane_says(self) -> None:
        plane, pick = self.stage.plane, self.random.choice
        if plane.info is None:
            return
        transports, producers, consumers = (
            list(plane.table.transports),
            list(plane.table.producers),
            list(plane.table.consumers),
        )
        notices: list[Any] = []
        if transports:
            transport = pick(transports)
            state: Any = pick(["connected", "connected", "disconnected", "failed"])
            dtls: Any = pick(["connecting", "connected", "connected", "failed", "closed"])
            profile = "AEAD_AES_128_GCM" if dtls == "connected" else None
            remote = f"192.0.2.9:{self.random.randrange(1, 9)}"
            notices += [
                IceStateChanged(transport=transport, state=state, remote=remote),
                IceTupleChanged(transport=transport, remote=remote),
                DtlsStateChanged(transport=transport, state=dtls, srtp_profile=profile),  # type: ignore[arg-type]
            ][: 3 if self.random.random() < 0.2 else 2]
            notices.append(
                BandwidthEstimated(
                    transport=transport,
                    bitrate_bps=self.random.randrange(30_000, 9_000_000),
                    limit=pick(["delay", "loss"]),
                    wanted_bps=pick([None, 1_000_000]),
                )
            )
        if producers:
            producer = pick(producers)
            notices += [
                ProducerActivityChanged(producer=producer, active=True),
                ProducerActivityChanged(producer=producer, active=pick([True, False])),
                ProducerDemandChanged(producer=producer, spatial_layer=pick([None, 0, 1])),
                ProducerScore(producer=producer, scores=(self.random.randrange(11),)),
                ProducerStreamLearned(producer=producer, encoding=0, ssrc=7, rtx_ssrc=None),
                KeyFrameRequested(producer=producer, encoding=0, requests=1),
            ]
        if consumers:
            consumer = pick(consumers)
            notices += [
                ConsumerScore(
                    consumer=consumer, score=self.random.randrange(11), producer_score=10
                ),
                ConsumerFrozen(consumer=consumer, frozen=pick([True, False])),
                LayersChanged(
                    consumer=consumer,
                    spatial_layer=pick([0, 1, None]),
                    temporal_layer=0,
                    reason=pick([None, "bandwidth"]),
                ),
            ]
        if notices and self.random.random() < 0.03:
            kind: Any = pick(["transport", "producer", "consumer"])
            entity = pick([*transports, *producers, *consumers])
            notices = [OrderRefused(kind=kind, id=entity, code="immutable_field", message="")]
        if notices:
            plane.inject(pick(notices))

    def _plane_breaks(self) -> None:
        plane = self.stage.plane
        if plane.info is None:
            plane.restart()
        elif self.random.random() < 0.5:
            plane.crash()
        else:
            plane.lose_connection()

    def _disk_fails(self) -> None:
        error = self.random.choice([StoreFull("no space"), StoreWriteFailed("an error")])
        self.stage.store.fail_next_append(error, self.random.choice([None, *ROOMS]))

    def _disk_holds(self) -> None:
        if self.held:
            self.stage.store.release_commits()
        else:
            self.stage.store.hold_commits()
        self.held = not self.held

    def _log_is_damaged(self) -> None:
        room = self.random.choice(ROOMS)
        if self.damaged or not self.stage.system.has_room(room):
            return
        self.damaged.add(room)
        self.story.append(f"  {room}")
        self.stage.store.fail_next_append(LogDamaged(room, 1, "a hash is wrong"), room)

    def _time_passes(self) -> None:
        self.clock.jump(self.random.choice([0.01, 0.6, 0.6, 1.0, 1.0, 3.0, 3.0, 12.0, 40.0]))

    def _someone_is_evicted(self) -> None:
        person = self._anyone(connected=self.random.random() < 0.7)
        if person is not None:
            self.stage.system.post(person.room, EvictPeer(peer=person.peer, reason="evicted"))

    # What must hold.

    def check_bounds(self) -> None:
        """At any moment: queues are bounded, and nothing is answered more than once."""
        for runtime in self.stage.system._rooms.values():
            for actor in runtime.actors.values():
                assert len(actor.mailbox) < LETTERS_MAX // 64, actor.address
        assert self.answered + self.cut_off <= self.asked

    async def quiet(self) -> None:
        """Let all that is under way come to its end."""
        self.held = False
        self.stage.store.release_commits()
        self.stage.store._fault = None
        if self.stage.plane.info is None:
            self.stage.plane.restart()
        for _ in range(3):
            await self.stage.settle()
            self.clock.jump(0.6)  # kept letters are tried again
            await self.stage.settle()

    async def check_quiet(self) -> None:
        """Once nothing is under way, all that is said about this system must be true."""
        self.story.append("— quiet —")
        await self.quiet()
        stage = self.stage
        for person in self.people:  # a damaged room says nothing more
            person.gone = person.gone or person.room in self.damaged
        assert self.answered + self.cut_off == self.asked, "a request without an answer"
        stage.check_links()
        stage.check_rows()
        await stage.check_rebuilt()
        if not self.damaged:
            stage.check_calm()
        for room in ROOMS:
            verdict = redecide(await stage.log_of(room))
            assert verdict.divergence is None, f"{room}: {verdict.divergence}"
            assert verdict.failures == 0
            if room not in self.damaged:
                await self._check_told(room)

    async def _check_told(self, room: str) -> None:
        """Whoever is connected has been told all that concerns it, and knows what is."""
        notifications = [
            (envelope.position, notification)
            for envelope in await self.stage.log_of(room)
            if envelope.kind == "event"
            and (notification := notification_of(event_in(envelope))) is not None
        ]
        for person in self.people:
            if person.room != room or not person.connected or person.gone:
                continue
            due = [
                position
                for position, notification in notifications
                if position > person.joined_at and notification.concerns(person.peer)
            ]
            assert [told.position for told in person.told] == due, person.name
            state = self.stage.actor(ROOM, room).state
            if person.peer not in state.peers:
                continue
            others = {
                peer: self.stage.revealed(entry.name)
                for peer, entry in state.peers.items()
                if entry.announced and peer != person.peer
            }
            assert person.peers == others
            theirs = {p: e.paused for p, e in state.producers.items() if e.peer != person.peer}
            assert person.producers == theirs
            assert person.streaming == state.streaming
            assert person.attachment == state.peers[person.peer].attachment

    async def check_ending(self) -> None:
        """When all are gone and time has passed, nothing is left anywhere."""
        for person in self.people:
            person.lose_socket()
        for _ in range(6):
            self.clock.jump(40)
            await self.stage.settle()
        system: Any = self.stage.system
        ghosts = {
            room: list(runtime.actors[ROOM].state.peers) for room, runtime in system._rooms.items()
        }
        for room, peers in ghosts.items():  # those whose loss nobody said
            for peer in peers:
                system.post(room, EvictPeer(peer=peer, reason="evicted"))
        for _ in range(3):
            await self.stage.settle()
            self.clock.jump(40)
        await self.stage.settle()
        assert not system._rooms
        assert not system._homes
        assert not system._timers._set
        table = self.stage.plane.table
        assert not table.transports
        assert not table.producers
        assert not table.consumers
