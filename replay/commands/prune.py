"""`reprise replay prune`: remove old sessions for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from replay.amounts import duration_ns, size_bytes, size_text
from replay.commands.common import (
    data_option,
    echo_json,
    echo_line,
    existing_log,
    json_option,
    one_line_errors,
)
from replay.store.retention import Pruned, Retention
from replay.store.sqlite import SqliteStore
from replay.text import printable, utc
from replay.upkeep import forget_session


class _Amount(click.ParamType[int]):
    def __init__(self, name: str, read: Callable[[str], int]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else self._read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option(
    "--older-than",
    type=_Amount("duration", duration_ns),
    help="Sessions whose last event is older, such as 30d or 12h.",
)
@click.option(
    "--larger-than",
    type=_Amount("size", size_bytes),
    help="The oldest sessions, until the log is no larger, such as 10GiB.",
)
@data_option
@json_option("One JSON object a session.")
@one_line_errors
def prune(
    directory: Path, *, older_than: int | None, larger_than: int | None, as_json: bool
) -> None:
    """Remove whole sessions that are over, for good: archives first, the oldest first.

    Of each a tombstone stays, with its positions and its last hash, so that the log of what comes
    after still verifies. While a server runs it holds the log; let it prune by itself then, with
    its settings prune-after and prune-size.
    """
    if older_than is None and larger_than is None:
        raise click.UsageError("say what goes: --older-than, --larger-than or both")
    existing_log(directory)
    trio.run(partial(_prune, directory, older_than, larger_than, as_json=as_json))


async def _prune(
    directory: Path, older_than: int | None, larger_than: int | None, *, as_json: bool
) -> None:
    async with await SqliteStore.open(directory) as store:
        retention = Retention(store)
        await retention.tidy()
        before = await retention.bytes_used()
        before_ns = None if older_than is None else time.time_ns() - older_than
        found = 0
        async for pruned in retention.prune(before_ns=before_ns, bytes_max=larger_than):
            found += 1
            forget = partial(forget_session, directory, pruned.room, pruned.last, pruned.last_at_ns)
            await trio.to_thread.run_sync(forget)
            _tell(pruned, as_json=as_json)
        if found:
            await retention.compact()
        if not as_json:
            after = await retention.bytes_used()
            click.echo(
                f"{found} sessions removed, the log went from {size_text(before)} to"
                f" {size_text(after)}."
                if found
                else f"Nothing to remove; the log has {size_text(after)}."
            )


def _tell(pruned: Pruned, *, as_json: bool) -> None:
    if as_json:
        echo_json(pruned._asdict())
        return
    echo_line(
        f"{printable(pruned.room)}: positions {pruned.first}-{pruned.last} removed,"
        f" last event {utc(pruned.last_at_ns)}"
    )
