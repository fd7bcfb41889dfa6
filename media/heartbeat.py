"""Notices that a plane hangs: a process that lives, takes bytes, and answers nothing.

Every `BEAT_S` the plane is asked something that each of its workers has to answer. It counts as
silent when that answer is out and nothing at all came from it for `SILENT_S`, while we waited for
its bytes the whole time. So neither a long table nor a reader of ours that is behind, nor a control
process that was stopped itself, makes a plane silent.

The connection then ends with `SILENT`. Whoever keeps the process tries another one, and ends a
process that says nothing on that either (`media.plane_process`).
"""

from __future__ import annotations

import trio

from media.plane_connection import PlaneConnection, Question
from protocol.orders import QueryStats

BEAT_S = 2.0
SILENT_S = 5.0
SECOND_LOOK_S = 0.25
"""After a stop of our own, what the plane had sent is read within this time."""
SILENT = "silent"
"""The reason of a connection's end."""


async def watch(connection: PlaneConnection) -> None:
    """Ask now and then, until cancelled; end the connection of a plane that hangs."""
    while True:
        await trio.sleep(BEAT_S)
        question = Question(QueryStats(ids=()))
        connection.enqueue([question])
        while not question.answered.is_set():
            with trio.move_on_after(SILENT_S):
                await question.answered.wait()
            if not question.answered.is_set() and await _is_silent(connection):
                connection.end(SILENT)
                return


async def _is_silent(connection: PlaneConnection) -> bool:
    since_s = connection.waiting_since_s
    if since_s is None or trio.current_time() - since_s < SILENT_S:
        return False
    await trio.sleep(SECOND_LOOK_S)
    return connection.waiting_since_s == since_s
