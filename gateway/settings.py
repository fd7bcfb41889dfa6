"""All settings of `reprise serve`: a tree of dataclasses, each field with default and meaning.

A setting has one name everywhere: the field's, with dashes. `http_port` is `--http-port` as a
flag, `REPRISE_HTTP_PORT` in the environment and `http-port` in the TOML file. Flags win over the
environment, the environment over the file, the file over the default. `gateway.options` reads
them, docs/settings.md lists them.
"""

# ruff: noqa: RUF009  `_setting` is `dataclasses.field`

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gateway import setting_values as values
from gateway.keys import Secret
from gateway.setting_values import PortRange, Reader
from replay.amounts import duration_ns, size_bytes

CODECS = ("opus", "VP8", "VP9", "H264", "AV1")
_DAY_S = 86_400

PLANE_TRANSPORTS_MAX = 16_384
PLANE_PRODUCERS_MAX = 16_384
PLANE_CONSUMERS_MAX = 131_072
"""What the media plane carries for a room: the tables of one worker (`engine/config.rs`)."""


class SettingsError(Exception):
    """Settings that contradict each other. `str()` is one line."""


def _setting(
    default: Any,
    reader: Reader,
    about: str,
    *,
    metavar: str,
    shown: str | None = None,
    many: bool = False,
) -> Any:
    """A field that is a setting. `shown` is its default in words, where that is not its value."""
    metadata = {
        "about": about,
        "reader": reader,
        "metavar": metavar,
        "shown": shown,
        "many": many,
    }
    return field(default=default, metadata=metadata)


def _whole(default: int, about: str, least: int, most: int) -> Any:
    return _setting(default, values.read_whole(least, most), about, metavar="N")


def _codec(value: object) -> str:
    for codec in CODECS:
        if codec.lower() == str(value).strip().lower():
            return codec
    raise ValueError(f"{value!r} is none of {', '.join(CODECS)}")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Where the server is reached."""

    host: str = _setting(
        "127.0.0.1",
        values.read_host,
        "Address on which HTTP, signaling and media listen; 0.0.0.0 for all.",
        metavar="ADDRESS",
    )
    announce: tuple[str, ...] = _setting(
        (),
        values.read_list(values.read_ip),
        "IP addresses under which clients reach the media ports, the preferred one first.",
        metavar="IP",
        shown="the host, or the machine's addresses",
        many=True,
    )
    http_port: int = _whole(
        3000, "TCP port of the pages and of HTTP; 0 for any free one.", 0, 65535
    )
    signal_port: int = _whole(
        3001, "TCP port of WebSocket signaling; 0 for any free one.", 0, 65535
    )
    rtc_ports: PortRange = _setting(
        PortRange(10_000, 10_100),
        values.read_ports,
        "UDP ports for media; each worker takes one.",
        metavar="FIRST-LAST",
    )
    signaling_url: str | None = _setting(
        None,
        values.read_text,
        "Address of signaling as the pages see it, such as wss://sfu.example/ behind a proxy.",
        metavar="URL",
        shown="the page's host, at the signaling port",
    )


@dataclass(frozen=True, kw_only=True)
class Tls:
    """HTTPS and WSS. Without them, plain HTTP and WS."""

    tls_cert: Path | None = _setting(
        None,
        values.read_path,
        "Certificate chain in PEM; with it come HTTPS and WSS.",
        metavar="FILE",
        shown="none",
    )
    tls_key: Path | None = _setting(
        None,
        values.read_path,
        "Private key of the certificate in PEM.",
        metavar="FILE",
        shown="none",
    )


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may join."""

    secret: Secret | None = _setting(
        None,
        values.read_text,
        "Secret of at least 32 bytes that join tokens are signed with; better given by"
        " REPRISE_SECRET or --secret-file, since other users can see flags.",
        metavar="TEXT",
        shown="none",
    )
    secret_file: Path | None = _setting(
        None,
        values.read_path,
        "File that holds the secret, and nothing else.",
        metavar="FILE",
        shown="none",
    )
    open: bool = _setting(
        False,
        values.read_flag,
        "Let anyone who reaches the server join any room, without tokens. On loopback it is so"
        " anyway, unless there is a secret.",
        metavar="",
    )
    allowed_origins: tuple[str, ...] = _setting(
        (),
        values.read_list(values.read_origin),
        "Origins whose pages may use signaling, such as https://app.example; * for any.",
        metavar="ORIGIN",
        shown="pages of the host that is signaled to",
        many=True,
    )


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Where the log is."""

    data: Path = _setting(
        Path("data"),
        values.read_path,
        "Directory of the event log, the server's key and its media plane's socket.",
        metavar="DIR",
    )
    archive_after: int | None = _setting(
        None,
        values.read_amount(duration_ns, "1h"),
        "Age, such as 7d or 12h, at which sessions that are over move into compressed files.",
        metavar="AGE",
        shown="never",
    )
    prune_after: int | None = _setting(
        None,
        values.read_amount(duration_ns, "1h"),
        "Age, such as 90d, at which sessions that are over are removed for good.",
        metavar="AGE",
        shown="never",
    )
    prune_size: int | None = _setting(
        None,
        values.read_amount(size_bytes, "10MB"),
        "Size of the event log, such as 10GiB, beyond which the oldest sessions that are over are"
        " removed for good.",
        metavar="SIZE",
        shown="unlimited",
    )


@dataclass(frozen=True, kw_only=True)
class Media:
    """The media plane."""

    workers: int | None = _setting(
        None,
        values.read_whole(1, 64),
        "Threads that carry media.",
        metavar="N",
        shown="one per core",
    )
    codecs: tuple[str, ...] = _setting(
        CODECS,
        values.read_list(_codec),
        "Codecs that are routed, the preferred ones first. With opus goes audio/red.",
        metavar="CODEC",
        shown=",".join(CODECS),
        many=True,
    )
    keyframe_interval_s: int = _whole(
        4,
        "While people join, publishers make keyframes so often, and twice as often while somebody "
        "waits to climb; viewers begin with the last one."
        " 0: each waits for its own.",
        0,
        8,
    )
    plane_grace_s: int = _whole(
        120, "Seconds for which media goes on without the control process.", 1, _DAY_S
    )


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Telemetry and the flight recorder: what the media plane measures beside its work."""

    telemetry: bool = _setting(
        True,
        values.read_flag,
        "Measure every stream once a second, and keep it beside the log.",
        metavar="",
    )
    telemetry_days_max: int = _whole(14, "Days for which telemetry is kept.", 1, 3650)
    telemetry_mb_max: int = _whole(
        1024, "Size of the telemetry file in MB; the oldest is dropped.", 1, 1_000_000
    )
    recorder_seconds: int = _whole(
        30, "Seconds that a recording of the flight recorder reaches back, at most.", 1, 600
    )
    recorder_mb: int = _whole(
        64, "Memory of the flight recorder in MB, a worker; 0 turns it off.", 0, 65_536
    )
    recordings_days_max: int = _whole(30, "Days for which recordings are kept.", 1, 3650)
    recordings_mb_max: int = _whole(
        512, "Size of the file of recordings in MB; the oldest is dropped.", 1, 1_000_000
    )


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """How long things wait for someone to come back."""

    resume_grace_s: int = _whole(
        30, "Seconds for which a peer that lost its socket may resume.", 1, _DAY_S
    )
    room_linger_s: int = _whole(15, "Seconds for which an empty room stays.", 0, _DAY_S)
    rooms_max: int = _whole(1000, "Rooms at a time.", 1, 1_000_000)
    peers_per_room_max: int = _whole(2000, "Peers of a room.", 1, 100_000)
    announced_peers_max: int = _whole(
        100,
        "Peers of a room from which on newcomers are counted, not announced, unless they publish.",
        0,
        100_000,
    )
    transports_per_peer_max: int = _whole(4, "Transports of a peer.", 1, 64)
    producers_per_peer_max: int = _whole(8, "Producers of a peer.", 0, 64)
    consumers_per_peer_max: int = _whole(64, "Consumers of a peer.", 0, 4096)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one socket, or all of them, may ask of the server."""

    sockets_max: int = _whole(10_000, "Signaling sockets at a time.", 1, 1_000_000)
    sockets_per_address_max: int = _whole(
        1000,
        "Signaling sockets of one IP address at a time; loopback is not counted.",
        1,
        1_000_000,
    )
    message_bytes_max: int = _whole(
        262_144, "Size of a signaling message, in bytes.", 4096, 16_777_216
    )
    requests_per_second_max: int = _whole(
        50, "Requests of a socket a second, in the long run.", 1, 100_000
    )
    requests_burst_max: int = _whole(200, "Requests of a socket at once.", 1, 100_000)
    requests_pending_max: int = _whole(
        64, "Requests of a socket that wait for their answer.", 1, 4096
    )
    bytes_per_second_max: int = _whole(
        131_072, "Bytes that are read of a socket a second, in the long run.", 4096, 1_000_000_000
    )
    outbox_bytes_max: int = _whole(
        4_194_304, "Bytes that wait for a slow client before it is closed.", 65_536, 1_000_000_000
    )
    join_timeout_s: int = _whole(30, "Seconds in which a socket must have joined.", 1, 3600)
    ping_interval_s: int = _whole(15, "Seconds between two pings of a socket.", 1, 3600)
    ping_timeout_s: int = _whole(20, "Seconds in which a ping must be answered.", 1, 3600)


@dataclass(frozen=True, kw_only=True)
class Log:
    """The server's own log lines, on standard error."""

    log_level: str = _setting(
        "info",
        values.read_choice("debug", "info", "warning", "error"),
        "The least level that is written: debug, info, warning or error.",
        metavar="LEVEL",
    )
    log_format: str = _setting(
        "auto",
        values.read_choice("auto", "console", "json"),
        "console for people, json for machines, auto for console on a terminal.",
        metavar="FORMAT",
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that `reprise serve` can be told. Make it with `settings_of`, which checks it."""

    network: Network = Network()
    tls: Tls = Tls()
    access: Access = Access()
    storage: Storage = Storage()
    media: Media = Media()
    measurements: Measurements = Measurements()
    rooms: Rooms = Rooms()
    limits: Limits = Limits()
    log: Log = Log()


class Setting(NamedTuple):
    """One setting, as its readers and its documentation need it."""

    section: str
    field_name: str
    default: Any
    about: str
    reader: Reader
    metavar: str
    many: bool
    shown: str
    """The default, in words."""

    @property
    def name(self) -> str:
        """Its name in the TOML file and, after `--`, as a flag."""
        return self.field_name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"REPRISE_{self.field_name.upper()}"

    @property
    def is_flag(self) -> bool:
        """Whether it is a matter of yes or no."""
        return isinstance(self.default, bool)


def _settings() -> tuple[Setting, ...]:
    return tuple(
        Setting(
            section=section.name,
            field_name=each.name,
            default=each.default,
            about=each.metadata["about"],
            reader=each.metadata["reader"],
            metavar=each.metadata["metavar"],
            many=each.metadata["many"],
            shown=each.metadata["shown"] or str(each.default).lower()
            if isinstance(each.default, bool)
            else each.metadata["shown"] or str(each.default),
        )
        for section in dataclasses.fields(Settings)
        for each in dataclasses.fields(type(section.default))  # type: ignore[arg-type]
    )


SETTINGS = _settings()
"""Every setting, in the order of the tree."""


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The tree with the given values by field name, each as its reader made it.

    Raises `SettingsError` for settings that do not go together.
    """
    sections = {
        section.name: type(section.default)(  # type: ignore[misc]
            **{
                setting.field_name: given[setting.field_name]
                for setting in SETTINGS
                if setting.section == section.name and setting.field_name in given
            }
        )
        for section in dataclasses.fields(Settings)
    }
    settings = Settings(**sections)
    _check(settings)
    return settings


def worker_count(settings: Settings) -> int:
    """Threads that carry media: as set, else one per core that this process may use."""
    wanted = settings.media.workers or len(os.sched_getaffinity(0))
    return min(wanted, settings.network.rtc_ports.size)


def _check(settings: Settings) -> None:
    network, tls, limits = settings.network, settings.tls, settings.limits
    if (tls.tls_cert is None) != (tls.tls_key is None):
        raise SettingsError("tls-cert and tls-key belong together: set both or none")
    if settings.access.open and settings.access.secret is not None:
        raise SettingsError("open and secret contradict each other: set one of them")
    if network.http_port == network.signal_port != 0:
        raise SettingsError(f"http-port and signal-port are both {network.http_port}")
    workers = settings.media.workers
    if workers is not None and workers > network.rtc_ports.size:
        raise SettingsError(
            f"{workers} workers need as many ports, and rtc-ports {network.rtc_ports} has"
            f" {network.rtc_ports.size}"
        )
    if not settings.media.codecs:
        raise SettingsError("codecs is empty: name at least one")
    if limits.outbox_bytes_max < limits.message_bytes_max:
        raise SettingsError("outbox-bytes-max is less than message-bytes-max")
    _check_room(settings.rooms)


def _check_room(rooms: Rooms) -> None:
    """Refuse rooms that could grow beyond what the plane carries: it would refuse their rows."""
    for name, most in (
        ("transports", PLANE_TRANSPORTS_MAX),
        ("producers", PLANE_PRODUCERS_MAX),
        ("consumers", PLANE_CONSUMERS_MAX),
    ):
        each: int = getattr(rooms, f"{name}_per_peer_max")
        if rooms.peers_per_room_max * each > most:
            raise SettingsError(
                f"peers-per-room-max {rooms.peers_per_room_max} with {name}-per-peer-max {each}"
                f" allows {rooms.peers_per_room_max * each} {name} in a room, and the media plane"
                f" carries {most}: lower one of them"
            )
