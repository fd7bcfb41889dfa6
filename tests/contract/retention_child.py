"""Archives or prunes, and kills itself before the n-th step that changes disk or database.

python -m tests.contract.retention_child archive|prune DIR N
"""

import os
import signal
import sys
from pathlib import Path

import trio

from replay.store import SqliteStore, archive_file, retention, sealing
from replay.store.retention import Retention

left = int(sys.argv[3])


def counted(function):
    def wrapped(*arguments, **options):
        global left  # noqa: PLW0603
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return wrapped


async def main(work, directory):
    async with await SqliteStore.open(directory) as store:
        inner = store.in_writer

        async def in_writer(change):
            return await inner(counted(change))

        store.in_writer = in_writer
        sealing.sync_directory = counted(sealing.sync_directory)
        retention.sync_directory = counted(retention.sync_directory)
        archive_file.os.fsync = counted(os.fsync)
        Path.rename = counted(Path.rename)
        Path.unlink = counted(Path.unlink)
        upkeep = Retention(store)
        if work == "archive":
            async for _ in upkeep.archive("lobby", reason="a test"):
                pass
        else:
            async for _ in upkeep.prune(before_ns=2500 * 1_000_000_000):
                pass
        os._exit(0)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]))
