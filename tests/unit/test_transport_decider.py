"""Given events of a transport, when a message comes, then …"""

from __future__ import annotations

from typing import Any

import pytest

from actors.core.decider import Reply, ReplyStats, Tell
from actors.core.transport import TRANSPORT
from protocol import events
from protocol.answers import Done, IceRestarted, TransportCreated
from protocol.commands import CloseTransport, ConnectTransport, QueryTransport, RestartIce
from protocol.ids import ROOM, transport_address
from protocol.messages import ChildClosed, Close, FaultNoticed, OpenTransport, TimerFired
from protocol.notices import (
    BandwidthEstimated,
    DtlsStateChanged,
    IceStateChanged,
    IceTupleChanged,
    OrderRefused,
    PlaneLost,
)
from protocol.orders import IceCredentials, SetTransport
from protocol.refusals import RefusalCode
from protocol.transport_parameters import (
    DtlsFingerprint,
    DtlsParameters,
    IceCandidate,
    IceParameters,
)
from tests.control.given import draw, given
from tests.control.samples import EPOCH_NS, FINGERPRINT, REMOTE_DTLS, S, transport_settings

SETTINGS = transport_settings(connect_timeout_ns=7 * S, ice_failed_grace_ns=3 * S)
FIELDS: dict[str, Any] = {
    "transport": "t1",
    "peer": "p1",
    "direction": "send",
    "worker": 1,
    "port": 20001,
    "ice_ufrag": "first",
    "settings": SETTINGS,
}
OPEN = OpenTransport(**FIELDS)
OPENED = events.TransportOpened(**FIELDS)
CONNECTING = events.TransportConnecting(
    dtls_role="server", fingerprints=(FINGERPRINT,), times_out_at_ns=EPOCH_NS + 7 * S
)
CONNECTED = events.DtlsConnected(srtp_profile="AEAD_AES_128_GCM")
FAILED = events.IceChanged(state="failed", remote=None, closes_at_ns=EPOCH_NS + 3 * S)
ROW = SetTransport(transport="t1", worker=1, direction="send", ice=(IceCredentials(ufrag="first"),))
COMMANDS = [
    ConnectTransport(peer="p1", transport="t1", dtls_parameters=REMOTE_DTLS),
    RestartIce(peer="p1", transport="t1"),
    CloseTransport(peer="p1", transport="t1"),
    QueryTransport(peer="p1", transport="t1"),
]
NOTICES = [
    IceStateChanged(transport="t1", state="connected"),
    IceTupleChanged(transport="t1", remote="192.0.2.9:1"),
    DtlsStateChanged(transport="t1", state="connected", srtp_profile="AEAD_AES_128_GCM"),
    PlaneLost(transport="t1", reason="signal SIGKILL"),
    OrderRefused(kind="transport", id="t1", code="ufrag_in_use", message=""),
    TimerFired(name="connect"),
    TimerFired(name="ice"),
    Close(reason="peer_left"),
]


def closed(reason: str) -> tuple[Any, Any]:
    told = ChildClosed(child=transport_address("t1"), reason=reason)
    return events.TransportClosed(reason=reason), Tell(ROOM, told)


def test_opening_gives_parameters_and_a_row() -> None:
    after = (
        given(TRANSPORT)
        .when(OPEN)
        .then(
            OPENED,
            Reply(
                TransportCreated(
                    id="t1",
                    ice_parameters=IceParameters(username_fragment="first"),
                    ice_candidates=(
                        IceCandidate(
                            foundation="udp0",
                            priority=2130706431,
                            ip="192.0.2.1",
                            address="192.0.2.1",
                            port=20001,
                        ),
                        IceCandidate(
                            foundation="udp1",
                            priority=2130706175,
                            ip="2001:db8::1",
                            address="2001:db8::1",
                            port=20001,
                        ),
                    ),
                    dtls_parameters=DtlsParameters(fingerprints=(FINGERPRINT,)),
                )
            ),
        )
    )
    assert after.rows == (ROW,)
    assert after.deadlines == {}
    assert not after.ended


@pytest.mark.parametrize("message", [*COMMANDS, *NOTICES], ids=lambda m: type(m).__name__)
def test_before_it_is_opened_nothing_is_of_consequence(message: Any) -> None:
    before = given(TRANSPORT)
    before.when(message).then_nothing()
    assert before.rows == ()


@pytest.mark.parametrize("message", [*COMMANDS, *NOTICES], ids=lambda m: type(m).__name__)
def test_once_it_is_closed_nothing_is_of_consequence(message: Any) -> None:
    after = given(TRANSPORT, OPENED, CONNECTING, FAILED, events.TransportClosed(reason="peer_left"))
    after.when(message).then_nothing()
    assert after.ended
    assert after.rows == ()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda m: type(m).__name__)
def test_another_peers_commands_are_refused(command: Any) -> None:
    other = type(command)(
        **{f: getattr(command, f) for f in command.__struct_fields__} | {"peer": "p2"}
    )
    given(TRANSPORT, OPENED).when(other).refused(RefusalCode.FORBIDDEN, "another peer")


@pytest.mark.parametrize(
    ("theirs", "ours"), [("client", "server"), ("server", "client"), ("auto", "client")]
)
def test_connecting_takes_the_other_role_and_sets_a_deadline(theirs: Any, ours: Any) -> None:
    remote = DtlsParameters(fingerprints=(FINGERPRINT,), role=theirs)
    command = ConnectTransport(peer="p1", transport="t1", dtls_parameters=remote)
    after = (
        given(TRANSPORT, OPENED)
        .when(command)
        .then(
            events.TransportConnecting(
                dtls_role=ours, fingerprints=(FINGERPRINT,), times_out_at_ns=EPOCH_NS + 7 * S
            ),
            Reply(Done()),
        )
    )
    assert after.deadlines == {"connect": EPOCH_NS + 7 * S}
    (row,) = after.rows
    assert isinstance(row, SetTransport)
    assert (row.dtls_role, row.fingerprints) == (ours, (("sha-256", FINGERPRINT.value),))


def test_connecting_again_is_refused() -> None:
    given(TRANSPORT, OPENED, CONNECTING).when(COMMANDS[0]).refused(RefusalCode.ALREADY_CONNECTED)
    given(TRANSPORT, OPENED, CONNECTING, CONNECTED).when(COMMANDS[0]).refused(
        RefusalCode.ALREADY_CONNECTED
    )


def test_weak_fingerprints_are_left_out_and_alone_refused() -> None:
    weak = DtlsFingerprint(algorithm="sha-1", value=":".join(["AB"] * 20))
    both = DtlsParameters(fingerprints=(weak, FINGERPRINT))
    command = ConnectTransport(peer="p1", transport="t1", dtls_parameters=both)
    (connecting,) = given(TRANSPORT, OPENED).when(command).events
    assert connecting.fingerprints == (FINGERPRINT,)
    alone = ConnectTransport(
        peer="p1", transport="t1", dtls_parameters=DtlsParameters(fingerprints=(weak,))
    )
    given(TRANSPORT, OPENED).when(alone).refused(RefusalCode.UNSUPPORTED_FINGERPRINT, "sha-256")


def test_an_ice_restart_adds_credentials_and_keeps_the_last_ones() -> None:
    ufrag = draw().ufrag()
    after = (
        given(TRANSPORT, OPENED)
        .when(COMMANDS[1])
        .then(
            events.IceRestarting(ice_ufrag=ufrag),
            Reply(IceRestarted(ice_parameters=IceParameters(username_fragment=ufrag))),
        )
    )
    (row,) = after.rows
    assert isinstance(row, SetTransport)
    assert row.ice == (IceCredentials(ufrag=ufrag), IceCredentials(ufrag="first"))
    again = given(
        TRANSPORT,
        OPENED,
        events.IceRestarting(ice_ufrag="second"),
        events.IceRestarting(ice_ufrag="third"),
    )
    assert again.state.ice_ufrags == ("third", "second")


def test_statistics_are_asked_of_the_plane() -> None:
    given(TRANSPORT, OPENED).when(COMMANDS[3]).then(ReplyStats("t1"))


def test_closing_by_request_tells_the_room_and_then_the_client() -> None:
    after = given(TRANSPORT, OPENED).when(COMMANDS[2]).then(*closed("requested"), Reply(Done()))
    assert after.ended
    assert after.rows == ()


def test_closing_by_the_room_tells_nobody() -> None:
    after = given(TRANSPORT, OPENED).when(Close(reason="peer_left"))
    assert after.then(events.TransportClosed(reason="peer_left")).ended


def test_ice_states_are_kept_with_their_address() -> None:
    connected = IceStateChanged(transport="t1", state="connected", remote="192.0.2.9:1")
    kept = events.IceChanged(state="connected", remote="192.0.2.9:1")
    after = given(TRANSPORT, OPENED).when(connected).then(kept)
    after.when(connected).then_nothing()
    after.when(IceStateChanged(transport="t1", state="connected")).then_nothing()
    after.when(IceStateChanged(transport="t1", state="disconnected")).then(
        events.IceChanged(state="disconnected", remote="192.0.2.9:1"),
        Tell(ROOM, FaultNoticed(transport="t1", reason="ice_lost")),
    )
    after.when(IceTupleChanged(transport="t1", remote="192.0.2.9:1")).then_nothing()
    after.when(IceTupleChanged(transport="t1", remote="192.0.2.9:2")).then(
        events.IceChanged(state="connected", remote="192.0.2.9:2")
    )


def test_an_estimate_is_kept_in_the_log_and_changes_nothing() -> None:
    estimated = BandwidthEstimated(
        transport="t1",
        bitrate_bps=700_000,
        limit="loss",
        wanted_bps=900_000,
        probes=3,
        probes_found=1,
        on_trial=True,
    )
    before = given(TRANSPORT, OPENED)
    after = before.when(estimated).then(
        events.BandwidthChanged(
            bitrate_bps=700_000,
            limit="loss",
            wanted_bps=900_000,
            probes=3,
            probes_found=1,
            on_trial=True,
        )
    )
    assert after.rows == (ROW,)
    assert after.deadlines == {}


def test_failed_ice_gives_a_grace_and_then_closes() -> None:
    notice = IceStateChanged(transport="t1", state="failed")
    after = given(TRANSPORT, OPENED).when(notice).then(FAILED)
    assert after.deadlines == {"ice": EPOCH_NS + 3 * S}
    after.when(TimerFired(name="ice"), at_ns=EPOCH_NS + 3 * S - 1).then_nothing()
    after.when(TimerFired(name="ice"), at_ns=EPOCH_NS + 3 * S).then(*closed("ice_failed"))


def test_ice_that_comes_back_takes_the_deadline_away() -> None:
    after = given(TRANSPORT, OPENED, FAILED)
    after = after.when(IceStateChanged(transport="t1", state="connected")).then(
        events.IceChanged(state="connected", remote=None)
    )
    assert after.deadlines == {}
    after.when(TimerFired(name="ice"), at_ns=EPOCH_NS + 9 * S).then_nothing()


def test_dtls_that_takes_too_long_closes() -> None:
    waiting = given(TRANSPORT, OPENED, CONNECTING)
    waiting.when(TimerFired(name="connect"), at_ns=EPOCH_NS + 7 * S - 1).then_nothing()
    waiting.when(TimerFired(name="connect"), at_ns=EPOCH_NS + 7 * S).then(
        *closed("connect_timeout")
    )


def test_dtls_that_is_done_takes_the_deadline_away() -> None:
    done = DtlsStateChanged(transport="t1", state="connected", srtp_profile="AEAD_AES_128_GCM")
    after = given(TRANSPORT, OPENED, CONNECTING).when(done).then(CONNECTED)
    assert after.deadlines == {}
    after.when(done).then_nothing()
    after.when(TimerFired(name="connect"), at_ns=EPOCH_NS + 9 * S).then_nothing()


def test_a_handshake_that_begins_is_of_no_consequence() -> None:
    begun = DtlsStateChanged(transport="t1", state="connecting")
    given(TRANSPORT, OPENED, CONNECTING).when(begun).then_nothing()


@pytest.mark.parametrize(
    ("state", "reason", "word"),
    [
        ("failed", "fingerprint_mismatch", "dtls_fingerprint_mismatch"),
        ("failed", None, "dtls_failed"),
        ("closed", None, "dtls_closed"),
    ],
)
def test_dtls_that_ends_closes(state: Any, reason: Any, word: str) -> None:
    notice = DtlsStateChanged(transport="t1", state=state, reason=reason)
    given(TRANSPORT, OPENED, CONNECTING, CONNECTED).when(notice).then(*closed(word))


def test_dtls_without_a_profile_breaks_an_invariant() -> None:
    notice = DtlsStateChanged(transport="t1", state="connected")
    with pytest.raises(AssertionError):
        given(TRANSPORT, OPENED).when(notice)


def test_a_lost_plane_and_a_refused_order_close() -> None:
    given(TRANSPORT, OPENED).when(NOTICES[3]).then(*closed("plane_failed"))
    given(TRANSPORT, OPENED).when(NOTICES[4]).then(*closed("order_refused"))


def test_a_message_for_another_kind_breaks_an_invariant() -> None:
    with pytest.raises(AssertionError, match="takes no ChildClosed"):
        given(TRANSPORT, OPENED).when(ChildClosed(child=ROOM, reason=""))
