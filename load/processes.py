"""CPU time and memory of processes of this machine, out of /proc."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class Usage(Struct, frozen=True, kw_only=True):
    """Of some processes and all that they started, together."""

    cpu_s: float
    """User and system time so far, in steps of 1/100 s."""
    memory_bytes: int
    """Proportional set size where the kernel tells, else resident size."""
    processes: int


def usage_of(pids: Sequence[int]) -> Usage | None:
    """Sum up; None without pids. A process that is gone counts for nothing."""
    if not pids:
        return None
    parents = _parents()
    wanted = set(pids)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in wanted} - wanted
        wanted |= more
        grown = bool(more)
    found = [(_cpu_s(pid), _memory_bytes(pid)) for pid in sorted(wanted)]
    alive = [(cpu_s, memory) for cpu_s, memory in found if cpu_s is not None]
    return Usage(
        cpu_s=sum(cpu_s for cpu_s, _ in alive),
        memory_bytes=sum(memory for _, memory in alive),
        processes=len(alive),
    )


def _parents() -> dict[int, int]:
    parents = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields is not None:
                parents[int(entry.name)] = int(fields[1])
    return parents


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third on: what precedes may hold spaces."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _cpu_s(pid: int) -> float | None:
    fields = _stat(pid)
    return None if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS


def _memory_bytes(pid: int) -> int:
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            for line in (_PROC / str(pid) / name).read_text().splitlines():
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
        except OSError:
            continue
    return 0
