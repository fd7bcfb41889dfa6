"""What the commands of `reprise replay` share: options, errors in one line, tables, progress."""

from __future__ import annotations

import functools
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from replay.errors import ReplayError
from replay.history import History
from replay.reader import LogReader
from replay.snapshots import Snapshots
from replay.store.errors import StoreError
from replay.text import printable

_C = TypeVar("_C", bound=Callable[..., Any])

SLOW_S = 1.0
"""A command that takes longer shows how far it is."""

INSTANTS = (
    "An instant is a position, a time (2026-03-01T12:00:00Z, 12:00:00), +12.5s after the last "
    "session's beginning, -3s before the log's end, start or end."
)


def data_option(command: _C) -> _C:
    """Give a command the option --data."""
    return click.option(
        "--data",
        "directory",
        type=click.Path(path_type=Path),
        default=Path("data"),
        show_default=True,
        envvar="REPRISE_DATA",
        show_envvar=True,
        help="Data directory of the server.",
    )(command)


def json_option(about: str = "One JSON object a line.") -> Callable[[_C], _C]:
    """Give a command the option --json."""
    return click.option("--json", "as_json", is_flag=True, help=about)


def one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn what the log cannot answer into one line on stderr and exit code 1."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except (StoreError, ReplayError) as error:
            raise click.ClickException(printable(str(error))) from error

    return wrapped


def existing_log(directory: Path) -> None:
    """Make sure that there is a log, for opening a store would make one.

    Raises `StoreMissing`, and what else `LogReader` does.
    """
    with LogReader(directory):
        pass


@contextmanager
def opened(directory: Path, room: str) -> Iterator[History]:
    """The history of a room, with the snapshots beside its log."""
    with LogReader(directory) as reader, Snapshots(directory) as snapshots:
        yield History(reader, room, snapshots)


@contextmanager
def progress(label: str, end: int, begin: int = 0) -> Iterator[Callable[[int], None]]:
    """Give a function to be told how far a command is, from `begin` to `end`.

    It draws a bar on stderr if that is a terminal and the command takes longer than a second.
    """
    started = time.monotonic()
    bar: Any = None
    reached = begin

    def note(position: int) -> None:
        nonlocal bar, reached
        if bar is None and sys.stderr.isatty() and time.monotonic() - started > SLOW_S:
            bar = click.progressbar(length=max(end - begin, 1), label=label, file=sys.stderr)
            bar.__enter__()
            bar.update(reached - begin)
        if bar is not None:
            bar.update(position - reached)
        reached = position

    try:
        yield note
    finally:
        if bar is not None:
            bar.render_finish()


def echo_json(values: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(msgspec.json.encode(values).decode())


def echo_table(header: tuple[str, ...], rows: list[tuple[str, ...]], *, red: int = -1) -> None:
    """Print rows in aligned columns; those that say `damaged` in column `red` in red."""
    widths = widths_of([header, *rows], [0] * len(header))
    echo_row(header, widths, bold=True)
    for row in rows:
        echo_row(row, widths, colour="red" if row[red] == "damaged" else None)


def widths_of(rows: list[tuple[str, ...]], least: list[int]) -> list[int]:
    """Widths of columns that hold all rows, none less than `least`."""
    return [max(width, *(len(row[n]) for row in rows)) for n, width in enumerate(least)]


def echo_row(
    row: tuple[str, ...], widths: list[int], *, bold: bool = False, colour: str | None = None
) -> None:
    """Print a row, numbers to the right; on a terminal cut to its width and coloured."""
    cells = (
        cell.rjust(width) if cell.isdecimal() else cell.ljust(width)
        for cell, width in zip(row, widths, strict=True)
    )
    echo_line("  ".join(cells).rstrip(), bold=bold, colour=colour)


def echo_line(line: str, *, bold: bool = False, colour: str | None = None) -> None:
    """Print a line; on a terminal cut to its width and coloured."""
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        line = line if len(line) <= columns else line[: columns - 1] + "…"
    click.secho(line, bold=bold, fg=colour)
