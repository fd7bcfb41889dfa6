"""What the control process sees of a media plane, real or fake.

`Plane` is the face of the native process (media/plane_client.py), `FakePlane`
(media/fake.py) keeps the same promises in memory. Who wires actors to media
holds a `MediaPlane` and nothing else.

The life of a plane, as its reader hears it:

    PlaneUp ─ notices … ─ PlaneLost (one a transport) ─ PlaneDown ─ PlaneUp ─ …

- After every `PlaneUp` the wiring submits the rows of all living entries
  (equal rows change nothing) and removes what stands in the table but is no
  longer wanted. `TransportEntry` tells the ICE state and the SRTP profile that
  the table has now: compare them, for notices may have been missed.
- `PlaneLost` comes once for each transport that a dead plane carried: those
  of the last table and all that were submitted since. It comes before the
  `PlaneDown` that says that the process is gone.
- A `PlaneDown` without `PlaneLost` before it means that only the connection
  broke: media flows on, and the next `PlaneUp` brings the same incarnation
  with its table. When that turns out to be another plane, the `PlaneLost` of
  the old one's transports come before that `PlaneUp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio
from msgspec import Struct

from protocol.notices import Notice
from protocol.orders import Order, PlaneInfo, Stats, Table

NOTICES_MAX = 1024
"""Notices that wait for a slow reader; then the plane's socket is not read any further."""

QUERY_TIMEOUT_S = 5.0
"""How long a question to the plane may take, in seconds, unless told otherwise."""


class PlaneUp(Struct, frozen=True, kw_only=True):
    """A plane answers and takes orders from now on.

    `fresh` is True for a process that starts with an empty table, and False
    for one that was taken over with what it carried (`table`).
    """

    info: PlaneInfo
    table: Table
    fresh: bool


class PlaneDown(Struct, frozen=True, kw_only=True):
    """The plane takes no orders until the next `PlaneUp`; what is submitted is dropped.

    `reason` is a word and, where there is one, its detail: `exit 1`,
    `signal SIGKILL`, `connection_lost`, `silent`, `hung`, `order_queue_overflow`,
    `protocol_error: …`, `quit`.
    """

    reason: str


PlaneItem = Notice | PlaneUp | PlaneDown


class PlaneUnavailable(Exception):
    """A question to the plane could not be answered: it is down, too slow, or refused it."""


class MediaPlane(Protocol):
    """Takes orders, answers questions, and yields notices in order."""

    @property
    def info(self) -> PlaneInfo | None:
        """The plane that answers now, None while it is down."""
        ...

    @property
    def notices(self) -> trio.MemoryReceiveChannel[PlaneItem]:
        """All notices but `DtlsReceived`, in order, with `PlaneUp` and `PlaneDown` among them.

        One task reads it. It holds `NOTICES_MAX`; while it is full the plane's
        socket is not read, the plane's own bounded queue fills, and answers
        wait too: so the reader never awaits `query_stats` or `describe`.
        """
        ...

    def submit(self, orders: Sequence[Order]) -> None:
        """Send orders after all those submitted before; never wait, never raise.

        While the plane is down they are dropped: all that a dead plane carried
        is reported lost, and after `PlaneUp` all rows are submitted again. An
        order that the plane refuses comes back as an `OrderRefused` notice.
        ICE passwords that rows leave empty are filled in here.
        Rows and removals, `RequestKeyFrame` and `Quit` belong here; `Hello`,
        `SendDtls` and `SetSrtpKeys` are the face's own.
        """
        ...

    async def query_stats(
        self, ids: Sequence[str], *, timeout_s: float = QUERY_TIMEOUT_S
    ) -> tuple[Stats, ...]:
        """Return the statistics of the named entries, unknown ids left out.

        Raises `PlaneUnavailable`.
        """
        ...

    async def describe(self, *, timeout_s: float = QUERY_TIMEOUT_S) -> Table:
        """Return the whole table of the plane. Raises `PlaneUnavailable`."""
        ...
