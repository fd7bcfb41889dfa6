"""The keyring of a running server: keys for those who join, at hand for as long as they are there.

Keys are made durable a stock at a time, before anybody needs one, so a join waits for no disk but
the log's. File operations run in a thread, one at a time.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import trio

from protocol.personal import KEY_ID_BYTES
from protocol.personal_key import SECRET_BYTES, PersonalKey
from protocol.store_error import StoreError
from replay.key_file import KeyFile

STOCK = 512
"""Keys that are made at a time."""
STOCK_LOW = 256
"""With fewer left, more are made."""
AT_HAND = 131_072
"""Keys that are kept in memory; those not used for longest go first."""
RETRY_S = 1.0

_T = TypeVar("_T")


class Keyring:
    """See `actors.kernel.interfaces.Keyring`. Made by `open`; `aclose` ends it.

    For the process that holds the log's lock, in one trio run. `run` is its task: without it
    whoever finds the stock empty waits while more is made.
    """

    def __init__(self, file: KeyFile, random: Callable[[int], bytes]) -> None:
        self._file = file
        self._random = random
        self._stranger = PersonalKey(random(KEY_ID_BYTES), random(SECRET_BYTES))
        self._stock: deque[PersonalKey] = deque()
        self._at_hand: OrderedDict[bytes, PersonalKey] = OrderedDict()
        self._discarded: list[bytes] = []
        self._working = trio.CapacityLimiter(1)
        self._filling = trio.Lock()
        self._is_low = trio.Event()

    @classmethod
    async def open(
        cls, directory: Path, *, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> Keyring:
        """Open the keyring of a data directory, or make it. Raises `StoreError`."""
        file = await trio.to_thread.run_sync(lambda: KeyFile(directory, may_write=True))
        keyring = cls(file, random)
        try:
            await keyring._fill()
        except BaseException:
            file.close()
            raise
        return keyring

    async def aclose(self) -> None:
        """Give back what nobody took, and let go of the file."""
        with trio.CancelScope(shield=True):
            stock, self._stock = list(self._stock), deque()
            with suppress(StoreError):
                await self._work(lambda: self._file.give_back(stock))
                await self._destroy_discarded()
            await self._work(self._file.close)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the stock filled, until cancelled."""
        task_status.started()
        while True:
            await self._is_low.wait()
            self._is_low = trio.Event()
            try:
                await self._fill()
            except StoreError:
                await trio.sleep(RETRY_S)  # whoever finds no key is told

    @property
    def stranger(self) -> PersonalKey:
        """See `actors.kernel.interfaces.Keyring`."""
        return self._stranger

    async def take(self) -> PersonalKey:
        """See `actors.kernel.interfaces.Keyring`."""
        while not self._stock:
            await self._fill()
        key = self._stock.popleft()
        if len(self._stock) < STOCK_LOW:
            self._is_low.set()
        self._keep(key)
        return key

    def discard(self, key: PersonalKey) -> None:
        """See `actors.kernel.interfaces.Keyring`."""
        self._at_hand.pop(key.id, None)
        self._discarded.append(key.id)

    def key(self, key_id: bytes) -> PersonalKey | None:
        """See `actors.kernel.interfaces.Keyring`."""
        found = self._at_hand.get(key_id)
        if found is not None:
            self._at_hand.move_to_end(key_id)
        return found

    async def load(self, key_ids: Collection[bytes]) -> None:
        """See `actors.kernel.interfaces.Keyring`."""
        wanted = list(key_ids)
        for key in await self._work(lambda: [self._file.find(key_id) for key_id in wanted]):
            if key is not None:
                self._keep(key)

    async def destroy(self, key_ids: Collection[bytes]) -> int:
        """Destroy keys, durably; how many there were. Raises `StoreError`."""
        wanted = list(key_ids)
        try:
            return await self._work(lambda: self._file.destroy(wanted))
        finally:
            for key_id in wanted:
                self._at_hand.pop(key_id, None)

    async def _fill(self) -> None:
        """Make more keys; those who come while it is done share them."""
        before = len(self._stock)
        async with self._filling:
            if len(self._stock) > before or len(self._stock) >= STOCK:
                return
            await self._destroy_discarded()
            self._stock += await self._work(lambda: self._file.append(STOCK, self._random))

    async def _destroy_discarded(self) -> None:
        discarded, self._discarded = self._discarded, []
        if discarded:
            await self.destroy(discarded)

    def _keep(self, key: PersonalKey) -> None:
        self._at_hand[key.id] = key
        while len(self._at_hand) > AT_HAND:
            self._at_hand.popitem(last=False)

    async def _work(self, work: Callable[[], _T]) -> _T:
        return await trio.to_thread.run_sync(work, limiter=self._working)


class MemoryKeyring:
    """A keyring that is nowhere but in memory, for tests; what it gives out `random` decides."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self.keys: dict[bytes, PersonalKey] = {}
        self._stranger = PersonalKey(random(KEY_ID_BYTES), random(SECRET_BYTES))

    @property
    def stranger(self) -> PersonalKey:
        """See `actors.kernel.interfaces.Keyring`."""
        return self._stranger

    async def take(self) -> PersonalKey:
        """See `actors.kernel.interfaces.Keyring`."""
        await trio.lowlevel.checkpoint()
        key = PersonalKey(self._random(KEY_ID_BYTES), self._random(SECRET_BYTES))
        self.keys[key.id] = key
        return key

    def discard(self, key: PersonalKey) -> None:
        """See `actors.kernel.interfaces.Keyring`."""
        del self.keys[key.id]

    def key(self, key_id: bytes) -> PersonalKey | None:
        """See `actors.kernel.interfaces.Keyring`."""
        return self.keys.get(key_id)

    async def load(self, key_ids: Collection[bytes]) -> None:  # noqa: ARG002 - all are at hand
        """See `actors.kernel.interfaces.Keyring`."""
        await trio.lowlevel.checkpoint()

    async def destroy(self, key_ids: Collection[bytes]) -> int:
        """Destroy keys; how many there were."""
        await trio.lowlevel.checkpoint()
        return sum(self.keys.pop(key_id, None) is not None for key_id in key_ids)
