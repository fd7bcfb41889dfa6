"""The wiring of `reprise serve`: every part of the server, started in order and ended in reverse.

What comes first is needed by what follows: data directory, ports, event log (whose lock keeps a
second server out), keys, actors with their rooms recovered, media plane, signaling, HTTP. Only then
it says that it serves.

SIGTERM or SIGINT ends it: clients are told, rooms close, the log is closed, the plane quits, and
the exit code is 0. A second signal ends the process at once. When a part fails the plane is left
running, for the next server to take over.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog
import trio

from actors.kernel.clock import TrioClock
from actors.system import RoomInfo, System
from gateway import logs
from gateway.addresses import announced_addresses, bind_address, is_loopback
from gateway.admission import Admission
from gateway.announcement import announce
from gateway.errors import StartupError
from gateway.forgetting import Forgetting
from gateway.http import Health, make_app
from gateway.http_server import serve_http
from gateway.keys import ServerKeys, load_keys
from gateway.premises import (
    FILES_BESIDE_SOCKETS,
    allow_open_files,
    bind_tcp,
    check_access,
    load_tls,
    prepare_data_dir,
)
from gateway.replay_api.access import ReplayAccess
from gateway.replay_api.library import Library
from gateway.replay_api.routes import page_opened, replay_routes
from gateway.settings import Settings, worker_count
from gateway.signaling_server import SignalingServer, listeners_of
from gateway.upkeep import Upkeep
from gateway.version import version
from media.certificate import DtlsCertificate
from media.dtls import DtlsContext
from media.interface import PlaneDown, PlaneUp
from media.plane_client import Plane
from media.plane_process import PlaneProcess, PlaneStartError, plane_command
from protocol.behaviours import CURRENT
from protocol.envelope import ENTROPY_BYTES
from protocol.messages import CaptureRoom, RoomSettings, TransportSettings
from protocol.negotiation.router import MEDIA_CODECS, router_capabilities
from protocol.notices import Recording, Telemetry
from protocol.store_error import StoreError
from protocol.transport_parameters import DtlsFingerprint
from replay.forgetting import Forgotten
from replay.keyring import Keyring
from replay.recording_store import RecordingStore
from replay.side_store import Retention
from replay.store import SqliteStore
from replay.telemetry_store import TelemetryStore

STOP_REASON = "server_stopped"
PLANE_SOCKET = "plane.sock"
PLANE_LOG = "plane.log"
_NS_PER_S = 1_000_000_000
_MB = 1_000_000

PlaneCommand = Callable[[Path], Sequence[str]]
"""Gives the command line of a plane that listens at a Unix socket."""

_log = structlog.get_logger()


def main(settings: Settings, *, plane: PlaneCommand | None = None) -> int:
    """Run the server until it is told to stop; the exit code. Raises `StartupError`.

    `plane` starts another media plane than our own.
    """
    logs.configure(settings.log.log_level, settings.log.log_format)  # type: ignore[arg-type]
    try:
        trio.run(_Server(settings, plane).run)
    except Exception as error:  # noqa: BLE001 - the last place where it can be told
        cause = _startup_error_in(error)
        if cause is not None:
            raise cause from None
        _log.critical("server_failed", exc_info=True)
        return 1
    return 0


class Ports(NamedTuple):
    """Bound TCP sockets, and the ports that they got."""

    http: socket.socket
    signal: socket.socket

    @classmethod
    def bind(cls, host: str, settings: Settings) -> Ports:
        """Bind both. Raises `StartupError`."""
        http = bind_tcp(host, settings.network.http_port, "http-port")
        try:
            return cls(http, bind_tcp(host, settings.network.signal_port, "signal-port"))
        except StartupError:
            http.close()
            raise


class _Server:
    """One run of the server."""

    def __init__(self, settings: Settings, command: PlaneCommand | None) -> None:
        self._settings = settings
        self._command = command or self._native_plane
        self._host = bind_address(settings.network.host)
        self._serving = False
        self._http_port = 0
        self._signal_port = 0
        self._store: SqliteStore | None = None
        self._telemetry: TelemetryStore | None = None
        self._recordings: RecordingStore | None = None
        self._plane: Plane | None = None
        self._system: System | None = None
        self._signaling: SignalingServer | None = None
        self._forgetting: Forgetting | None = None

    async def run(self) -> None:
        """Start, serve, stop."""
        settings = self._settings
        check_access(settings, self._host)
        tls = load_tls(settings.tls.tls_cert, settings.tls.tls_key)
        data = prepare_data_dir(settings.storage.data)
        few = allow_open_files(settings.limits.sockets_max)
        if few is not None:
            wanted = settings.limits.sockets_max + FILES_BESIDE_SOCKETS
            _log.warning(
                "open_files_limited",
                limit=few,
                wanted=wanted,
                advice=f"raise the hard limit of open files (ulimit -Hn {wanted}, or"
                f" LimitNOFILE={wanted} for systemd), or set sockets-max to at most"
                f" {max(few - FILES_BESIDE_SOCKETS, 1)}",
            )
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            self._store = await _open_store(data)
            async with self._store:
                ports = Ports.bind(self._host, settings)
                try:
                    await self._run_parts(data, ports, tls, signals)
                finally:
                    ports.http.close()
                    ports.signal.close()
        _log.info("stopped")

    async def _run_parts(
        self,
        data: Path,
        ports: Ports,
        tls: ssl.SSLContext | None,
        signals: AsyncIterator[int],
    ) -> None:
        """Run what has tasks. The plane outlives all else, and is kept when something fails."""
        with self._measuring(data):
            await self._run_tasks(data, ports, tls, signals)

    @contextmanager
    def _measuring(self, data: Path) -> Iterator[None]:
        """Keep what the plane measures; what waits is written at the end."""
        wanted = self._settings.measurements
        self._telemetry = TelemetryStore(
            data,
            Retention(days_max=wanted.telemetry_days_max, bytes_max=wanted.telemetry_mb_max * _MB),
            report=lambda problem: _log.error("telemetry_not_written", problem=problem),
        )
        self._recordings = RecordingStore(
            data,
            Retention(
                days_max=wanted.recordings_days_max, bytes_max=wanted.recordings_mb_max * _MB
            ),
            report=lambda problem: _log.error("recordings_not_written", problem=problem),
        )
        try:
            yield
        finally:
            self._telemetry.close()
            self._recordings.close()

    async def _run_tasks(
        self,
        data: Path,
        ports: Ports,
        tls: ssl.SSLContext | None,
        signals: AsyncIterator[int],
    ) -> None:
        keyring = await _open_keyring(data)
        try:
            await self._run_rooms(data, keyring, ports, tls, signals)
        finally:
            await keyring.aclose()

    async def _run_rooms(
        self,
        data: Path,
        keyring: Keyring,
        ports: Ports,
        tls: ssl.SSLContext | None,
        signals: AsyncIterator[int],
    ) -> None:
        keys = load_keys(data)
        process = self._make_plane(data, keys)
        assert self._plane is not None
        assert self._store is not None
        self._system = System(
            store=self._store,
            plane=self._plane,
            settings=self._room_settings(),
            rooms_max=self._settings.rooms.rooms_max,
            clock=TrioClock(),
            entropy=lambda: secrets.token_bytes(ENTROPY_BYTES),
            log=_log,
            keyring=keyring,
        )
        async with trio.open_nursery() as outer:
            await outer.start(keyring.run)
            await outer.start(self._run_system)
            try:
                await outer.start(process.run)
                await outer.start(self._feed_system)
                await self._serve(data, keys, keyring, ports, tls, signals)
            except PlaneStartError as error:
                raise StartupError(f"the media plane does not start: {error}") from error
            except BaseException:
                process.release()
                raise
            outer.cancel_scope.cancel()

    async def _serve(  # noqa: PLR0917
        self,
        data: Path,
        keys: ServerKeys,
        keyring: Keyring,
        ports: Ports,
        tls: ssl.SSLContext | None,
        signals: AsyncIterator[int],
    ) -> None:
        """Serve clients until a signal comes, then tell them and end."""
        settings = self._settings
        assert self._store is not None
        assert self._system is not None
        self._http_port = ports.http.getsockname()[1]
        self._signal_port = ports.signal.getsockname()[1]
        self._signaling = SignalingServer(
            control=self._system,
            keys=keys,
            admission=Admission(
                secret=settings.access.secret,
                allowed_origins=settings.access.allowed_origins,
                loopback_only=is_loopback(self._host),
            ),
            limits=settings.limits,
            version=version(),
        )
        library = Library(data)
        assert self._recordings is not None
        self._forgetting = Forgetting(
            data,
            system=self._system,
            keyring=keyring,
            library=library,
            recordings=self._recordings,
        )
        access = ReplayAccess(settings.access.secret, loopback_only=is_loopback(self._host))
        app = make_app(
            self,
            version=version(),
            signaling_url=settings.network.signaling_url,
            secret=settings.access.secret,
            replay=replay_routes(library, access),
            replay_opened=page_opened(library, access),
        )
        files = settings.tls
        pair = None if not (files.tls_cert and files.tls_key) else (files.tls_cert, files.tls_key)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._signaling.run, listeners_of(ports.signal, tls))
            await nursery.start(library.run)
            nursery.start_soon(Upkeep(self._store, settings.storage, _log).run)
            await nursery.start(partial(serve_http, app, ports.http, tls=pair))
            self._serving = True
            announce(
                settings,
                http_port=self._http_port,
                signal_port=self._signal_port,
                workers=self._plane_workers(),
            )
            await self._wait_signal(signals, nursery)
            await self._stop()
            nursery.cancel_scope.cancel()

    async def _wait_signal(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        async for number in signals:
            _log.info("stopping", signal=signal.Signals(number).name)
            nursery.start_soon(_end_on_second, signals)
            return

    async def _stop(self) -> None:
        """Tell the clients, close the rooms, end the sockets."""
        assert self._system is not None
        assert self._signaling is not None
        self._serving = False
        self._signaling.begin_stop()
        await self._system.shut_down(STOP_REASON)
        await self._signaling.stop()

    def _make_plane(self, data: Path, keys: ServerKeys) -> PlaneProcess:
        settings = self._settings
        try:
            self._certificate = DtlsCertificate.open(data)
        except OSError as error:
            raise StartupError(f"DTLS certificate in {data}: {error.strerror}") from error
        self._plane = Plane(
            DtlsContext(self._certificate),
            ice_password=keys.ice_password,
            version=version(),
            grace_ms=settings.media.plane_grace_s * 1000,
        )
        return PlaneProcess(
            self._plane,
            command=self._command(data / PLANE_SOCKET),
            socket_path=data / PLANE_SOCKET,
            log_path=data / PLANE_LOG,
            env={name: text for name, text in os.environ.items() if name != "REPRISE_SECRET"},
        )

    def _native_plane(self, socket_path: Path) -> Sequence[str]:
        """The command that starts our own plane."""
        return plane_command(
            socket_path,
            host=self._host,
            ports=self._settings.network.rtc_ports,
            workers=worker_count(self._settings),
            version=version(),
            grace_ms=self._settings.media.plane_grace_s * 1000,
            telemetry=self._settings.measurements.telemetry,
            recorder_bytes=self._settings.measurements.recorder_mb * _MB,
            recorder_seconds=self._settings.measurements.recorder_seconds,
            keyframe_interval_ms=self._settings.media.keyframe_interval_s * 1000,
        )

    def _room_settings(self) -> RoomSettings:
        settings = self._settings
        rooms = settings.rooms
        codecs = [
            name
            for wanted in settings.media.codecs
            for name in MEDIA_CODECS
            if name.partition("/")[0] == wanted
        ]
        return RoomSettings(
            router_rtp_capabilities=router_capabilities(codecs),
            transport=TransportSettings(
                announced_ips=settings.network.announce or announced_addresses(self._host),
                fingerprints=tuple(
                    DtlsFingerprint(algorithm=algorithm, value=value)  # type: ignore[arg-type]
                    for algorithm, value in self._certificate.fingerprints
                ),
            ),
            peers_max=rooms.peers_per_room_max,
            announced_peers_max=rooms.announced_peers_max,
            transports_per_peer_max=rooms.transports_per_peer_max,
            producers_per_peer_max=rooms.producers_per_peer_max,
            consumers_per_peer_max=rooms.consumers_per_peer_max,
            resume_grace_ns=rooms.resume_grace_s * _NS_PER_S,
            empty_room_linger_ns=rooms.room_linger_s * _NS_PER_S,
            behaviours=CURRENT,
        )

    async def _run_system(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the actors, with the rooms that were open when the log ended."""
        assert self._store is not None
        assert self._system is not None
        for damage in self._store.damage.values():
            _log.error("log_damaged", room=damage.room, position=damage.position, error=str(damage))
        rooms = [found.room for found in await self._store.rooms() if found.open]
        await self._system.run(recover=rooms, task_status=task_status)

    async def _feed_system(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hand to the actors what the plane says; started once they know of a plane."""
        assert self._plane is not None
        assert self._system is not None
        up = False
        async for item in self._plane.notices:
            match item:
                case PlaneUp(info=info, table=table, fresh=fresh):
                    self._system.plane_up(info, table, fresh=fresh)
                    _log.info("plane_up", pid=info.pid, fresh=fresh, workers=len(info.workers))
                    if not up:
                        up = True
                        task_status.started()
                case PlaneDown(reason=reason):
                    _log.error("plane_down", reason=reason)
                    self._system.plane_down(reason)
                case Telemetry() as frame:
                    if self._telemetry is not None:
                        self._telemetry.put_frame(frame)
                case Recording() as part:
                    if self._recordings is not None:
                        self._recordings.put_part(part)
                case notice:
                    self._system.take_notice(notice)

    # What HTTP asks.

    def health(self) -> Health:
        """How the server is, as /healthz tells it."""
        rooms = self.rooms()
        plane_up = self._plane is not None and self._plane.info is not None
        damaged = len(self._store.damage) if self._store is not None else 0
        report = {
            "status": "ok" if self._serving and plane_up and not damaged else "degraded",
            "serving": self._serving,
            "plane": "up" if plane_up else "down",
            "store": "damaged" if damaged else "ok",
            "rooms": len(rooms),
            "peers": sum(view.peers for view in rooms),
            "sockets": self._signaling.sockets if self._signaling is not None else 0,
            "version": version(),
        }
        return Health(self._serving, report)

    def rooms(self) -> list[RoomInfo]:
        """All open rooms."""
        return self._system.rooms() if self._system is not None else []

    def capture(self, room: str, transport: str | None) -> bool:
        """Freeze the flight recorder of a room, or of one transport; False without such a room."""
        if self._system is None or not self._system.has_room(room):
            return False
        self._system.post(room, CaptureRoom(transport=transport))
        return True

    async def forget(self, room: str, peer: str) -> Forgotten | None:
        """Make a peer's personal data unreadable; None if there never was one."""
        assert self._forgetting is not None
        return await self._forgetting.forget(room, peer)

    def signal_port(self) -> int:
        """TCP port of signaling."""
        return self._signal_port

    def _plane_workers(self) -> list[str]:
        assert self._plane is not None
        info = self._plane.info
        return [f"{worker.host}:{worker.port}" for worker in info.workers] if info else []


async def _open_store(data: Path) -> SqliteStore:
    try:
        return await SqliteStore.open(data)
    except StoreError as error:
        advice = {
            "store_locked": "; end the server that uses it, or choose another with --data",
            "log_damaged": "; restore it from a copy, or choose another with --data",
            "store_version_unknown": "; run the release that wrote it, or choose another with"
            " --data",
        }.get(error.code, "")
        raise StartupError(f"data directory {data}: {error}{advice}") from error


async def _open_keyring(data: Path) -> Keyring:
    try:
        return await Keyring.open(data)
    except StoreError as error:
        raise StartupError(f"data directory {data}: {error}") from error


async def _end_on_second(signals: AsyncIterator[int]) -> None:
    """End the process at once when someone insists. The plane's grace period ends the plane."""
    async for number in signals:
        _log.warning("stopped_at_once", signal=signal.Signals(number).name)
        os._exit(128 + number)


def _startup_error_in(error: BaseException) -> StartupError | None:
    """The `StartupError` that is `error`, or that is in its group."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_startup_error_in, error.exceptions)), None)
    return error if isinstance(error, StartupError) else None
