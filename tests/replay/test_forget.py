"""`reprise replay forget` without a server, and what commands show of those who are forgotten."""

from __future__ import annotations

import json
import os
import zipfile

import pytest
from msgspec.structs import replace

from protocol.commands import ConnectTransport
from protocol.ids import transport_address
from protocol.notices import DtlsStateChanged, IceStateChanged
from protocol.personal import FORGOTTEN
from protocol.transport_parameters import DtlsParameters
from replay.commands import forget as forget_command
from replay.key_file import FILE_NAME, KeyFile
from replay.recording_store import LAYOUT
from replay.scripting.source import read_script
from replay.side_store import open_writer
from replay.store.sqlite import held
from tests.replay.conftest import Commands
from tests.replay.sessions import FINGERPRINT, Session, store

MAIL = {"mail": "ann@example.org"}


@pytest.fixture
def made(tmp_path):
    """A room of Ann, Otto and another Ann, each under a key; the first Ann publishes."""
    directory = tmp_path / "data"
    directory.mkdir()
    file = KeyFile(directory, may_write=True)
    keys = file.append(3, os.urandom)
    file.close()
    session = Session("lobby")
    session.open()
    peers = [
        session.join(key.conceal(name))
        for key, name in zip(keys, ("Ann", "Otto", "ANN"), strict=True)
    ]
    transport = session.transport(peers[0], connect=False)
    fingerprint = replace(FINGERPRINT, value=keys[0].conceal(FINGERPRINT.value))
    parameters = DtlsParameters(fingerprints=(fingerprint,), role="client")
    session.ask(ConnectTransport(peer=peers[0], transport=transport, dtls_parameters=parameters))
    remote = keys[0].conceal("198.51.100.7:40000")
    for notice in (
        IceStateChanged(transport=transport, state="connected", remote=remote),
        DtlsStateChanged(transport=transport, state="connected", srtp_profile="AEAD_AES_128_GCM"),
    ):
        session.tell(transport_address(transport), notice)
    session.produce(peers[0], transport, app_data=keys[0].conceal(MAIL))
    session.close()
    store(directory, session)
    return Commands(directory), peers, keys, transport


def names(run):
    return [peer["name"] for peer in run.json("stats", "lobby")["peers"]]


def test_one_is_forgotten_and_the_others_are_not(made):
    run, (ann, _otto, _ann), keys, _ = made
    before = run.json("verify", "lobby")
    assert names(run) == ["Ann", "Otto", "ANN"]
    assert MAIL["mail"] in run.text("show", "lobby")
    told = run.json("forget", "lobby", ann, "--yes")
    assert told == {"room": "lobby", "peer": ann, "keys": 1, "recordings": 0, "in_clear": 0}
    assert names(run) == [FORGOTTEN, "Otto", "ANN"]
    assert MAIL["mail"] not in run.text("show", "lobby")
    assert run.json("state", "lobby", "--at", 10)["state"]["room"]["peers"][ann]["name"] == (
        FORGOTTEN
    )
    held_by = (run.directory / FILE_NAME).read_bytes()
    assert keys[0].secret not in held_by
    assert keys[1].secret in held_by
    after = run.json("verify", "lobby")
    assert after | {"seconds": 0} == before | {"seconds": 0}
    assert run.text("forget", "lobby", ann, "--yes") == f"{ann}: was forgotten already\n"


def test_a_name_finds_everybody_who_has_it(made):
    run, (ann, _otto, other), _, _ = made
    assert run.text("forget", "lobby", "--name", "aNN", "-y") == (
        f"{ann}: forgotten\n{other}: forgotten\n"
    )
    assert names(run) == [FORGOTTEN, "Otto", FORGOTTEN]
    assert run.fails("forget", "lobby", "--name", "Ann", "-y") == (
        "nobody called 'Ann' is in the log of room 'lobby'"
    )


def test_nothing_happens_unless_one_agrees(made):
    run, (ann, *_), _, _ = made
    asked = run("forget", "lobby", ann)
    assert asked.exit_code == 1
    assert "Ann" in asked.stderr
    assert "Forget this person for good?" in asked.stderr
    assert names(run) == ["Ann", "Otto", "ANN"]


def test_recordings_of_their_packets_go_too(made):
    run, (ann, otto, _), _, transport = made
    connection = open_writer(run.directory / LAYOUT.file_name, LAYOUT)
    connection.execute("INSERT INTO room (room) VALUES ('lobby')")
    for number, whose in enumerate((transport, "t_another")):
        connection.execute(
            "INSERT INTO recording (room_id, transport, reason, position, at_ns, part, parts, data)"
            " VALUES (1, ?, 'operator', ?, 1, 0, 1, x'00')",
            (whose, number + 1),
        )
    connection.close()
    assert run.json("forget", "lobby", otto, "--yes")["recordings"] == 0
    assert run.text("forget", "lobby", ann, "--yes") == (
        f"{ann}: forgotten, 1 parts of recordings deleted\n"
    )
    connection = open_writer(run.directory / LAYOUT.file_name, LAYOUT)
    assert connection.execute("SELECT transport FROM recording").fetchall() == [("t_another",)]
    connection.close()


def test_a_script_and_a_bundle_play_without_what_was_forgotten(made, tmp_path):
    run, (ann, *_), _, _ = made

    def told(source):
        script = read_script(source, run.directory)
        (publish,) = [
            step.action.app_data
            for peer in script.peers
            for step in peer.steps
            if hasattr(step.action, "app_data")
        ]
        return [peer.name for peer in script.peers], publish

    assert told("lobby") == (["Ann", "Otto", "ANN"], MAIL)
    run.text("forget", "lobby", ann, "--yes")
    assert told("lobby") == ([FORGOTTEN, "Otto", "ANN"], {})
    bundle = tmp_path / "bundle.zip"
    run.text("export", "lobby", "--format", "bundle", "-o", bundle)
    assert told(str(bundle)) == ([FORGOTTEN, "Otto", "ANN"], {})
    with zipfile.ZipFile(bundle) as files:
        assert all(b"ann@example" not in files.read(name) for name in files.namelist())


def test_redacted_exports_decode_whether_forgotten_or_not(made):
    run, (ann, *_), _, _ = made
    for _ in range(2):
        lines = run.text("export", "lobby", "--redact", "--format", "jsonl").splitlines()
        added = [json.loads(line) for line in lines if '"ProducerAdded"' in line]
        assert [each["data"]["app_data"] for each in added] == [{}]
        assert not any(word in "\n".join(lines) for word in ("Ann", "Otto", "example.org"))
        run.text("forget", "lobby", ann, "--yes")


def test_logs_of_before_there_were_keys_are_told_of(run, lobby):
    before = run.json("verify", "lobby")
    peer = run.json("stats", "lobby")["peers"][0]["peer"]
    result = run("forget", "lobby", peer, "--yes")
    assert result.exit_code == 1
    assert "written in clear by an older release" in result.stderr
    assert run.json("verify", "lobby")["position"] == before["position"] == lobby.position


def test_what_cannot_be_met_is_one_line(made, monkeypatch):
    run, (ann, *_), _, _ = made
    assert "never was a peer 'p_nobody'" in run.fails("forget", "lobby", "p_nobody", "--yes")
    assert "nowhere" in run.fails("forget", "nowhere", "p_nobody", "--yes")
    assert run("forget", "lobby").exit_code == 2
    monkeypatch.setattr(forget_command, "TIMEOUT_S", 0.5)
    with held(run.directory):  # as a server does that cannot be reached
        line = run.fails("forget", "lobby", ann, "--yes", "--url", "http://127.0.0.1:9")
    assert line.startswith("no server at http://127.0.0.1:9")
    assert names(run) == ["Ann", "Otto", "ANN"]
