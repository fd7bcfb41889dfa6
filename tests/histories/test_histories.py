"""Histories: logs of real sessions, which every change must be able to verify.

A history that does not verify any more means that a decider has changed its mind. If that is on
purpose, give it a number (protocol/behaviours.py); do not record the history again.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from actors.core.recovery import rebuild
from protocol import codec
from protocol.ids import Address
from replay.cli import replay
from replay.counterfactual import Counterfactual
from replay.explain import sentence
from replay.fold import Fold, event_of
from replay.history import History
from replay.reader import LogReader
from replay.session_stats import sessions
from replay.verify import verify
from tests.histories import record

HISTORIES = sorted(Path(__file__).parent.glob("*.zip"))
SOUND = [path for path in HISTORIES if not path.name.startswith("corrupted")]


def opened(path, directory):
    """Unpack a history; what is told of it, and its data directory."""
    with zipfile.ZipFile(path) as history:
        history.extractall(directory)
    return json.loads((directory / "about.json").read_text()), directory


def log_of(directory, room):
    with LogReader(directory) as reader:
        return [envelope for batch in reader.batches(room) for envelope in batch]


def test_there_are_real_sessions_among_them():
    names = {path.stem for path in HISTORIES}
    assert {"chromium-call", "chromium-plane-killed", "chromium-control-killed"} <= names
    assert {"pymediasoup-viewer", "corrupted-on-purpose", "takeover", "reopened"} <= names
    assert "load-test" in names


def test_the_load_test_is_one_of_many_viewers_that_come_and_go(tmp_path):
    about, directory = opened(Path(__file__).parent / "load-test.zip", tmp_path)
    (session,) = sessions(log_of(directory, about["room"]))
    assert session.peers_max > 60
    assert len(session.peers) > session.peers_max + 10, "some came for others who left"
    assert session.consumers_max >= 120
    assert any(peer.sockets_lost for peer in session.peers)


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_history_is_whole_and_decided_as_it_was(path, tmp_path):
    about, directory = opened(path, tmp_path)
    with LogReader(directory) as reader:
        verdict = verify(reader, about["room"])
        assert reader.hash_at(about["room"], about["position"]).hex() == about["head"]
    assert verdict.equal, verdict
    assert verdict.position == about["position"]
    assert verdict.messages > 0


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_history_folds_as_it_recovers(path, tmp_path):
    about, directory = opened(path, tmp_path)
    log = log_of(directory, about["room"])
    fold = Fold(about["room"])
    recovered = []
    for envelope in log:
        event = fold.apply(envelope)
        assert sentence(envelope)
        if event is not None:
            recovered.append((Address(envelope.actor), event_of(envelope)))
    if fold.room.closed is None:
        assert codec.state_bytes(fold.listed()) == codec.state_bytes(rebuild(recovered))
    else:
        assert rebuild(recovered) == {}


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_history_forks_without_difference_if_nothing_is_changed(path, tmp_path):
    about, directory = opened(path, tmp_path)
    room = about["room"]
    with LogReader(directory) as reader:
        history = History(reader, room)
        for wanted in (2, about["position"] // 3, about["position"] // 2):
            position = history.decision_end(wanted)
            fork = history.at(position)
            if fork.room.closed is not None:
                continue
            peers_max = fork.room.settings.peers_max
            counterfactual = Counterfactual(fork, history.at(position), [f"peers_max={peers_max}"])
            report = counterfactual.run(
                lambda after=position: (e for batch in reader.batches(room, after) for e in batch)
            )
            assert report.differing == {}, report.outcomes[:2]
            assert report.decisions == report.same > 0


def test_the_corrupted_one_is_found_out_where_it_was_altered(tmp_path):
    path = next(path for path in HISTORIES if path.name.startswith("corrupted"))
    about, directory = opened(path, tmp_path)
    before = (directory / "events.sqlite3").read_bytes()
    arguments = ["verify", about["room"], "--data", str(directory), "--json"]
    result = CliRunner().invoke(replay, arguments)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["equal"]) == (1, False)
    assert f"is damaged from position {about['corrupt']}" in told["damage"]
    assert told["position"] == about["corrupt"] - 1
    assert told["divergence"] is None
    assert (directory / "events.sqlite3").read_bytes() == before


def test_a_new_history_can_be_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "HISTORIES", tmp_path)
    record.main(["first", "--scenario", "join_and_leave"])
    about, directory = opened(tmp_path / "first.zip", tmp_path / "one")
    record.main(["second", "--data", str(directory), "--room", "room", "--about", "a copy"])
    told, copy = opened(tmp_path / "second.zip", tmp_path / "two")
    assert (told["head"], told["about"]) == (about["head"], "a copy")
    assert log_of(copy, "room") == log_of(directory, "room")
    with pytest.raises(FileExistsError):
        record.main(["second", "--scenario", "join_and_leave"])
    assert "envelopes" in capsys.readouterr().out
