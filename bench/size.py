"""How many bytes a participant and minute take in an archive, apart from joining."""

import tempfile
from pathlib import Path

from bench.sessions import BUSY, CALM, long_session
from protocol.envelope import genesis
from replay.store.archive_file import ArchiveHeader, write_archive

PEOPLE = 10
HOUR_S = 3600
KINDS = {"busy": BUSY, "calm": CALM}


def sizes(scratch) -> dict[str, dict[str, float]]:
    """For each kind of session, an hour of ten people: bytes and envelopes."""
    found = {}
    for name, change in KINDS.items():
        joined = _archived(scratch, long_session(people=PEOPLE, change=change))
        session = long_session(people=PEOPLE, seconds=HOUR_S, change=change)
        minutes = (session.at_ns - session.drafts[0].at_ns) / 60e9 * PEOPLE
        found[name] = {
            "archived_bytes_per_participant_minute": (_archived(scratch, session) - joined)
            / minutes,
            "envelopes_per_participant_minute": session.position / minutes,
            "joining_bytes_per_participant": joined / PEOPLE,
        }
    return found


def _archived(scratch, session) -> int:
    """Size of a session's archive."""
    envelopes = session.envelopes()
    last = envelopes[-1]
    header = ArchiveHeader(
        room=session.room,
        first=1,
        last=last.position,
        before_hash=genesis(session.room),
        hash=last.hash,
        first_at_ns=envelopes[0].at_ns,
        last_at_ns=last.at_ns,
        messages=sum(envelope.kind == "message" for envelope in envelopes),
        events=sum(envelope.kind == "event" for envelope in envelopes),
        written_at_ns=0,
        release="bench",
    )
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        return write_archive(Path(directory) / "archive", header, [envelopes])
