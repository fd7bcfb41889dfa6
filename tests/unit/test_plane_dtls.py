"""The face runs DTLS for each transport: when it begins, what it orders, what it tells."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from media.dtls import HANDSHAKE_TIMEOUT_NS, DtlsConnection, DtlsRole
from media.dtls_driver import EARLY_DATAGRAMS_MAX
from media.interface import PlaneUp
from media.plane_client import Plane
from protocol.notices import DtlsReceived, DtlsStateChanged, IceStateChanged
from protocol.orders import (
    Order,
    Remove,
    SendDtls,
    SetSrtpKeys,
    SetTransport,
    SrtpProfile,
    Table,
    TransportEntry,
)
from tests.contract import plane_rows as rows
from tests.unit.dtls_pair import contexts
from tests.unit.scripted_plane import ScriptedPlane, connected, new_plane

CONNECTED = IceStateChanged(transport="t", state="connected", remote="127.0.0.1:9")


class Browser:
    """The other end of one transport, behind a scripted plane."""

    def __init__(self, scripted: ScriptedPlane, role: DtlsRole) -> None:
        self.scripted = scripted
        ours = contexts()[1].certificate.fingerprints
        self.connection = DtlsConnection(role, contexts()[0], ours)
        self.orders: list[Order] = []

    async def send(self) -> None:
        datagrams = tuple(self.connection.poll_datagrams())
        if datagrams:
            await self.scripted.say(DtlsReceived(transport="t", datagrams=datagrams))

    async def exchange_until_keys(self) -> SetSrtpKeys:
        while True:
            await self.send()
            for order in await self.scripted.next_orders():
                self.take(order)
                if isinstance(order, SetSrtpKeys):
                    await self.send()
                    return order

    def take(self, order: Order) -> None:
        self.orders.append(order)
        if isinstance(order, SendDtls):
            for datagram in order.datagrams:
                self.connection.handle_datagram(datagram)


def row(role: DtlsRole | None = "server", fingerprints: object = None) -> SetTransport:
    if role is None:
        return rows.recv_transport("t")
    return rows.recv_transport(
        "t",
        dtls_role=role,
        fingerprints=fingerprints or contexts()[0].certificate.fingerprints,
    )


def dtls(state: str, profile: SrtpProfile | None = None, reason: str | None = None) -> object:
    return DtlsStateChanged(
        transport="t",
        state=state,  # type: ignore[arg-type]
        srtp_profile=profile,
        reason=reason,
    )


async def heard(plane: Plane, count: int) -> list[object]:
    with trio.fail_after(5):
        return [await plane.notices.receive() for _ in range(count)]


async def test_as_server_it_answers_the_hello_and_hands_over_keys_before_it_says_connected() -> (
    None
):
    plane = new_plane()
    async with connected(plane) as scripted:
        browser = Browser(scripted, "client")
        browser.connection.start()
        plane.submit([row()])
        await scripted.next_orders()
        await scripted.say(CONNECTED)
        assert await heard(plane, 2) == [CONNECTED, dtls("connecting")]
        keys = await browser.exchange_until_keys()
        assert await heard(plane, 1) == [dtls("connected", "AEAD_AES_128_GCM")]
    theirs = browser.connection.srtp_keys()
    assert (keys.transport, keys.profile) == ("t", theirs.profile)
    assert (keys.local, keys.remote) == (theirs.remote, theirs.local)
    assert browser.connection.state == "connected"


async def test_keys_are_queued_before_the_notice_can_be_read() -> None:
    """What the reader of the notice submits comes after the keys."""
    plane = new_plane()
    async with connected(plane) as scripted, trio.open_nursery() as nursery:

        async def actor() -> None:
            async for item in plane.notices:
                if isinstance(item, DtlsStateChanged) and item.state == "connected":
                    plane.submit([rows.consumer("after")])
                    return

        nursery.start_soon(actor)
        browser = Browser(scripted, "client")
        browser.connection.start()
        plane.submit([row()])
        await scripted.say(CONNECTED)
        kinds: list[str] = []
        while "SetConsumer" not in kinds:
            await browser.send()
            for order in await scripted.next_orders():
                browser.take(order)
                kinds.append(type(order).__name__)
    assert kinds.index("SetSrtpKeys") < kinds.index("SetConsumer")


@pytest.mark.parametrize("row_first", [True, False])
async def test_as_client_it_says_hello_once_row_and_tuple_are_there(row_first: bool) -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        browser = Browser(scripted, "server")
        browser.connection.start()
        plane.submit([row("client" if row_first else None)])
        assert [type(one) for one in await scripted.next_orders()] == [SetTransport]
        await scripted.say(CONNECTED)
        assert await heard(plane, 1) == [CONNECTED]
        if not row_first:
            plane.submit([row("client")])
        keys = await browser.exchange_until_keys()
        assert await heard(plane, 2) == [
            dtls("connecting"),
            dtls("connected", "AEAD_AES_128_GCM"),
        ]
    assert browser.connection.srtp_keys().remote == keys.local


async def test_a_hello_that_comes_before_the_row_waits_for_it() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        browser = Browser(scripted, "client")
        browser.connection.start()
        plane.submit([row(None)])
        await scripted.next_orders()
        for _ in range(EARLY_DATAGRAMS_MAX):
            await scripted.say(DtlsReceived(transport="t", datagrams=(b"\x16junk",)))
        await scripted.say(CONNECTED)
        await browser.send()
        assert await heard(plane, 1) == [CONNECTED]
        await trio.testing.wait_all_tasks_blocked()
        plane.submit([row()])
        await browser.exchange_until_keys()
    assert browser.connection.state == "connected"


async def test_a_wrong_fingerprint_fails_with_its_reason_and_gives_no_keys() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        browser = Browser(scripted, "client")
        browser.connection.start()
        plane.submit([row(fingerprints=(("sha-256", ":".join(["AB"] * 32)),))])
        await scripted.next_orders()
        await scripted.say(CONNECTED)
        while browser.connection.state == "connecting":
            await browser.send()
            for order in await scripted.next_orders():
                browser.take(order)
        assert await heard(plane, 3) == [
            CONNECTED,
            dtls("connecting"),
            dtls("failed", reason="fingerprint_mismatch"),
        ]
    assert browser.connection.reason == "alert"
    assert not any(isinstance(order, SetSrtpKeys) for order in browser.orders)


async def test_a_peer_that_says_nothing_times_out(autojump_clock: object) -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        plane.submit([row()])
        await scripted.next_orders()
        await scripted.say(CONNECTED)
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scripted.answer_all)
            said = [await plane.notices.receive() for _ in range(3)]
            nursery.cancel_scope.cancel()
        assert said == [CONNECTED, dtls("connecting"), dtls("failed", reason="timeout")]
        assert trio.current_time() - began_s == pytest.approx(HANDSHAKE_TIMEOUT_NS / 1e9)


async def test_a_lost_flight_is_sent_again_after_a_second() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        plane.submit([row("client")])
        await scripted.say(CONNECTED)
        hellos: list[SendDtls] = []
        began_s = trio.current_time()
        while len(hellos) < 2:
            orders = await scripted.next_orders()
            hellos += [order for order in orders if isinstance(order, SendDtls)]
        assert 0.8 < trio.current_time() - began_s < 3


async def test_removing_a_connected_transport_says_goodbye_first() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        browser = Browser(scripted, "client")
        browser.connection.start()
        plane.submit([row()])
        await scripted.say(CONNECTED)
        await browser.exchange_until_keys()
        plane.submit([Remove(kind="transport", id="t")])
        orders: list[Order] = []
        while not any(isinstance(order, Remove) for order in orders):
            orders += await scripted.next_orders()
        for order in orders:
            browser.take(order)
        assert [type(order) for order in orders[-2:]] == [SendDtls, Remove]
        assert browser.connection.state == "closed"
        await scripted.say(DtlsReceived(transport="t", datagrams=(b"\x16late",)))
        await trio.testing.wait_all_tasks_blocked()


async def test_a_peer_that_says_goodbye_is_closed() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        browser = Browser(scripted, "client")
        browser.connection.start()
        plane.submit([row()])
        await scripted.say(CONNECTED)
        await browser.exchange_until_keys()
        browser.connection.close()
        await browser.send()
        said = await heard(plane, 4)
    assert said[-1] == dtls("closed")


def taken_over(profile: SrtpProfile | None) -> Table:
    entry = TransportEntry(
        transport="t", worker=0, ice_state="connected", remote="127.0.0.1:9", srtp_profile=profile
    )
    return Table(transports=(entry,), producers=(), consumers=())


async def test_a_transport_taken_over_with_its_keys_needs_no_handshake() -> None:
    plane = new_plane()
    async with connected(plane, taken_over("AEAD_AES_128_GCM"), fresh=False) as scripted:
        plane.submit([row("client")])
        assert [type(one) for one in await scripted.next_orders()] == [SetTransport]
        await scripted.say(CONNECTED, DtlsReceived(transport="t", datagrams=(b"\x17late",)))
        assert await heard(plane, 1) == [CONNECTED]
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            plane.notices.receive_nowait()


async def test_a_transport_taken_over_without_keys_begins_its_handshake() -> None:
    plane = new_plane()
    async with connected(plane, taken_over(None), fresh=False) as scripted:
        plane.submit([row("client")])
        kinds: Sequence[type] = [type(one) for one in await scripted.next_orders()]
        assert kinds == [SetTransport, SendDtls]


async def test_keys_that_a_broken_connection_swallowed_are_sent_again() -> None:
    plane = new_plane()
    async with connected(plane) as scripted:
        browser = Browser(scripted, "client")
        browser.connection.start()
        plane.submit([row()])
        await scripted.say(CONNECTED)
        keys = await browser.exchange_until_keys()
    ours, theirs = trio.testing.memory_stream_pair()
    again = ScriptedPlane(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: plane.serve(ours, fresh=False))
        await again.greet(taken_over(None))
        assert await again.next_orders() == [keys]
        nursery.cancel_scope.cancel()
    items = await heard(plane, 4)
    assert isinstance(items[-1], PlaneUp)
