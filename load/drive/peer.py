"""One driven client: it goes through the steps of a recorded one, and notes what went otherwise.

Its steps come in their order: each at its time, or when the one before it was answered, whichever
is later. A step about a thing that could not be made is left out: the difference is where the
making of the thing failed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import trio

from load.client import RequestRefused, SignalingClosed
from load.drive.clock import ScriptClock
from load.drive.link import Link, LinkFailed
from load.drive.publication import Publication, codec_for, stream_parameters
from load.drive.reception import Reception
from load.drive.stage import NotMade, Stage, makes
from load.drive.target import DriveFailed, Target
from load.parameters import CodecNotOffered, viewer_capabilities
from load.webrtc import TransportFailed, WebRtcTransport
from protocol import script
from protocol.answers import Consumed, IceRestarted, Joined, Produced, TransportCreated
from protocol.rtp_parameters import RtpCapabilities
from protocol.script import Figures, ScriptedPeer, Step

PART_S = 3.0
"""What a client may take to leave when the drive ends."""


class StepFailed(Exception):
    """A step came to nothing; the message says how."""


class _Absent(Exception):
    """The client is not in the room, or lacks what the step is about."""


class DrivenPeer:
    """A client of one set. `figures` say what it did and met."""

    def __init__(self, part: ScriptedPeer, stage: Stage, target: Target) -> None:
        self.part = part
        self.figures = Figures(refusals={}, notifications={})
        self.steps_left_out = 0
        self.in_room = False
        self._stage = stage
        self._clock: ScriptClock = stage.clock
        self._target = target
        self._router = RtpCapabilities()
        self._session = ""
        self._joined_ns = 0
        self._joined_s = 0.0
        self._mids = 0
        self._transports: dict[str, WebRtcTransport] = {}
        self._publications: dict[str, Publication] = {}
        self._receptions: dict[str, Reception] = {}
        self._link: Link | None = None
        self._nursery: trio.Nursery | None = None

    async def run(self, played: Callable[[], None]) -> None:
        """Play the part to the end of the script; `played` is told of each step."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._link = Link(self._target, nursery)
            try:
                for step in self.part.steps:
                    await self._clock.wait_until(step.at_ns)
                    await self._play(step)
                    played()
                await self._clock.wait_until(self._stage.ends_at_ns)
                await self._stage.finish()
            finally:
                self._note_outcome()
                with trio.CancelScope(shield=True), trio.move_on_after(PART_S):
                    await self._part()
                nursery.cancel_scope.cancel()

    async def _play(self, step: Step) -> None:
        made = makes(step.action)
        try:
            await self._stage.wait_turn(step)
            await self._perform(step)
        except RequestRefused as refusal:
            self._refused(step, refusal)
        except (_Absent, NotMade):
            self.steps_left_out += 1
        except (StepFailed, LinkFailed, CodecNotOffered, TransportFailed) as failure:
            self._differs(step, f"failed: {failure}")
        except SignalingClosed as closed:
            self.in_room = False
            self._differs(step, f"failed: the server closed the socket: {closed}")
        except trio.TooSlowError:
            self._differs(step, "got no answer in time")
        else:
            if step.refused is not None:
                self._differs(step, f"was refused ({step.refused}) and is now answered")
        finally:
            if made is not None:
                self._stage.settle(made)
            self._stage.done(step)

    def _refused(self, step: Step, refusal: RequestRefused) -> None:
        if step.tolerant:
            return
        word = f"{script.method_of(step.action)} {refusal.code}"
        self.figures.refusals[word] = self.figures.refusals.get(word, 0) + 1
        if refusal.code == step.refused:
            return
        if step.refused is None:
            if refusal.code == "unauthorized":
                raise DriveFailed(f"the target refuses {self._stage.room}: {refusal}")
            self._differs(step, f"is now refused: {_words(refusal)}")
        else:
            self._differs(step, f"was refused ({step.refused}) and now is: {_words(refusal)}")

    def _differs(self, step: Step, what: str) -> None:
        self._stage.differs(self.part, step, what)

    # Steps.

    async def _perform(self, step: Step) -> None:
        match step.action:
            case script.Enter() as action:
                await self._enter(action)
            case script.Return():
                await self._return()
            case script.Leave():
                await self._leave()
            case script.LoseSocket():
                self._must_be_in_room()
                await self._the_link.lose()
            case script.Flow(producer=label, flows=flows):
                self._mine(self._publications, label).flow(flows=flows)
            case script.OpenTransport() as action:
                await self._open_transport(action)
            case script.ConnectTransport() as action:
                await self._connect_transport(action)
            case script.Publish() as action:
                await self._publish(action)
            case script.Watch() as action:
                await self._watch(action)
            case script.Ask() as action:
                await self._ask(action)
            case script.HangUp(transport=label):
                await self._mine(self._transports, label).close()
            case script.LoseNetwork(transport=label):
                self._mine(self._transports, label).offline = True
            case script.FindNetwork(transport=label):
                self._mine(self._transports, label).offline = False
            case script.MoveNetwork(transport=label):
                await self._mine(self._transports, label).rebind()

    async def _enter(self, action: script.Enter) -> None:
        stage = self._stage
        if not stage.begins_with(self.part):
            await stage.wait_begun()
        # Who knocks first opens the room; the others must not come before.
        try:
            client = await self._the_link.open()
            self._joined_s, self._joined_ns = trio.current_time(), self._clock.now_ns()
            token = self._target.token_for(
                stage.room, action.name, action.publish, action.subscribe
            )
            joined = await client.join(stage.room, name=action.name or None, token=token)
            if stage.begins_with(self.part) and joined.peers:
                raise DriveFailed(
                    f"room {stage.room} is in use on the target: choose another name with --room"
                )
        finally:
            if stage.begins_with(self.part):
                stage.begin()
        self._come_in(joined)
        self.figures.joins += 1

    async def _return(self) -> None:
        if not self._session:
            raise _Absent
        link = self._the_link
        client = await link.open()
        joined = await client.resume(self._session, link.position)
        self._come_in(joined)
        self.figures.returns += 1

    def _come_in(self, joined: Joined) -> None:
        self.in_room = True
        self._session = joined.session
        self._router = joined.router_rtp_capabilities
        self._the_link.position = max(self._the_link.position, joined.position)

    async def _leave(self) -> None:
        await self._request("leave", {})
        self.in_room = False
        for transport in self._transports.values():
            await transport.close()

    async def _open_transport(self, action: script.OpenTransport) -> None:
        answer = await self._request("createTransport", {"direction": action.direction})
        created = msgspec.convert(answer, TransportCreated)
        self._transports[action.transport] = WebRtcTransport(created, context=self._target.dtls)
        self.figures.transports += 1
        self._stage.settle(action.transport, created.id)

    async def _connect_transport(self, action: script.ConnectTransport) -> None:
        transport = self._transports.get(action.transport)
        known = await self._stage.id_of(action.transport)
        own = None if transport is None else transport.dtls_parameters
        said = action.dtls_parameters or own
        if said is None:
            raise _Absent
        data = {"transport": known, "dtlsParameters": msgspec.to_builtins(said)}
        await self._request("connectTransport", data)
        if transport is not None and action.dtls_parameters is None:
            self._the_nursery.start_soon(transport.run)
            self._the_nursery.start_soon(self._note_connected, transport)

    async def _publish(self, action: script.Publish) -> None:
        known = await self._stage.id_of(action.transport)
        codec = codec_for(action.kind, action.mime_type)
        parameters = action.rtp_parameters
        if parameters is None:
            self._mids += 1
            mid = action.mid or f"s{self._mids}"
            parameters = stream_parameters(self._router, codec, mid, action.encodings)
        data = {
            "transport": known,
            "kind": action.kind,
            "rtpParameters": msgspec.to_builtins(parameters),
            "appData": action.app_data,
            "paused": action.paused,
        }
        answer = msgspec.convert(await self._request("produce", data), Produced)
        self.figures.producers += 1
        self._stage.settle(action.producer, answer.id)
        transport = self._transports.get(action.transport)
        if transport is not None and action.rtp_parameters is None:
            publication = Publication(transport, parameters, codec, action.encodings)
            self._publications[action.producer] = publication
            self._the_nursery.start_soon(publication.run)

    async def _watch(self, action: script.Watch) -> None:
        known = await self._stage.id_of(action.transport)
        producer = await self._stage.id_of(action.producer)
        capabilities = action.rtp_capabilities
        if capabilities is None:
            capabilities = _reduced(viewer_capabilities(self._router), action.mime_types)
        data = {
            "transport": known,
            "producer": producer,
            "rtpCapabilities": msgspec.to_builtins(capabilities),
            "priority": action.priority,
        }
        consumed = msgspec.convert(await self._request("consume", data), Consumed)
        self.figures.consumers += 1
        self._stage.settle(action.consumer, consumed.id)
        transport = self._transports.get(action.transport)
        if transport is not None:
            reception = Reception(
                transport,
                consumed,
                first_packet=self._note_first_packet,
                first_keyframe=self._note_first_keyframe,
            )
            self._receptions[action.consumer] = reception
            self._the_nursery.start_soon(reception.run)

    async def _ask(self, action: script.Ask) -> None:
        known = await self._stage.id_of(action.label)
        answer = await self._request(action.method, {action.thing: known, **action.data})
        match action.method:
            case "resumeConsumer" | "pauseConsumer" if action.label in self._receptions:
                resumed = action.method == "resumeConsumer"
                self._receptions[action.label].watch(resumed=resumed)
            case "closeConsumer" if action.label in self._receptions:
                self._receptions[action.label].close()
            case "closeProducer" if action.label in self._publications:
                self._publications[action.label].close()
            case "closeTransport" if action.label in self._transports:
                await self._transports[action.label].close()
            case "restartIce" if action.label in self._transports:
                ice = msgspec.convert(answer, IceRestarted).ice_parameters
                self._transports[action.label].restart_ice(ice)
            case _:
                pass

    async def _request(self, method: str, data: Mapping[str, Any]) -> dict[str, Any]:
        self._must_be_in_room()
        client = self._the_link.client
        if client is None:
            raise _Absent
        return await client.request(method, data)

    async def _part(self) -> None:
        """Leave the room, if the client is in it, and close what it has."""
        client = self._the_link.client
        if self.in_room and client is not None:
            self.in_room = False
            with contextlib.suppress(RequestRefused, SignalingClosed, trio.TooSlowError):
                await client.leave()
        for transport in self._transports.values():
            await transport.close()

    # What is noted.

    async def _note_connected(self, transport: WebRtcTransport) -> None:
        try:
            await transport.wait_connected(timeout_s=float("inf"))
        except TransportFailed:
            return
        if self.figures.connected_ms is None:
            self.figures.connected_ms = self._since_join_ms()

    def _note_first_packet(self) -> None:
        if self.figures.first_packet_ms is None:
            self.figures.first_packet_ms = self._since_join_ms()

    def _note_first_keyframe(self) -> None:
        if self.figures.first_keyframe_ms is None:
            self.figures.first_keyframe_ms = self._since_join_ms()

    def _note_outcome(self) -> None:
        self.figures.notifications = dict(self._the_link.heard)
        receptions = list(self._receptions.values())
        watched_s = sum(one.watched_s for one in receptions)
        if receptions:
            self.figures.packets = sum(one.receiver.packets for one in receptions)
            self.figures.packets_lost = sum(one.lost for one in receptions)
            bits = 8 * sum(one.receiver.payload_bytes for one in receptions)
            self.figures.received_bps = bits / watched_s if watched_s > 0 else None

    def _since_join_ms(self) -> float:
        return (trio.current_time() - self._joined_s) * 1e3

    # Small things.

    def _must_be_in_room(self) -> None:
        link = self._the_link
        if link.broken is not None and self.in_room:
            broken, link.broken, self.in_room = link.broken, None, False
            raise StepFailed(f"the server had closed the socket: {broken}")
        if not self.in_room:
            raise _Absent

    def _mine(self, things: Mapping[str, Any], label: str) -> Any:
        found = things.get(label)
        if found is None:
            raise _Absent
        return found

    @property
    def _the_link(self) -> Link:
        assert self._link is not None, "not running"
        return self._link

    @property
    def _the_nursery(self) -> trio.Nursery:
        assert self._nursery is not None, "not running"
        return self._nursery


def _reduced(capabilities: RtpCapabilities, mime_types: tuple[str, ...]) -> RtpCapabilities:
    """Of what a synthetic viewer can take, what the recorded one could as well."""
    wanted = {
        codec.preferred_payload_type
        for codec in capabilities.codecs
        if codec.mime_type.lower() in mime_types
    }
    return msgspec.structs.replace(
        capabilities,
        codecs=tuple(
            codec
            for codec in capabilities.codecs
            if codec.preferred_payload_type in wanted or codec.parameters.get("apt") in wanted
        ),
    )


def _words(refusal: RequestRefused) -> str:
    """The code and message of a refusal, without the method before them."""
    return str(refusal).partition(": ")[2]
