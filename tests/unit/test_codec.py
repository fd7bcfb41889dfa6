"""How messages and events stand in the log: the same bytes for the same value, for ever."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from actors.kernel.letter import Letter
from protocol import codec, commands, events, messages, notices
from protocol.codec import UnknownType, decode, encode, state_bytes, type_of, version_of
from protocol.commands import Rights
from tests.control import samples

ALL = [
    *get_args(commands.Command),
    *get_args(messages.Message),
    *get_args(notices.Notice),
    *get_args(events.Event),
]
JOINED = events.PeerJoined(peer="p", name="Ann", rights=Rights(publish=False))


def test_every_type_has_a_name_of_its_own() -> None:
    names = [kind.__name__ for kind in ALL]
    assert len(names) == len(set(names))
    assert {name for name in names if version_of(name) != 1} == {
        "Join", "PeerJoined", "Produce", "ProducerAdded", "OpenConsumer", "ConsumerOpened",
        "ConnectTransport", "TransportConnecting", "IceStateChanged", "IceTupleChanged",
        "IceChanged",
    }  # fmt: skip
    assert all(version_of(name) <= 2 for name in names)


def test_a_value_comes_back_as_it_was() -> None:
    assert type_of(JOINED) == "PeerJoined"
    assert decode("PeerJoined", 1, encode(JOINED)) == JOINED
    assert decode("PeerJoined", 2, encode(JOINED)) == JOINED


def test_bytes_do_not_depend_on_the_order_in_which_maps_were_filled() -> None:
    one = messages.EvictPeer(peer="p", reason="r")
    assert encode(one) == encode(messages.EvictPeer(reason="r", peer="p"))

    def produce(app_data: dict[str, Any]) -> bytes:
        return encode(samples.produce("p", "t", app_data=app_data))

    assert produce({"a": 1, "b": {"c": 1, "d": 2}}) == produce({"b": {"d": 2, "c": 1}, "a": 1})
    assert state_bytes({"a": 1, "b": 2}) == state_bytes({"b": 2, "a": 1})


def test_a_form_that_is_in_logs_already_does_not_change() -> None:
    """Whoever changes what stands here needs a new version and an upcaster."""
    form = b"\x83\xa4peer\xa1p\xa4name\xa3Ann\xa6rights\x82\xa7publish\xc2\xa9subscribe\xc3"
    assert encode(JOINED) == form


def test_types_and_versions_of_the_future_are_named() -> None:
    with pytest.raises(UnknownType, match="PeerDanced version 1"):
        decode("PeerDanced", 1, b"\x80")
    with pytest.raises(UnknownType, match="PeerJoined version 3"):
        decode("PeerJoined", 3, encode(JOINED))


def test_payloads_that_do_not_fit_raise() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode("PeerJoined", 1, b"\x80")
    with pytest.raises(msgspec.DecodeError):
        decode("PeerJoined", 1, b"\xc1")


def test_only_messages_and_events_are_written() -> None:
    with pytest.raises(AssertionError):
        encode(Rights())


def test_old_versions_are_upcast_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codec._VERSIONS, "PeerLeft", 3)
    monkeypatch.setitem(
        codec._UPCASTERS, ("PeerLeft", 1), lambda old: {"peer": old["who"], "why": "unknown"}
    )
    monkeypatch.setitem(
        codec._UPCASTERS,
        ("PeerLeft", 2),
        lambda old: {"peer": old["peer"], "reason": old["why"]},
    )
    first = decode("PeerLeft", 1, msgspec.msgpack.encode({"who": "p"}))
    assert first == events.PeerLeft(peer="p", reason="unknown")
    second = decode("PeerLeft", 2, msgspec.msgpack.encode({"peer": "q", "why": "evicted"}))
    assert second == events.PeerLeft(peer="q", reason="evicted")
    third = events.PeerLeft(peer="r", reason="requested")
    assert decode("PeerLeft", 3, encode(third)) == third
    assert version_of("PeerLeft") == 3


def test_letters_share_nothing_with_what_was_posted() -> None:
    command = samples.produce("p", "t", app_data={"list": [1]})
    letter = Letter.of(command, cause=3, correlation="c")
    command.app_data["list"].append(2)
    assert letter.message().app_data == {"list": [1]}
    assert letter.message() is not letter.message()
    assert (letter.type, letter.cause, letter.correlation) == ("Produce", 3, "c")
