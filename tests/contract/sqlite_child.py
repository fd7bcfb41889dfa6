"""A process that appends without end and tells each acknowledgement, until it is killed.

python -m tests.contract.sqlite_child DIR SEED    prints: room, position and hash, a line each
"""

import os
import random
import sys

import trio

from replay.store import SqliteStore
from tests.contract.store_contract import draft


async def main(directory, seed):
    async with (
        await SqliteStore.open(directory) as store,
        trio.open_nursery() as nursery,
    ):
        for n in range(20):
            nursery.start_soon(write, store, f"room {n % 5}", random.Random(seed + n))


async def write(store, room, choose):
    while True:
        sent = [draft(data=choose.randbytes(choose.randrange(2_000))) for _ in range(3)]
        for envelope in await store.append_nowait(room, sent).wait_durable():
            line = f"{room}\t{envelope.position}\t{envelope.hash.hex()}\n"
            os.write(1, line.encode())  # at once, or the kill takes it along


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
