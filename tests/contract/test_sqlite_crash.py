"""Killed without warning, the store has everything that it acknowledged."""

import signal
import subprocess
import sys

import pytest

from replay.store import SqliteStore
from tests.contract.store_contract import draft


def acknowledge_and_kill(directory, seed, kill_after):
    """Let a child append until it has acknowledged so much, and kill it in the midst of it."""
    acknowledged = {}
    command = [sys.executable, "-m", "tests.contract.sqlite_child", directory, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            room, position, digest = line.split("\t")
            acknowledged[room, int(position)] = digest.strip()
            if len(acknowledged) == kill_after:
                child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert len(acknowledged) >= kill_after
    return acknowledged


@pytest.mark.parametrize("kill_after", [1, 40, 700, 6_000])
async def test_all_that_was_acknowledged_before_a_kill_is_there(tmp_path, kill_after):
    acknowledged = acknowledge_and_kill(tmp_path, 1, kill_after)
    acknowledged |= acknowledge_and_kill(tmp_path, 2, kill_after)  # goes on from what is there
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        found = {}
        for summary in await store.rooms():
            head = await store.verify_chain(summary.room)
            assert head.position == summary.position
            for envelope in await store.read(summary.room):
                found[summary.room, envelope.position] = envelope.hash.hex()
            after = await store.append(summary.room, head.position, [draft()])
            assert after[0].position == head.position + 1
        assert acknowledged.items() <= found.items()
