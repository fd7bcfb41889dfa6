"""`reprise load`: real WebRTC clients in mass, and a report of how they were served."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from load.options import LoadFailed, LoadOptions
from load.thresholds import METRICS, Threshold, judge, parse

EXIT_FAILED = 1
EXIT_THRESHOLD = 3
EXIT_STOPPED = 130
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_UNITS_BPS = {"": 1.0, "k": 1e3, "M": 1e6}


class _Text(click.ParamType[object]):
    """A click type around a function that raises ValueError."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _number(text: str, units: dict[str, float], example: str) -> float:
    matched = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", text)
    if matched is None or matched[2] not in units:
        raise ValueError(f"{text!r} is not a value such as {example}")
    return float(matched[1]) * units[matched[2]]


def _seconds(text: str) -> float:
    return _number(text, _UNITS_S, "500ms, 30s or 5m")


def _milliseconds(text: str) -> float:
    return 1e3 * _number(text, {**_UNITS_S, "": 0.001}, "40ms")


def _bitrate(text: str) -> int:
    bitrate = int(_number(text, _UNITS_BPS, "1.5M or 600k"))
    if not 10_000 <= bitrate <= 500_000_000:
        raise ValueError(f"{text!r} is not between 10k and 500M")
    return bitrate


def _share(text: str) -> float:
    matched = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    if matched is None:
        raise ValueError(f"{text!r} is no share such as 2% or 0.02")
    share = float(matched[1]) / (100 if matched[2] else 1)
    if not 0 <= share < 1:
        raise ValueError(f"{text!r} is not between 0 and 100%")
    return share


def _url(text: str) -> str:
    """`host:port` and http addresses become those of signaling."""
    url = re.sub(r"^http", "ws", text)
    if "://" not in url:
        url = f"ws://{url}"
    if not re.fullmatch(r"wss?://[^\s/]+(/\S*)?", url):
        raise ValueError(f"{text!r} is no address such as ws://localhost:3001")
    return url


SECONDS = _Text("DURATION", _seconds)
MILLISECONDS = _Text("DURATION", _milliseconds)
BITRATE = _Text("BITRATE", _bitrate)
SHARE = _Text("SHARE", _share)
URL = _Text("URL", _url)
THRESHOLD = _Text("CONDITION", parse)


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


def _report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands can do with a report: hold it to thresholds, print it, write it."""
    for option in (
        click.option(
            "--report",
            "html",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write the report as an HTML page with plots.",
        ),
        click.option(
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write the report as JSON into a file as well.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else."
        ),
        click.option(
            "--fail-if",
            "thresholds",
            multiple=True,
            type=THRESHOLD,
            metavar="CONDITION",
            help="Exit with 3 when it holds, such as 'loss>0.1%' or 'latency_p99>10ms'."
            " May be repeated.",
        ),
    ):
        command = option(command)
    return command


@click.command(
    cls=_Load,
    epilog="`reprise load merge FILE…` makes one report of those of several machines. Figures for"
    " --fail-if: " + ", ".join(METRICS) + ". Exit codes: 0, 1 if it could not run, 2 for wrong"
    " usage, 3 if a condition of --fail-if holds, 130 if it was stopped.",
)
@click.argument("url", type=URL, metavar="URL")
@click.option("--room", default="load", show_default=True, help="Room to join.")
@click.option(
    "--rooms",
    default=1,
    type=click.IntRange(1, 10_000),
    show_default=True,
    help="Rooms; with several, -1, -2 and so on follow the name.",
)
@click.option(
    "--publishers",
    default=1,
    type=click.IntRange(0, 1_000),
    show_default=True,
    help="Publishers of each room. 0: somebody else publishes.",
)
@click.option(
    "--viewers",
    default=10,
    type=click.IntRange(0, 100_000),
    show_default=True,
    help="Viewers of each room; each watches all publishers.",
)
@click.option(
    "--duration",
    default="30s",
    type=SECONDS,
    show_default=True,
    help="How long to measure once all have joined.",
)
@click.option("--ramp", type=SECONDS, help="Over which time viewers come.  [default: 100 a second]")
@click.option(
    "--bitrate",
    default="1.5M",
    type=BITRATE,
    show_default=True,
    help="Of a publisher's video payload; with --simulcast of all layers together.",
)
@click.option(
    "--fps",
    default=30.0,
    type=click.FloatRange(1, 240),
    show_default=True,
    help="Frames a second; each is a burst of packets.",
)
@click.option(
    "--codec",
    default="VP8",
    type=click.Choice(["VP8", "H264", "none"]),
    show_default=True,
    help="Of the video.",
)
@click.option(
    "--audio/--no-audio", default=True, show_default=True, help="Opus at 50 packets a second."
)
@click.option("--simulcast", is_flag=True, help="Publish three layers.")
@click.option(
    "--packets",
    default="even",
    type=click.Choice(["even", "full"]),
    show_default=True,
    help="How frames are cut: in even packets, as browsers do, or full ones and a rest.",
)
@click.option(
    "--churn",
    default=0.0,
    type=click.FloatRange(0, 1_000),
    show_default=True,
    help="Viewers a second who leave, each followed by a new one.",
)
@click.option(
    "--loss",
    default="0%",
    type=SHARE,
    show_default=True,
    help="Simulated loss at each viewer, in either direction.",
)
@click.option(
    "--delay",
    default="0ms",
    type=MILLISECONDS,
    show_default=True,
    help="Simulated delay at each viewer, in either direction.",
)
@click.option(
    "--jitter",
    default="0ms",
    type=MILLISECONDS,
    show_default=True,
    help="Up to so much more delay, which reorders.",
)
@click.option(
    "--publisher-loss",
    default="0%",
    type=SHARE,
    show_default=True,
    help="Simulated loss at each publisher, in either direction.",
)
@click.option(
    "--transport-cc/--no-transport-cc",
    default=True,
    show_default=True,
    help="Viewers send transport-cc feedback, so that the server can estimate their bandwidth.",
)
@click.option(
    "--feedback-interval",
    default="100ms",
    type=MILLISECONDS,
    show_default=True,
    help="Between transport-cc feedback packets of a viewer.",
)
@click.option("--token", envvar="REPRISE_TOKEN", help="Join token.  [env: REPRISE_TOKEN]")
@click.option(
    "--secret",
    envvar="REPRISE_SECRET",
    help="The server's secret, to make join tokens of.  [env: REPRISE_SECRET]",
)
@click.option(
    "--join-timeout",
    default="15s",
    type=SECONDS,
    show_default=True,
    help="How long a client may take for ICE and DTLS.",
)
@click.option(
    "--joins-at-once",
    default=50,
    type=click.IntRange(1, 10_000),
    show_default=True,
    help="Viewers that may be about to join at a time.",
)
@click.option(
    "--signaling",
    default="reprise",
    type=click.Choice(["reprise", "janus"]),
    show_default=True,
    help="What the server speaks; janus: its videoroom, over WebSocket.",
)
@click.option(
    "--seed",
    default=1,
    type=click.IntRange(0, 2**63),
    show_default=True,
    help="Of simulated networks and churn.",
)
@click.option(
    "--watch-pid",
    "watch_pids",
    multiple=True,
    type=click.IntRange(1),
    metavar="PID",
    help="A process of the server on this machine: tell its CPU time and memory, and"
    " those of all that it started. May be repeated.",
)
@_report_options
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
    options = _options(url, given)
    if options.codec is None and not options.audio:
        raise click.UsageError("--codec none and --no-audio leave nothing to publish")
    if options.token is not None and options.rooms > 1:
        raise click.UsageError("a --token is for one room; give --secret for several")
    if options.token is not None and options.secret is not None:
        # An environment for both is common: the token says more exactly what is wanted.
        options = msgspec.structs.replace(options, secret=None)
    show_progress = not quiet and sys.stderr.isatty()
    try:
        record = _record(options, show_progress)
    except LoadFailed as error:
        raise click.ClickException(str(error)) from None
    from load.report import report_of  # noqa: PLC0415

    broken = _tell(report_of(options, record), thresholds, as_json, output, html)
    if record.stopped:
        return EXIT_STOPPED
    return EXIT_THRESHOLD if broken else 0


@click.command(epilog="Exit codes: as those of `reprise load`.")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE…",
)
@_report_options
def merge_reports(
    *,
    files: tuple[Path, ...],
    thresholds: tuple[Threshold, ...],
    as_json: bool,
    output: Path | None,
    html: Path | None,
) -> int:
    """Make one report of several (--output) that were measured at the same time."""
    from load.merge import merge, read  # noqa: PLC0415

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


def _options(url: str, given: dict[str, Any]) -> LoadOptions:
    from load.mass import Conditions  # noqa: PLC0415 - --help need not load the native core

    return LoadOptions(
        url=url,
        room=given["room"],
        rooms=given["rooms"],
        publishers=given["publishers"],
        viewers=given["viewers"],
        duration_s=given["duration"],
        ramp_s=given["ramp"],
        bitrate_bps=given["bitrate"],
        frame_rate=given["fps"],
        codec=None if given["codec"] == "none" else given["codec"],
        audio=given["audio"],
        simulcast=given["simulcast"],
        even_split=given["packets"] == "even",
        churn_per_s=given["churn"],
        viewer_conditions=Conditions(
            loss=given["loss"], delay_ms=given["delay"], jitter_ms=given["jitter"]
        ),
        publisher_conditions=Conditions(loss=given["publisher_loss"]),
        feedback_interval_ms=given["feedback_interval"],
        transport_cc=given["transport_cc"],
        token=given["token"],
        secret=given["secret"],
        join_timeout_s=given["join_timeout"],
        joins_at_once=given["joins_at_once"],
        seed=given["seed"],
        signaling=given["signaling"],
        watch_pids=tuple(given["watch_pids"]),
    )


def _record(options: LoadOptions, show_progress: bool) -> Any:
    return trio.run(_test, options, show_progress)


def _tell(
    report: Any,
    thresholds: tuple[Threshold, ...],
    as_json: bool,
    output: Path | None,
    html: Path | None,
) -> bool:
    """Print and write a report; returns whether a threshold is broken."""
    from load.html_report import page  # noqa: PLC0415
    from load.text import summary  # noqa: PLC0415

    verdicts = tuple(judge(one, report) for one in thresholds)
    tree = {**msgspec.to_builtins(report), "thresholds": msgspec.to_builtins(verdicts)}
    text = msgspec.json.format(msgspec.json.encode(tree), indent=2).decode()
    click.echo(text if as_json else summary(report, verdicts))
    for path, content in ((output, text + "\n"), (html, page(report, verdicts))):
        if path is not None:
            try:
                path.write_text(content)
            except OSError as error:
                raise click.ClickException(f"{path}: {error.strerror}") from None
    return any(verdict.failed for verdict in verdicts)


async def _test(options: LoadOptions, show_progress: bool) -> Any:
    from load.mass import Mass  # noqa: PLC0415
    from load.signaling import RepriseSignaling, Signaling  # noqa: PLC0415
    from load.tester import Tester  # noqa: PLC0415
    from load.tokens import token_source  # noqa: PLC0415

    mass = Mass(seed=options.seed, feedback_interval_ms=options.feedback_interval_ms)
    signaling: Signaling = RepriseSignaling(options, mass, token_source(options))
    if options.signaling == "janus":
        from load.janus import JanusSignaling  # noqa: PLC0415

        signaling = JanusSignaling(options, mass)
    tester = Tester(options, mass, signaling)
    failure: LoadFailed | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, tester)
        if show_progress:
            nursery.start_soon(_show_progress, tester, options.viewers_total)
        try:
            await tester.run()
        except LoadFailed as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return tester.record


async def _stop_on_signal(tester: Any, *, task_status: trio.TaskStatus[None]) -> None:
    """The first Ctrl-C ends the run with its report, the second at once."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        count = 0
        async for _ in signals:
            count += 1
            if count == 2:
                os._exit(EXIT_STOPPED)
            tester.stop()


async def _show_progress(tester: Any, viewers: int) -> None:
    from load.text import progress_line  # noqa: PLC0415

    try:
        while True:
            line = progress_line(tester.record, viewers)
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            await trio.sleep(1)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
