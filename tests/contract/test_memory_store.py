"""The store in memory keeps the contract, and holds commits when a test asks for it."""

import contextlib

from replay.store import MemoryStore
from tests.contract.store_contract import StoreContract, draft


class TestMemoryStore(StoreContract):
    @contextlib.asynccontextmanager
    async def opened(self, tmp_path, **options):
        store = MemoryStore(**options)
        yield store
        await store.aclose()

    async def test_held_commits_stay_pending_until_they_are_released(self, store):
        kept = await store.append("lobby", 0, [draft(1)])
        store.hold_commits()
        receipt = store.append_nowait("lobby", [draft(2)])
        assert await store.read("lobby") == list(kept)
        assert (await store.head("lobby")).position == 1
        assert not receipt.durable
        store.release_commits()
        await receipt.wait_durable()
        assert (await store.head("lobby")).position == 2
