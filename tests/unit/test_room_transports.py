"""Given events of a room, when transports are asked for, then …"""

from __future__ import annotations

from typing import Any

import pytest

from actors.core.decider import Start
from actors.core.room import ROOM_DECIDER, TRANSPORTS_TOGETHER
from protocol import events
from protocol.behaviours import SPREAD_OVER_WORKERS
from protocol.commands import (
    CreateTransport,
)
from protocol.ids import transport_address
from protocol.messages import (
    OpenTransport,
    PlaneStarted,
    PlaneStopped,
)
from protocol.refusals import RefusalCode
from tests.control.given import Given, draw, given
from tests.control.samples import (
    EPOCH_NS,
    WORKERS,
    S,
    room_settings,
)
from tests.unit.room_deciding import (
    OPENED,
    SETTINGS,
    peer,
    transport,
)


def test_a_transport_is_made_on_a_worker_of_the_plane() -> None:
    room = given(ROOM_DECIDER, OPENED, peer("host"))
    choice = draw()
    worker = WORKERS[int.from_bytes(choice.bytes("worker")[:4]) % 2]
    name = choice.id("t")
    after = room.when(CreateTransport(peer="host", direction="send")).then(
        transport(name, "host", "send", worker.worker),
        Start(
            transport_address(name),
            OpenTransport(
                transport=name,
                peer="host",
                direction="send",
                worker=worker.worker,
                port=worker.port,
                ice_ufrag=choice.ufrag(),
                settings=SETTINGS.transport,
            ),
        ),
    )
    assert list(after.state.peers["host"].transports) == [name]


def workers_of_next(room: Given) -> set[int]:
    command = CreateTransport(peer="host", direction="send")
    return {
        room.when(command, entropy=bytes([number]) * 16).events[0].worker for number in range(20)
    }


def on_workers(*counts: int, **settings: Any) -> Given:
    """A room with so many transports on each worker, one after the other."""
    opened = events.RoomOpened(
        settings=room_settings(**settings), workers=WORKERS, closes_at_ns=EPOCH_NS + 5 * S
    )
    added = [
        transport(f"t{worker}-{n}", "guest", "recv", worker)
        for worker, count in enumerate(counts)
        for n in range(count)
    ]
    return given(ROOM_DECIDER, opened, peer("host"), peer("guest"), *added)


def test_rooms_begin_on_any_worker_and_a_small_one_stays_there() -> None:
    spread = (SPREAD_OVER_WORKERS,)
    assert workers_of_next(on_workers(0, 0, behaviours=spread)) == {0, 1}
    assert workers_of_next(on_workers(1, 0, behaviours=spread)) == {0}
    assert workers_of_next(on_workers(0, TRANSPORTS_TOGETHER - 1, behaviours=spread)) == {1}


def test_a_large_room_spans_workers_and_loads_them_alike() -> None:
    spread = (SPREAD_OVER_WORKERS,)
    full = TRANSPORTS_TOGETHER
    assert workers_of_next(on_workers(full, 0, behaviours=spread)) == {1}
    assert workers_of_next(on_workers(full, full - 1, behaviours=spread)) == {1}
    assert workers_of_next(on_workers(40, 39, behaviours=spread)) == {1}
    assert workers_of_next(on_workers(39, 40, behaviours=spread)) == {0}


def test_rooms_of_before_stay_on_their_first_worker() -> None:
    assert workers_of_next(on_workers(40, 0)) == {0}
    assert workers_of_next(on_workers(0, 40)) == {1}


def test_a_worker_that_is_no_more_is_not_chosen() -> None:
    room = given(
        ROOM_DECIDER,
        OPENED,
        peer("host"),
        transport("t", "host", "recv", 1),
        events.PlaneAttached(workers=WORKERS[:1]),
    )
    (added,) = room.when(CreateTransport(peer="host", direction="send")).events
    assert added.worker == 0


@pytest.mark.parametrize(
    ("rights", "direction", "verb"),
    [({"publish": False}, "send", "publish"), ({"subscribe": False}, "recv", "subscribe")],
)
def test_rights_decide_the_direction(rights: Any, direction: Any, verb: str) -> None:
    room = given(ROOM_DECIDER, OPENED, peer("host", **rights))
    room.when(CreateTransport(peer="host", direction=direction)).refused(
        RefusalCode.FORBIDDEN, verb
    )
    other: Any = "recv" if direction == "send" else "send"
    assert room.when(CreateTransport(peer="host", direction=other)).events


def test_transports_of_a_peer_are_limited() -> None:
    room = given(
        ROOM_DECIDER, OPENED, peer("a"), transport("t1", "a", "send"), transport("t2", "a", "recv")
    )
    room.when(CreateTransport(peer="a", direction="send")).refused(
        RefusalCode.LIMIT_REACHED, "transports of a peer", "2"
    )


def test_without_a_plane_no_transport_is_made() -> None:
    down = given(ROOM_DECIDER, OPENED, peer("host"))
    down = down.when(PlaneStopped(reason="exit 1")).then(events.PlaneDetached(reason="exit 1"))
    command = CreateTransport(peer="host", direction="send")
    down.when(command).refused(RefusalCode.PLANE_UNAVAILABLE)
    up = down.when(PlaneStarted(workers=WORKERS)).then(events.PlaneAttached(workers=WORKERS))
    assert up.when(command).events
