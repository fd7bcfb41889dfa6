"""The thread that records durable heads while the next group is already being committed.

The `Writer` hands over each group once its commit is durable (or failed), in the order of the
commits. Of what waits, the recorder merges the heads into one record, writes and syncs it, and
only then lets the outcomes be heard, in the same order. So a group's two waits for the disk, for
its commit and for its heads, overlap with those of its neighbours, and never with each other.

One record for several groups, and not one each in one write: if the power goes, the sectors of a
write may reach the disk in any order, and a torn record before a whole one is damage.

When heads cannot be recorded, all groups whose heads are not on record fail with `StoreFailed`,
those that were committed meanwhile too, and nothing is recorded any more.
"""

import queue
import threading
from collections.abc import Callable

from replay.store.errors import StoreError, StoreFailed
from replay.store.heads import HeadsFile
from replay.store.interface import Head
from replay.store.ledger import Append

GROUPS_AHEAD_MAX = 4
"""Groups that were committed and wait for their heads. Beyond, the writer waits too."""

Outcomes = list[tuple[Append, StoreError | None]]
Settle = Callable[[Outcomes], None]
_Group = tuple[Outcomes, dict[str, Head]]


class Recorder:
    """Records heads in a thread of its own. All methods are for the one thread that commits.

    `settle` is called in the recorder's thread with outcomes in the order of `hand_over`.
    """

    def __init__(self, heads: HeadsFile, settle: Settle) -> None:
        self._heads = heads
        self._settle = settle
        self._queue: queue.SimpleQueue[_Group | threading.Event | None] = queue.SimpleQueue()
        self._space = threading.Semaphore(GROUPS_AHEAD_MAX)
        self._handed_over = 0
        self._settled = 0
        self._failure: StoreFailed | None = None
        self._thread = threading.Thread(target=self._run, name="event log heads", daemon=True)

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    @property
    def failure(self) -> StoreFailed | None:
        """Why nothing more is recorded."""
        return self._failure

    @property
    def idle(self) -> bool:
        """Whether all that was handed over is settled."""
        return self._settled == self._handed_over

    def hand_over(self, outcomes: Outcomes, heads: dict[str, Head]) -> None:
        """Record the heads of a group whose commit is durable, then settle its outcomes.

        `heads` were prepared in the heads file; none if nothing of the group was committed.
        Waits while `GROUPS_AHEAD_MAX` groups are under way.
        """
        self._space.acquire()
        self._handed_over += 1
        self._queue.put((outcomes, heads))

    def wait_idle(self) -> None:
        """Wait until all that was handed over is settled."""
        if not self.idle:
            reached = threading.Event()
            self._queue.put(reached)
            reached.wait()

    def stop(self) -> None:
        """Settle all that was handed over, then end. Blocks until that is done."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        item = self._queue.get()
        while item is not None:
            if isinstance(item, threading.Event):
                item.set()
                item = self._queue.get()
                continue
            groups = []
            while isinstance(item, tuple):
                groups.append(item)
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            self._finish(groups)
            del groups
            if isinstance(item, tuple):
                del item
                item = self._queue.get()

    def _finish(self, groups: list[_Group]) -> None:
        heads: dict[str, Head] = {}
        for _, own in groups:
            heads |= own
        if heads and self._failure is None:
            self._failure = self._record(heads)
        outcomes = [outcome for own, _ in groups for outcome in own]
        if self._failure is not None:
            outcomes = [self._failed(*outcome) for outcome in outcomes]
        self._settle(outcomes)
        self._settled += len(groups)
        self._space.release(len(groups))

    def _record(self, heads: dict[str, Head]) -> StoreFailed | None:
        try:
            self._heads.write(heads)
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait must hear of it
            failure = StoreFailed(f"the heads of the event log could not be recorded: {error}")
            failure.__cause__ = error
            return failure
        return None

    def _failed(self, append: Append, error: StoreError | None) -> tuple[Append, StoreError | None]:
        if append.lane.failure is None:
            append.lane.failure = self._failure
        return append, error or self._failure
