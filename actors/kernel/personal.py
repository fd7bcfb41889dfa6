"""The edge at which personal data is concealed and revealed: between the actors and all others.

    commands, notices ─ conceal ─▶ actors, log          actors, log ─ reveal ─▶ answers,
                                                                     notifications, plane

Each peer has a key, made when it joins; its name in the room's directory says which. What belongs
to nobody who is there (a command of a peer that has just left, a notice of its transport) is
concealed under the keyring's `stranger`, and nobody ever reads it. Peers whose name stands in the
log in clear, because an older release let them in, stay as they are until they leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from actors.kernel.interfaces import Keyring, Plane
from protocol.answers import Answer, Consumed, Entered, PeerView, ProducerView
from protocol.commands import Command, ConnectTransport, Join, Produce
from protocol.notices import IceStateChanged, IceTupleChanged, Notice
from protocol.notifications import Notification
from protocol.orders import Order, SetTransport, Stats
from protocol.personal import FORGOTTEN, CannotReveal, Concealed
from protocol.personal_key import PersonalKey
from protocol.rtp_parameters import RtpParameters

VALUES_KEPT = 65_536
"""Revealed values that are kept, so that each answer to `join` need not reveal them again."""

_T = TypeVar("_T")


class PersonalEdge:
    """Conceals and reveals with the keys of a keyring. Nothing here waits but what is `async`."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._values: dict[Concealed, Any] = {}
        self._views: dict[str, PeerView] = {}
        """Of peers by their ids, which no two peers share."""

    # On the way in.

    async def join(self, command: Join) -> tuple[Join, PersonalKey]:
        """Give who joins a key. Raises `StoreError` when none can be made durable."""
        key = await self._keyring.take()
        return replace(command, name=key.conceal(command.name)), key

    def refused(self, key: PersonalKey) -> None:
        """Give up the key of somebody who was not let in."""
        self._keyring.discard(key)

    async def load(self, keys: Sequence[bytes]) -> None:
        """Have keys at hand; those that were destroyed are not there then. Raises `StoreError`."""
        missing = [key for key in dict.fromkeys(keys) if self._keyring.key(key) is None]
        if missing:
            await self._keyring.load(missing)

    async def load_of(self, names: Sequence[str | Concealed]) -> None:
        """Have the keys of peers at hand, whose names these are. Raises `StoreError`."""
        await self.load([name.key for name in names if isinstance(name, Concealed)])

    def knows(self, name: str | Concealed | None) -> bool:
        """Whether the key of a peer of that name is at hand, or none is needed."""
        return not isinstance(name, Concealed) or self._keyring.key(name.key) is not None

    def command(self, command: Command, name: str | Concealed | None) -> Command:
        """Conceal what a peer says; `name` is the peer's own, None if it is not there."""
        if isinstance(name, str):
            return command
        match command:
            case Produce():
                under = self._key(name)
                return replace(
                    command,
                    app_data=under.conceal(command.app_data),
                    rtp_parameters=_concealed_parameters(command.rtp_parameters, under),
                )
            case ConnectTransport(dtls_parameters=sent):
                under = self._key(name)
                fingerprints = tuple(
                    replace(each, value=under.conceal(each.value)) for each in sent.fingerprints
                )
                return replace(command, dtls_parameters=replace(sent, fingerprints=fingerprints))
        return command

    def notice(self, notice: Notice, name: str | Concealed | None) -> Notice:
        """Conceal where a client is; `name` is its peer's, None if that is not there."""
        if isinstance(name, str) or not isinstance(notice, IceStateChanged | IceTupleChanged):
            return notice
        if notice.remote is None:
            return notice
        return replace(notice, remote=self._key(name).conceal(notice.remote))

    def _key(self, name: Concealed | None) -> PersonalKey:
        found = None if name is None else self._keyring.key(name.key)
        return self._keyring.stranger if found is None else found

    # On the way out.

    def forget(self) -> None:
        """Keep no revealed value any longer; to be called when a key was destroyed."""
        self._values.clear()
        self._views.clear()

    async def answer(self, answer: Answer) -> Answer:
        """Reveal what a client is told in answer to its request."""
        match answer:
            case Entered(joined=joined):
                known = self._views.get  # one look-up a peer: rooms are large
                peers = tuple([known(view.id) for view in joined.peers])
                if not all(peers):
                    await self._load_for(*joined.peers)
                    peers = tuple([self._peer_view(view) for view in joined.peers])
                await self._load_for(*joined.producers)
                producers = tuple(map(self._producer_view, joined.producers))
                return replace(answer, joined=replace(joined, peers=peers, producers=producers))
            case Consumed(rtp_parameters=parameters) if isinstance(parameters.msid, Concealed):
                await self.load([parameters.msid.key])
                msid = self._reveal(parameters.msid, None)
                return replace(answer, rtp_parameters=replace(parameters, msid=msid))
        return answer

    def notification(self, notification: Notification) -> Notification:
        """Reveal what clients are told of an event."""
        data = notification.data
        match data.get("peer"):
            case PeerView() as view:
                return notification._replace(data={**data, "peer": self._peer_view(view)})
        match data.get("producer"):
            case ProducerView() as added:
                return notification._replace(data={**data, "producer": self._producer_view(added)})
        return notification

    async def past_notification(self, notification: Notification) -> Notification:
        """Reveal what clients are told of an event that may have been long ago."""
        await self._load_for(notification.data.get("peer"), notification.data.get("producer"))
        return self.notification(notification)

    def orders(self, orders: Sequence[Order]) -> list[Order]:
        """Reveal what the media plane must know: fingerprints. Those forgotten are left out."""
        return [
            replace(order, fingerprints=tuple(self._fingerprints(order)))
            if isinstance(order, SetTransport) and order.fingerprints
            else order
            for order in orders
        ]

    def _fingerprints(self, row: SetTransport) -> Iterator[tuple[str, str]]:
        for algorithm, value in row.fingerprints:
            shown = self._reveal(value, None)
            if shown is not None:
                yield algorithm, shown

    def _peer_view(self, view: PeerView) -> PeerView:
        known = self._views.get(view.id)
        if known is not None:
            return known
        shown = PeerView(id=view.id, name=self._reveal(view.name, FORGOTTEN))
        if shown.name is not FORGOTTEN:
            if len(self._views) >= VALUES_KEPT:
                self._views.clear()
            self._views[view.id] = shown
        return shown

    def _producer_view(self, view: ProducerView) -> ProducerView:
        if not isinstance(view.app_data, Concealed):
            return view
        return replace(view, app_data=self._reveal(view.app_data, {}))

    def _reveal(self, value: Any, otherwise: _T) -> Any | _T:
        """The value in a concealed one; any other as it is."""
        if not isinstance(value, Concealed):
            return value
        if value in self._values:
            return self._values[value]
        key = self._keyring.key(value.key)
        if key is None:
            return otherwise
        try:
            shown = key.reveal(value)
        except CannotReveal:
            return otherwise
        if len(self._values) >= VALUES_KEPT:
            self._values.clear()
        self._values[value] = shown
        return shown

    async def _load_for(self, *views: Any) -> None:
        """Have at hand the keys of what is not known yet."""
        wanted = []
        for view in views:
            match view:
                case PeerView(name=Concealed() as value) if view.id not in self._views:
                    wanted.append(value.key)
                case ProducerView(app_data=Concealed() as value) if value not in self._values:
                    wanted.append(value.key)
        if wanted:
            await self.load(wanted)


class RevealingPlane:
    """A media plane that is told in clear what actors hold concealed."""

    def __init__(self, plane: Plane, edge: PersonalEdge) -> None:
        self._plane = plane
        self._edge = edge

    def submit(self, orders: Sequence[Order]) -> None:
        """See `actors.kernel.interfaces.Plane`."""
        self._plane.submit(self._edge.orders(orders))

    async def query_stats(self, ids: Sequence[str]) -> tuple[Stats, ...]:
        """See `actors.kernel.interfaces.Plane`."""
        return await self._plane.query_stats(ids)


def _concealed_parameters(parameters: RtpParameters, key: PersonalKey) -> RtpParameters:
    """What names a publisher in its RTP parameters: its cname, and ids that its browser made."""
    rtcp = parameters.rtcp
    return replace(
        parameters,
        msid=parameters.msid and key.conceal(parameters.msid),
        rtcp=replace(rtcp, cname=rtcp.cname and key.conceal(rtcp.cname)),
    )
