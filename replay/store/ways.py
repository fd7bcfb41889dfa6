"""Ways through a room's log that its indexes open: where a session begins, what a decision led to.

A file of an older release may lack the indexes (see `replay.store.sqlite_file`): where a session
begins is then looked for from the end back, and effects must be looked for by a scan.
"""

import sqlite3
from collections import deque

_OPENING_SQL = (
    "SELECT position FROM envelope {how} WHERE room_id = ? AND position <= ? AND type = 'OpenRoom'"
    " AND kind = 'message' AND actor = 'room' ORDER BY position DESC LIMIT 1"
)
_IS_OPENING_SQL = (
    "SELECT 1 FROM envelope INDEXED BY sqlite_autoindex_envelope_1"
    " WHERE room_id = ? AND position = ? AND type = 'OpenRoom'"
)
_EFFECT_SQL = (
    "SELECT position FROM envelope WHERE room_id = ? AND cause = ? AND kind = 'message'"
    " AND +position <= ?"  # with a plus, the index of positions is not taken
)
_EVENTS_SQL = (
    "SELECT position, kind, cause FROM envelope WHERE room_id = ? AND position > ?"
    " AND position <= ? ORDER BY position"
)


def last_opening(connection: sqlite3.Connection, room_id: int | None, up_to: int) -> int | None:
    """Find the last `OpenRoom` up to a position, among what is in the database.

    Should the index be damaged, it is looked for without. What is found is not checked further.
    Raises `sqlite3.Error`.
    """
    asked = (room_id, up_to)
    try:
        row = connection.execute(_OPENING_SQL.format(how=""), asked).fetchone()
        if row is None or connection.execute(_IS_OPENING_SQL, (room_id, row[0])).fetchone():
            return None if row is None else int(row[0])
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
    plain = "INDEXED BY sqlite_autoindex_envelope_1"
    row = connection.execute(_OPENING_SQL.format(how=plain), asked).fetchone()
    return None if row is None else int(row[0])


def knows_effects(connection: sqlite3.Connection) -> bool:
    """Whether effects can be found without a scan."""
    sql = "SELECT 1 FROM sqlite_schema WHERE name = 'envelope_effect'"
    return connection.execute(sql).fetchone() is not None


def effects(
    connection: sqlite3.Connection, room_id: int | None, root: int, up_to: int
) -> list[tuple[int, int]]:
    """Find position and cause of all that followed from a message, in order of position.

    An actor's events stand right behind their message, for they are appended with it; messages
    that a decision sent come at any time later. Raises `sqlite3.Error`.
    """
    found: dict[int, int] = {}
    rest = deque([root])
    while rest:
        cause = rest.popleft()
        for position in _events_of(connection, room_id, cause, up_to):
            if position not in found:
                found[position] = cause
                rest.append(position)
        for (position,) in connection.execute(_EFFECT_SQL, (room_id, cause, up_to)):
            if position not in found:
                found[position] = cause
                rest.append(position)
    return sorted(found.items())


def _events_of(
    connection: sqlite3.Connection, room_id: int | None, cause: int, up_to: int
) -> list[int]:
    events = []
    rows = connection.execute(_EVENTS_SQL, (room_id, cause, up_to))
    for position, kind, caused_by in rows:
        if kind != "event" or caused_by != cause:
            break
        events.append(position)
    rows.close()
    return events
