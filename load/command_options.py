"""The options of `reprise load` and `reprise load merge`, by what they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from load.command_types import (
    BITRATE,
    MILLISECONDS,
    NEW_FILE,
    PID,
    SECONDS,
    SHARE,
    THRESHOLD,
    URL,
    Number,
)
from load.mass import Conditions
from load.options import LoadOptions

Command = Callable[..., Any]


def _all(*options: Command) -> Command:
    """One decorator of several options, told by --help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


server_options = _all(
    click.argument("url", type=URL, metavar="URL"),
    click.option(
        "--signaling",
        default="reprise",
        type=click.Choice(["reprise", "janus"]),
        show_default=True,
        help="What the server speaks; janus: its videoroom, over WebSocket.",
    ),
    click.option("--token", envvar="REPRISE_TOKEN", help="Join token.  [env: REPRISE_TOKEN]"),
    click.option(
        "--secret",
        envvar="REPRISE_SECRET",
        help="The server's secret, to make join tokens of.  [env: REPRISE_SECRET]",
    ),
    click.option(
        "--srtp",
        default="any",
        type=click.Choice(
            ["any", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES128_CM_HMAC_SHA1_80"]
        ),
        show_default=True,
        help="How media is encrypted: the one that is offered, or what the server prefers.",
    ),
    click.option(
        "--watch-pid",
        "watch_pids",
        multiple=True,
        type=PID,
        metavar="PID",
        help="A process of the server on this machine: tell its CPU time and memory, and"
        " those of all that it started. May be repeated.",
    ),
)
"""Where the server is, and who may join."""

crowd_options = _all(
    click.option("--room", default="load", show_default=True, help="Room to join."),
    click.option(
        "--rooms",
        default=1,
        type=click.IntRange(1, 10_000),
        show_default=True,
        help="Rooms; with several, -1, -2 and so on follow the name.",
    ),
    click.option(
        "--publishers",
        default=1,
        type=click.IntRange(0, 1_000),
        show_default=True,
        help="Publishers of each room. 0: somebody else publishes.",
    ),
    click.option(
        "--viewers",
        default=10,
        type=click.IntRange(0, 100_000),
        show_default=True,
        help="Viewers of each room; each watches all publishers.",
    ),
    click.option(
        "--duration",
        default="30s",
        type=SECONDS,
        show_default=True,
        help="How long to measure once all have joined.",
    ),
    click.option(
        "--ramp", type=SECONDS, help="Over which time viewers come.  [default: 100 a second]"
    ),
    click.option(
        "--churn",
        default=0.0,
        type=Number(0, 1_000),
        show_default=True,
        help="Viewers a second who leave, each followed by a new one.",
    ),
    click.option(
        "--join-timeout",
        default="15s",
        type=SECONDS,
        show_default=True,
        help="How long a client may take for ICE and DTLS.",
    ),
    click.option(
        "--joins-at-once",
        default=50,
        type=click.IntRange(1, 10_000),
        show_default=True,
        help="Viewers that may be about to join at a time.",
    ),
)
"""Who comes, and when."""

media_options = _all(
    click.option(
        "--bitrate",
        default="1.5M",
        type=BITRATE,
        show_default=True,
        help="Of a publisher's video payload; with --simulcast of all layers together.",
    ),
    click.option(
        "--fps",
        default=30.0,
        type=Number(1, 240),
        show_default=True,
        help="Frames a second; each is a burst of packets.",
    ),
    click.option(
        "--codec",
        default="VP8",
        type=click.Choice(["VP8", "H264", "none"], case_sensitive=False),
        show_default=True,
        help="Of the video.",
    ),
    click.option(
        "--audio/--no-audio", default=True, show_default=True, help="Opus at 50 packets a second."
    ),
    click.option("--simulcast", is_flag=True, help="Publish three layers."),
    click.option(
        "--packets",
        default="even",
        type=click.Choice(["even", "full"]),
        show_default=True,
        help="How frames are cut: in even packets, as browsers do, or full ones and a rest.",
    ),
)
"""What publishers send."""

network_options = _all(
    click.option(
        "--loss",
        default="0%",
        type=SHARE,
        show_default=True,
        help="Simulated loss at each viewer, in either direction.",
    ),
    click.option(
        "--delay",
        default="0ms",
        type=MILLISECONDS,
        show_default=True,
        help="Simulated delay at each viewer, in either direction.",
    ),
    click.option(
        "--jitter",
        default="0ms",
        type=MILLISECONDS,
        show_default=True,
        help="Up to so much more delay, which reorders.",
    ),
    click.option(
        "--publisher-loss",
        default="0%",
        type=SHARE,
        show_default=True,
        help="Simulated loss at each publisher, in either direction.",
    ),
    click.option(
        "--transport-cc/--no-transport-cc",
        default=True,
        show_default=True,
        help="Viewers send transport-cc feedback, so that the server can estimate their bandwidth.",
    ),
    click.option(
        "--feedback-interval",
        default="100ms",
        type=MILLISECONDS,
        show_default=True,
        help="Between transport-cc feedback packets of a viewer.",
    ),
    click.option(
        "--seed",
        default=1,
        type=click.IntRange(0, 2**63),
        show_default=True,
        help="Of simulated networks and churn.",
    ),
)
"""The clients' network, and what they tell of it."""

report_options = _all(
    click.option(
        "--fail-if",
        "thresholds",
        multiple=True,
        type=THRESHOLD,
        metavar="CONDITION",
        help="Exit with 3 when it holds, such as 'loss>0.1%' or 'latency_p99>10ms'."
        " May be repeated.",
    ),
    click.option(
        "--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else."
    ),
    click.option(
        "--output",
        type=NEW_FILE,
        metavar="FILE",
        help="Write the report as JSON into a file as well.",
    ),
    click.option(
        "--report",
        "html",
        type=NEW_FILE,
        metavar="FILE",
        help="Write the report as an HTML page with plots.",
    ),
)
"""What both commands can do with a report: hold it to thresholds, print it, write it."""


def options_of(url: str, given: dict[str, Any]) -> LoadOptions:
    """The options of a run, of what click found."""
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
        srtp_profile=None if given["srtp"] == "any" else given["srtp"],
        watch_pids=tuple(given["watch_pids"]),
    )
