"""The native clients' handshakes against a server of a few lines."""

from __future__ import annotations

import trio

from load.first_flight import FIRST_NS, FirstFlights
from load.mass import Mass
from tests.unit.lite_peer import LitePeer

MS = 1_000_000


async def test_a_server_that_takes_no_dtls_yet_is_connected_without_openssls_second() -> None:
    peer = await LitePeer.open("server")
    peer.dtls_drops = 2
    mass = Mass(seed=1)
    created = peer.created()
    peer.connect(mass.dtls_parameters)
    with peer.socket:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            nursery.start_soon(mass.run)
            began_s = trio.current_time()
            client = mass.add(created.ice_parameters, created.ice_candidates[0])
            mass.start_dtls(client, created.dtls_parameters)
            await mass.wait_connected(client, timeout_s=10)
            took_s = trio.current_time() - began_s
            nursery.cancel_scope.cancel()
    assert peer.dtls_drops == 0
    assert took_s < 1.0


def test_a_first_flight_goes_out_again_until_it_is_answered() -> None:
    flights = FirstFlights()
    flights.handle_sent(1, (b"hello",), 0)
    flights.handle_sent(2, (b"hello too",), 10 * MS)
    assert flights.deadline_ns() == FIRST_NS
    assert list(flights.poll_due(FIRST_NS - 1)) == []
    assert list(flights.poll_due(FIRST_NS)) == [(1, (b"hello",))]
    assert flights.deadline_ns() == FIRST_NS + 10 * MS
    flights.handle_answer(2)
    assert flights.deadline_ns() == 3 * FIRST_NS
    flights.handle_sent(2, (b"a later flight",), 3 * FIRST_NS)
    assert list(flights.poll_due(3 * FIRST_NS)) == [(1, (b"hello",))]
    flights.forget(1)
    assert flights.deadline_ns() == float("inf")


def test_what_is_never_answered_is_left_to_the_handshakes_own_timer() -> None:
    flights = FirstFlights()
    flights.handle_sent(1, (b"hello",), 0)
    sent_ms = [now_ms for now_ms in range(5_000) if list(flights.poll_due(now_ms * MS))]
    assert sent_ms == [50, 150, 350, 750]
    flights.handle_sent(1, (b"hello",), 5_000 * MS)
    assert list(flights.poll_due(6_000 * MS)) == []
