"""Concealing and revealing, and what of a command or a notice is personal."""

from __future__ import annotations

from random import Random
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kernel.personal import PersonalEdge, RevealingPlane
from protocol import codec
from protocol.answers import Entered, Joined, PeerView, ProducerView
from protocol.commands import ConnectTransport, Join, Produce
from protocol.notices import IceStateChanged, IceTupleChanged
from protocol.notifications import Everyone, Notification
from protocol.orders import SetTransport
from protocol.personal import (
    BLOCK_BYTES,
    FORGOTTEN,
    CannotReveal,
    Concealed,
    concealed_in,
    holds_concealed,
    revealed,
    shown,
)
from protocol.personal_key import PersonalKey
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import RtpCapabilities
from protocol.signaling import Request, command_of
from replay.keyring import MemoryKeyring
from replay.text import payload
from tests.control import samples

KEY, OTHER = (PersonalKey(bytes([n]) * 16, bytes([n]) * 32) for n in (1, 2))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(0, 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_what_was_concealed_is_revealed_as_it_was(value: Any) -> None:
    concealed = KEY.conceal(value)
    assert KEY.reveal(concealed) == value
    assert concealed == KEY.conceal(value)
    assert concealed != OTHER.conceal(value)
    with pytest.raises(CannotReveal):
        OTHER.reveal(concealed)


def test_lengths_say_little() -> None:
    texts = {len(KEY.conceal("x" * length).text) for length in range(BLOCK_BYTES - 3)}
    assert texts == {BLOCK_BYTES + 16}


@pytest.mark.parametrize("part", ["key", "nonce", "text"])
def test_a_changed_value_is_revealed_by_nobody(part: str) -> None:
    concealed = KEY.conceal("Ann")
    changed = bytes([getattr(concealed, part)[0] ^ 1]) + getattr(concealed, part)[1:]
    with pytest.raises(CannotReveal):
        KEY.reveal(msgspec.structs.replace(concealed, **{part: changed}))
    with pytest.raises(CannotReveal):
        KEY.reveal(msgspec.structs.replace(concealed, **{part: b""}))


def test_a_key_is_not_shown() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert repr(KEY.secret)[2:-1] not in str(KEY)


def test_concealed_values_are_found_in_payloads_of_any_type() -> None:
    joined = Join(room="lobby", name=KEY.conceal("Ann"))
    data = codec.encode(joined)
    assert codec.decode("Join", 2, data) == joined
    assert holds_concealed(data)
    assert not holds_concealed(codec.encode(Join(room="concealed", name="concealed")))
    tree = msgpack.unpackb(data)
    assert concealed_in(tree["name"]) == joined.name
    assert revealed(tree, KEY.reveal)["name"] == "Ann"
    assert revealed(tree, OTHER.reveal) == tree
    assert payload(data)["name"] == FORGOTTEN
    assert shown(joined.name) == FORGOTTEN
    assert (shown("Ann"), shown(None)) == ("Ann", None)


@pytest.mark.parametrize(
    "value", [["concealed"], ["concealed", "a", "b", "c"], ["Concealed", b"", b"", b""], [], "x"]
)
def test_what_only_looks_like_it_stays(value: Any) -> None:
    assert concealed_in(value) is None
    assert revealed({"a": value}, KEY.reveal) == {"a": value}


CONCEALED = ["concealed", b"k" * 16, b"n" * 12, b"t" * 48]


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("join", {"room": "lobby", "name": CONCEALED}),
        ("produce", {"appData": CONCEALED}),
        ("produce", {"rtpParameters": {"msid": CONCEALED}}),
        ("produce", {"rtpParameters": {"rtcp": {"cname": CONCEALED}}}),
        (
            "connectTransport",
            {
                "transport": "t",
                "dtlsParameters": {"fingerprints": [{"algorithm": "sha-256", "value": CONCEALED}]},
            },
        ),
    ],
)
def test_clients_cannot_send_concealed_values(method: str, data: dict[str, Any]) -> None:
    sound = msgspec.to_builtins(samples.produce("p", "t")) if method == "produce" else {}
    parameters = sound.get("rtpParameters", {}) | data.get("rtpParameters", {})
    request = Request(id=1, method=method, data=sound | data | {"rtpParameters": parameters})
    found = command_of(request, peer="p" if method != "join" else None)
    assert isinstance(found, Refusal)
    assert found.code == RefusalCode.INVALID_DATA


@pytest.fixture
def keyring() -> MemoryKeyring:
    return MemoryKeyring(Random(3).randbytes)


@pytest.fixture
def edge(keyring: MemoryKeyring) -> PersonalEdge:
    return PersonalEdge(keyring)


async def test_what_a_peer_says_is_concealed_under_its_key(
    edge: PersonalEdge, keyring: MemoryKeyring
) -> None:
    join, key = await edge.join(Join(room="lobby", name="Ann"))
    assert isinstance(join.name, Concealed)
    assert keyring.keys[join.name.key] is key
    sent = samples.produce("p", "t", app_data={"mail": "ann@example.org"})
    sent = msgspec.structs.replace(
        sent,
        rtp_parameters=msgspec.structs.replace(
            sent.rtp_parameters,
            msid="ann cam",
            rtcp=msgspec.structs.replace(sent.rtp_parameters.rtcp, cname="ann@host"),
        ),
    )
    produce = edge.command(sent, join.name)
    assert isinstance(produce, Produce)
    data = codec.encode(produce)
    for text in (b"ann@example.org", b"ann cam", b"ann@host"):
        assert text in codec.encode(sent)
        assert text not in data
    assert key.reveal(produce.app_data) == {"mail": "ann@example.org"}
    assert key.reveal(produce.rtp_parameters.msid) == "ann cam"
    assert key.reveal(produce.rtp_parameters.rtcp.cname) == "ann@host"
    connect = edge.command(
        ConnectTransport(peer="p", transport="t", dtls_parameters=samples.REMOTE_DTLS), join.name
    )
    assert isinstance(connect, ConnectTransport)
    (fingerprint,) = connect.dtls_parameters.fingerprints
    assert key.reveal(fingerprint.value) == samples.REMOTE_DTLS.fingerprints[0].value
    notice = edge.notice(
        IceStateChanged(transport="t", state="connected", remote="192.0.2.9:1"), join.name
    )
    moved = edge.notice(IceTupleChanged(transport="t", remote="192.0.2.9:1"), join.name)
    assert notice.remote == moved.remote  # deciders compare them
    assert key.reveal(notice.remote) == "192.0.2.9:1"


async def test_what_is_nobodys_is_read_by_nobody(
    edge: PersonalEdge, keyring: MemoryKeyring
) -> None:
    moved = edge.notice(IceTupleChanged(transport="t", remote="192.0.2.9:1"), None)
    assert keyring.stranger.reveal(moved.remote) == "192.0.2.9:1"
    assert not keyring.keys
    join, key = await edge.join(Join(room="lobby", name="Ann"))
    edge.refused(key)
    moved = edge.notice(IceTupleChanged(transport="t", remote="192.0.2.9:1"), join.name)
    assert moved.remote.key == keyring.stranger.id


def test_who_came_in_in_clear_stays_so(edge: PersonalEdge) -> None:
    sent = samples.produce("p", "t", app_data={"a": 1})
    assert edge.command(sent, "Ann") is sent
    notice = IceTupleChanged(transport="t", remote="192.0.2.9:1")
    assert edge.notice(notice, "Ann") is notice
    assert edge.notice(notice, "") is notice


async def test_answers_and_notifications_tell_names_until_they_are_forgotten(
    edge: PersonalEdge, keyring: MemoryKeyring
) -> None:
    join, key = await edge.join(Join(room="lobby", name="Ann"))
    peer = PeerView(id="p", name=join.name)
    producer = ProducerView(
        id="s", peer="p", kind="video", paused=False, app_data=key.conceal({"a": 1})
    )
    entered = Entered(
        joined=Joined(
            peer="q",
            router_rtp_capabilities=RtpCapabilities(),
            peers=(peer, PeerView(id="o", name="Otto")),
            producers=(producer,),
            streaming=False,
        ),
        attachment=1,
    )
    joined = Notification("peerJoined", {"peer": peer}, Everyone())
    added = Notification("producerAdded", {"producer": producer}, Everyone())

    async def told() -> Any:
        answer = (await edge.answer(entered)).joined
        assert [view.name for view in answer.peers][1] == "Otto"
        names = {answer.peers[0].name, edge.notification(joined).data["peer"].name}
        names.add((await edge.past_notification(joined)).data["peer"].name)
        data = [answer.producers[0].app_data, edge.notification(added).data["producer"].app_data]
        (name,) = names
        assert data[0] == data[1]
        return name, data[0]

    assert await told() == ("Ann", {"a": 1})
    await keyring.destroy([key.id])
    assert await told() == ("Ann", {"a": 1})  # kept, until
    edge.forget()
    assert await told() == (FORGOTTEN, {})


async def test_the_plane_is_told_fingerprints_in_clear_and_none_that_are_forgotten(
    edge: PersonalEdge, keyring: MemoryKeyring
) -> None:
    told: list[Any] = []

    class Plane:
        def submit(self, orders: Any) -> None:
            told.extend(orders)

    _, key = await edge.join(Join(room="lobby"))
    row = SetTransport(
        transport="t",
        worker=0,
        direction="send",
        ice=(),
        fingerprints=(("sha-256", key.conceal("AB:CD")),),
    )
    plane = RevealingPlane(Plane(), edge)  # type: ignore[arg-type]
    plane.submit([row])
    await keyring.destroy([key.id])
    edge.forget()
    plane.submit([row])
    assert [order.fingerprints for order in told] == [(("sha-256", "AB:CD"),), ()]
