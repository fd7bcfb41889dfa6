"""bench/results.md: one section a bench, each written by the bench that measured it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "results.md"
ORDER = ("forwarding", "two-cores", "janus")
"""The sections, as they follow each other."""

HEAD = """# What Reprise carries, measured

Written by `make bench`. Each part says when it was measured, on what, and which command measures
it alone; [docs/performance.md](../docs/performance.md) says why the figures are as they are.

In all of them a publisher sends 1.5 Mbit/s of VP8 in 30 bursts a second and opus 50 times a second,
and each viewer is a WebRTC client of its own (`reprise load`): ICE, DTLS-SRTP with AES-128-GCM,
receiver reports, transport-cc feedback ten times a second, NACK and PLI. It all runs on one machine
over loopback, where the kernel's receive path runs in the sender's calls.

| word | what it says |
| --- | --- |
| µs | CPU time of all processes of the router for each packet that a viewer received |
| floor | the same for a plain loop that encrypts and sends such packets, and does nothing else |
| core | how much of one core the router used |
| p50, p99 | one-way latency, from the publisher's stamp to the viewer's kernel |
| KB a viewer | what the router's memory grew, by viewers |
"""


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Put a section into the page, in place of the one that was there."""
    sections = _sections(page.read_text() if page.exists() else "")
    sections[name] = text.strip()
    there = [one for one in ORDER if one in sections]
    parts = [f"<!-- {one} -->\n{sections[one]}\n<!-- /{one} -->\n" for one in there]
    page.write_text("\n".join([HEAD, *parts]))


def _sections(text: str) -> dict[str, str]:
    found = re.findall(r"<!-- ([a-z-]+) -->\n(.*?)\n<!-- /\1 -->", text, flags=re.DOTALL)
    return {name: content for name, content in found if name in ORDER}


def rounds_of(rounds: int, duration_s: int) -> str:
    """Say how often and how long was measured."""
    if rounds == 1:
        return f"One round of {duration_s} s."
    return f"Medians of {rounds} rounds of {duration_s} s."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is a name, and the others are numbers."""
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
