"""What a server reads of an open room's log when it comes back: the last session, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from actors import system
from protocol.ids import ROOM
from replay.store import SqliteStore
from replay.store.retention import Retention
from tests.control.stage import Stage
from tests.replay.sessions import Session, call, store


def reopened() -> Session:
    """A room that was closed, and opened again: somebody is in it."""
    session = call()
    session.close()
    session.wait(60)
    session.open()
    session.join("Bea")
    return session


async def recovered(directory: Path, reads: list[int] | None = None) -> tuple[set[str], list[str]]:
    """Start a control plane on a log; the names of those who are in the room, and what it told."""
    async with await SqliteStore.open(directory) as log:
        read = log.read

        async def noted(*arguments: Any, **options: Any) -> Any:
            found = await read(*arguments, **options)
            if reads is not None:
                reads.extend(envelope.position for envelope in found)
            return found

        log.read = noted  # type: ignore[method-assign]
        stage = Stage(store=log)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            await stage.start(nursery)
            names = set()
            if stage.system.has_room("lobby"):
                names = {peer.name for peer in stage.actor(ROOM, "lobby").state.peers.values()}
            nursery.cancel_scope.cancel()
        return names, stage.log.names()


async def test_only_the_last_session_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(system, "RECOVERED_AT_ONCE", 3)
    session = reopened()
    opened = [n for n, d in enumerate(session.drafts, 1) if d.type == "OpenRoom"]
    directory = await trio.to_thread.run_sync(store, tmp_path / "data", session)
    reads: list[int] = []
    names, told = await recovered(directory, reads)
    assert names == {"Bea"}
    assert "room_recovered" in told
    assert reads == list(range(opened[-1], session.position + 1))


@pytest.mark.parametrize("harm", ["missing", "altered"])
async def test_an_open_room_comes_back_though_an_old_archive_is_gone(
    tmp_path: Path, harm: str
) -> None:
    directory = await trio.to_thread.run_sync(store, tmp_path / "data", reopened())
    async with await SqliteStore.open(directory) as log:
        done = [each async for each in Retention(log).archive("lobby", reason="a test")]
    assert len(done) == 1
    for path in (directory / "archive").iterdir():
        if harm == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[::-1])
    names, told = await recovered(directory)
    assert names == {"Bea"}
    assert "room_not_recovered" not in told
