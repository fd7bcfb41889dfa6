"""Redaction: canaries in every text of every type, and none in any export."""

from __future__ import annotations

import base64
import itertools
import json
import zipfile

import msgspec
import pytest

from protocol import codec
from protocol.envelope import Draft
from protocol.ids import transport_address
from protocol.notices import IceStateChanged
from replay.fold import event_of
from replay.redact import NO_HASH, Redactor
from tests.replay.conftest import Commands
from tests.replay.samples import TYPES, sample
from tests.replay.sessions import START_NS, Session, store

FORMATS = ("jsonl", "chrome-trace", "mermaid", "rtcstats", "otlp", "bundle")
CANARY = "Kanarie7"
ADDRESS = "203.0.113.77"
ADDRESS_6 = "2001:db9:beef::77"
FINGERPRINT = ":".join(["C0", "FF", "EE", "5A"] * 8)


class Planter:
    """Gives every text of a sample a canary of its own."""

    def __init__(self):
        self.planted = itertools.count()
        self.addresses = itertools.count()

    def __call__(self, path):
        number = next(self.planted)
        if path.endswith((".remote", ".host", ".ip", ".address", ".announced_ips")):
            kinds = (f"{ADDRESS}:{number}", f"[{ADDRESS_6}]:{number}", ADDRESS_6)
            return kinds[next(self.addresses) % 3]
        return f"{CANARY}x{number}"


class Planted:
    """A log that is not a room's: one message or event of each type, full of canaries."""

    room = CANARY

    def __init__(self):
        plant = Planter()
        self.drafts = []
        for n, (name, kind) in enumerate(TYPES.items()):
            value = sample(kind, plant)
            data = codec.encode(value).replace(b"video/VP8", b"video/" + b"K7x")
            data = data.replace(
                ":".join(["AB"] * 32).encode()[: len(FINGERPRINT)], FINGERPRINT.encode()
            )
            is_event = name in EVENTS
            self.drafts.append(
                Draft(
                    at_ns=START_NS + n,
                    actor=f"consumer/{CANARY}{n}" if n % 2 else "room",
                    kind="event" if is_event else "message",
                    type=name,
                    correlation=f"{CANARY}/{n}",
                    data=data,
                    entropy=(CANARY * 2).encode()[:16],
                )
            )
        unknown = msgspec.msgpack.encode(
            {CANARY: [CANARY, {"deep": CANARY}, CANARY.encode(), {CANARY: 1}]}
        )
        for data in (unknown, b"\xc1" + CANARY.encode()):
            self.drafts.append(
                Draft(at_ns=START_NS, actor=CANARY, kind="event", type=CANARY, data=data)
            )

    position = 0


EVENTS = {name for name, kind in TYPES.items() if kind.__module__ == "protocol.events"}


def traces_of(content):
    """What in an export gives a canary away: as text, in hex, in base64, in any case."""
    lowered = content.lower()
    for secret in (CANARY, ADDRESS, ADDRESS_6, FINGERPRINT, "video/K7x"):
        raw = secret.encode()
        forms = (raw.lower(), raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")[:-1].lower())
        yield from (secret for form in forms if form in lowered)


def contents(path, form):
    if form != "bundle":
        return {"out": path.read_bytes()}
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return Commands(store(tmp_path_factory.mktemp("planted") / "data", Planted()))


@pytest.mark.parametrize("form", FORMATS)
def test_no_canary_survives_in_any_format(planted, form, tmp_path):
    for name, redact in (("plain", []), ("redacted", ["--redact"])):
        planted.text("export", CANARY, "--format", form, "-o", tmp_path / name, *redact)
    plain, redacted = contents(tmp_path / "plain", form), contents(tmp_path / "redacted", form)
    found = set().union(*(traces_of(content) for content in plain.values()))
    assert CANARY in found, "the canaries are there to be found"
    for name, content in redacted.items():
        assert not set(traces_of(content)), name
        assert content or form == "mermaid"


def test_every_kind_of_secret_was_planted(planted, tmp_path):
    planted.text("export", CANARY, "--format", "jsonl", "-o", tmp_path / "plain")
    content = (tmp_path / "plain").read_bytes()
    assert set(traces_of(content)) == {CANARY, ADDRESS, ADDRESS_6, FINGERPRINT, "video/K7x"}


def people():
    """A session whose people, addresses and application data are known."""
    session = Session("Annas-room")
    anna = session.join("Anna Kournikova")
    sending = session.transport(anna, connect=False)
    for state, remote in (
        ("connected", f"{ADDRESS}:4444"),
        ("disconnected", f"[{ADDRESS_6}]:4444"),
        ("connected", f"{ADDRESS}:5555"),
    ):
        notice = IceStateChanged(transport=sending, state=state, remote=remote)
        session.tell(transport_address(sending), notice)
    data = {"user": "anna@example.com", "tags": ["anna-tag"], "anna-key": 1}
    session.produce(anna, sending, app_data=data)
    session.join("Anna Kournikova")
    session.join("Bob Dylan")
    session.close("Bob threw it over")
    return session


SECRETS = (
    "anna", "bob", ADDRESS, ADDRESS_6, "192.0.2.1", "127.0.0.1", "example", "threw", "someone",
    "request-1/",
)  # fmt: skip


@pytest.fixture(scope="module")
def peopled(tmp_path_factory):
    session = people()
    return session, Commands(store(tmp_path_factory.mktemp("people") / "data", session))


@pytest.mark.parametrize("form", FORMATS)
def test_nobody_can_be_found_in_a_real_session(peopled, form, tmp_path):
    session, run = peopled
    ufrags = [
        event_of(e).ice_ufrag.encode() for e in session.envelopes() if e.type == "TransportOpened"
    ]
    run.text("export", "Annas-room", "--format", form, "--redact", "-o", tmp_path / "out")
    for name, content in contents(tmp_path / "out", form).items():
        for secret in SECRETS:
            assert secret.encode() not in content.lower(), (name, secret)
        for ufrag in ufrags:
            assert ufrag not in content
        for envelope in session.envelopes():
            assert envelope.hash.hex().encode() not in content
            assert not envelope.entropy or envelope.entropy.hex().encode() not in content


def redacted(session):
    redactor = Redactor()
    return list(redactor.envelopes(session.envelopes()))


def test_pseudonyms_are_consistent(peopled):
    session, _ = peopled
    log = redacted(session)
    joins = [event_of(e) for e in log if e.type == "PeerJoined"]
    anna, again, bob = (join.name for join in joins)
    assert anna == again == "name-1"
    assert bob not in (anna, "")
    remotes = [event_of(e).remote for e in log if e.type == "IceChanged"]
    first, second, third = remotes
    assert first.endswith(":4444")
    assert third == first.replace(":4444", ":5555")
    assert second not in remotes[::2]
    assert {e.room for e in log} == {"room-1"}


def test_what_is_no_secret_stays(peopled):
    session, _ = peopled
    for before, after in zip(session.envelopes(), redacted(session), strict=True):
        for name in ("position", "at_ns", "actor", "kind", "type", "version", "cause"):
            assert getattr(before, name) == getattr(after, name)
        assert after.hash == NO_HASH
        assert after.entropy == b""
        old, new = event_of(before), event_of(after)
        assert type(old) is type(new)
        for name in ("peer", "transport", "producer", "consumer", "kind", "state", "direction"):
            assert getattr(old, name, None) == getattr(new, name, None)
    added = next(e for e in redacted(session) if e.type == "ProducerAdded")
    kept = event_of(added)
    original = next(event_of(e) for e in session.envelopes() if e.type == "ProducerAdded")
    assert kept.rtp_parameters.codecs == original.rtp_parameters.codecs
    assert kept.rtp_parameters.header_extensions == original.rtp_parameters.header_extensions
    assert kept.app_data == {}


def test_a_redacted_session_still_has_its_state_and_figures(peopled, tmp_path):
    _, run = peopled
    run.text("export", "Annas-room", "--format", "bundle", "--redact", "-o", tmp_path / "zip")
    with zipfile.ZipFile(tmp_path / "zip") as bundle:
        manifest = json.loads(bundle.read("manifest.json"))
        figures = json.loads(bundle.read("stats.json"))
    assert (manifest["redacted"], manifest["head"], manifest["problem"]) == (True, None, None)
    assert [peer["name"] for peer in figures[0]["peers"]][:2] == ["name-1", "name-1"]
    assert figures[0]["closed_because"].startswith("text-")
