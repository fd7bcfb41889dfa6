"""Seal a session in a process of its own: `python -m replay.store.seal_process DIR`.

The session stands on stdin and what came of it goes to stdout, both as JSON; a failure is one line
on stderr and exit code 1. So a server's own process spends no time on compressing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec

from replay.store.errors import StoreError
from replay.store.sealing import Session, seal

NICE = 15


def main() -> None:
    """Seal, with the least claim to the processor."""
    os.nice(NICE)
    session = msgspec.json.decode(sys.stdin.buffer.read(), type=Session)
    try:
        sealed = seal(Path(sys.argv[1]), session)
    except StoreError as error:
        click.echo(" ".join(str(error).split()), err=True)
        sys.exit(1)
    click.echo(msgspec.json.encode(sealed).decode())


if __name__ == "__main__":
    main()
