"""Open files: how many a run needs, and what to do when they run out."""

from __future__ import annotations

import resource

from load.options import LoadFailed, LoadOptions

FILES_PER_CLIENT = 2
"""A UDP socket and a WebSocket."""
FILES_BESIDES = 64


def ensure_files(options: LoadOptions) -> None:
    """Raise the soft limit of open files as far as a run needs. Raises `LoadFailed`."""
    clients = options.viewers_total + options.rooms * options.publishers
    needed = FILES_PER_CLIENT * clients + FILES_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise LoadFailed(f"{clients} clients need {needed} open files; {files_advice()}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def files_advice() -> str:
    """Say which limit there is, and how to raise it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"too many open files: the limit is {soft} (hard limit {hard}), and each client needs two;"
        " raise it with `ulimit -n NUMBER`, or LimitNOFILE= in a systemd unit"
    )
