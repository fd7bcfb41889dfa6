"""`reprise load`: real WebRTC clients in mass, and a report of how they were served."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from load.command_options import (
    crowd_options,
    media_options,
    network_options,
    options_of,
    report_options,
    server_options,
)
from load.files import ensure_files
from load.html_report import page
from load.merge import merge, read
from load.options import LoadFailed
from load.report import Report, report_of
from load.running import EXIT_STOPPED, run
from load.text import summary
from load.thresholds import METRICS, Threshold, judge
from load.tokens import SECRET_BYTES_MIN

EXIT_THRESHOLD = 3


class _Load(click.Command):
    """`reprise load URL`, and behind the same word `reprise load merge FILE…`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args[:1] == ["merge"]:
            return merge_reports.make_context(f"{info_name} merge", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(
    cls=_Load,
    epilog="`reprise load merge FILE…` makes one report of those of several machines. Figures for"
    " --fail-if: " + ", ".join(METRICS) + ". Exit codes: 0, 1 if it could not run, 2 for wrong"
    " usage, 3 if a condition of --fail-if holds, 130 if it was stopped.",
)
@server_options
@crowd_options
@media_options
@network_options
@report_options
@click.option("--quiet", is_flag=True, help="No progress display.")
def load(
    *,
    url: str,
    thresholds: tuple[Threshold, ...],
    as_json: bool,
    output: Path | None,
    html: Path | None,
    quiet: bool,
    **given: Any,
) -> int:
    """Join rooms with many viewers, publish, and report how they were served."""
    options = options_of(url, given)
    if options.viewers == 0 and options.publishers == 0:
        raise click.UsageError("--viewers 0 and --publishers 0 leave nobody to come")
    if options.codec is None and not options.audio:
        raise click.UsageError("--codec none and --no-audio leave nothing to publish")
    if options.token is not None and options.rooms > 1:
        raise click.UsageError("a --token is for one room; give --secret for several")
    if options.token is not None and options.secret is not None:
        # An environment for both is common: the token says more exactly what is wanted.
        options = msgspec.structs.replace(options, secret=None)
    if options.secret is not None and len(options.secret.encode()) < SECRET_BYTES_MIN:
        raise click.UsageError(f"--secret is shorter than {SECRET_BYTES_MIN} bytes: no server's is")
    show_progress = not quiet and sys.stderr.isatty()
    try:
        ensure_files(options)
        record = trio.run(partial(run, options, show_progress=show_progress))
    except LoadFailed as error:
        raise click.ClickException(str(error)) from None
    broken = _tell(report_of(options, record), thresholds, as_json, output, html)
    if record.stopped:
        return EXIT_STOPPED
    if record.abandoned is not None:
        raise click.ClickException(record.abandoned)
    return EXIT_THRESHOLD if broken else 0


@click.command(epilog="Exit codes: as those of `reprise load`.")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE…",
)
@report_options
def merge_reports(
    *,
    files: tuple[Path, ...],
    thresholds: tuple[Threshold, ...],
    as_json: bool,
    output: Path | None,
    html: Path | None,
) -> int:
    """Make one report of several (--output) that were measured at the same time."""
    reports = []
    for path in files:
        try:
            reports.append(read(path.read_bytes()))
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise click.ClickException(f"{path}: {error}") from None
    broken = _tell(merge(reports), thresholds, as_json, output, html)
    return EXIT_THRESHOLD if broken else 0


def _tell(
    report: Report,
    thresholds: tuple[Threshold, ...],
    as_json: bool,
    output: Path | None,
    html: Path | None,
) -> bool:
    """Print and write a report; returns whether a threshold is broken."""
    verdicts = tuple(judge(one, report) for one in thresholds)
    tree = {**msgspec.to_builtins(report), "thresholds": msgspec.to_builtins(verdicts)}
    text = msgspec.json.format(msgspec.json.encode(tree), indent=2).decode()
    failed = []
    for path, content in ((output, text + "\n"), (html, page(report, verdicts))):
        if path is not None:
            try:
                path.write_text(content)
            except OSError as error:
                failed.append(f"{path}: {error.strerror}")
    try:
        click.echo(text if as_json else summary(report, verdicts))
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = None  # What it still holds can't be written at the end either.
        failed.append(f"standard output: {error.strerror}")
    if failed:
        raise click.ClickException("; ".join(failed))
    return any(verdict.failed for verdict in verdicts)
