"""Starts and watches the plane process, or takes over one that lives.

The plane runs in a session of its own, so it survives the death of the
control process, and a signal to its terminal. `PlaneProcess.run` looks for it
at its socket first and starts one only where none answers:

    connect ──▶ serve ──▶ connection ended ──▶ process dead?  yes: lost, start anew
       └─ nobody: start ─▶                                    no: connect again

A plane of another protocol is told to quit and replaced. One that can't be
reached any more is ended, and so is one that hangs: that fell silent on a
connection (`media.heartbeat`) and does not greet on the next one. Restarts wait
longer each time, up to
`BACKOFF_S_MAX`; a plane that lived for `STEADY_S` resets that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import trio

from media.frames import (
    FrameError,
    FrameSplitter,
    decode_frame,
    encode_order,
    encode_orders,
)
from media.plane_client import HELLO_TIMEOUT, Plane
from media.plane_connection import PlaneRefused
from protocol.orders import PLANE_PROTOCOL, Hello, PlaneInfo, Quit

START_TIMEOUT_S = 10.0
"""How long a new process may take until it answers at its socket."""
DEATH_WAIT_S = 1.0
"""How long a process whose connection ended may take to be seen dead."""
QUIT_TIMEOUT_S = 2.0
"""How long each of Quit, SIGTERM and SIGKILL is given to work."""
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0
STEADY_S = 30.0
CONNECT_INTERVAL_S = 0.01
LOG_BYTES_MAX = 8 * 1024 * 1024
"""A log that is larger when a plane starts is moved aside, to `.old`."""
_UNIX_PATH_BYTES_MAX = 107
_QUIT = encode_order(Quit())


def plane_command(
    socket_path: Path,
    *,
    host: str,
    ports: tuple[int, int],
    workers: int,
    version: str,
    grace_ms: int,
    telemetry: bool = True,
    recorder_bytes: int = 64 * 1024 * 1024,
    recorder_seconds: int = 30,
    keyframe_interval_ms: int = 4_000,
) -> list[str]:
    """Return the command that starts the native plane; `ports` is the first and the last UDP port.

    `grace_ms` is how long it waits for its first controller; `Hello` sets it anew. Each worker's
    flight recorder holds at most so many seconds in so many bytes; 0 bytes turn it off.
    While people join, a publisher's last keyframe gets no older than `keyframe_interval_ms`; 0 has
    each wait for one that is asked for.
    """
    command = [sys.executable, "-m", "media.plane", "--socket", os.fspath(socket_path)]
    command += ["--host", host, "--ports", f"{ports[0]}-{ports[1]}", "--workers", str(workers)]
    command += ["--version", version, "--grace-ms", str(grace_ms)]
    command += ["--recorder-bytes", str(recorder_bytes)]
    command += ["--recorder-seconds", str(recorder_seconds)]
    command += ["--keyframe-interval-ms", str(keyframe_interval_ms)]
    return command if telemetry else [*command, "--no-telemetry"]


class PlaneStartError(Exception):
    """No plane could be started: one line that says why."""


class _Process:
    """A process by its pidfd, which never names another one. `close` it."""

    def __init__(self, pid: int, *, is_child: bool) -> None:
        self.pid = pid
        self.is_child = is_child
        self.exit_reason: str | None = None
        self._fd = os.pidfd_open(pid)

    @classmethod
    def spawn(cls, command: Sequence[str], env: Mapping[str, str], log_path: Path) -> Self:
        """Start a command in its own session, its output appended to a log file."""
        if log_path.exists() and log_path.stat().st_size > LOG_BYTES_MAX:
            log_path.rename(log_path.with_name(log_path.name + ".old"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawnp(
            command[0],
            list(command),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.fspath(log_path), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE],
        )
        return cls(pid, is_child=True)

    def close(self) -> None:
        os.close(self._fd)

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    async def wait_dead(self, timeout_s: float) -> bool:
        """Wait for its end; True once it is dead, with `exit_reason` set."""
        if self.exit_reason is None:
            with trio.move_on_after(timeout_s):
                await trio.lowlevel.wait_readable(self._fd)
                self.exit_reason = self._reap()
        return self.exit_reason is not None

    def _reap(self) -> str:
        if not self.is_child:
            return "gone"
        result = os.waitid(os.P_PIDFD, self._fd, os.WEXITED)
        assert result is not None
        if result.si_code == os.CLD_EXITED:
            return f"exit {result.si_status}"
        return f"signal {signal.Signals(result.si_status).name}"


class PlaneProcess:
    """Keeps one plane process running behind a `Plane`.

    `command` starts it and makes it listen at `socket_path`; its output goes
    to `log_path`. `env` is its whole environment, by default our own.
    """

    def __init__(
        self,
        plane: Plane,
        *,
        command: Sequence[str],
        socket_path: Path,
        log_path: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._plane = plane
        self._command = tuple(command)
        self._socket_path = socket_path
        self._log_path = log_path
        self._env = dict(os.environ if env is None else env)
        self._process: _Process | None = None
        self._greeted: int | None = None
        """The process that greeted us last: if it hangs, it may be killed, whoever started it."""
        self._keep = False

    @property
    def pid(self) -> int | None:
        """The process that is served now."""
        return None if self._process is None else self._process.pid

    def release(self) -> None:
        """Leave the plane running when `run` ends, for the next control process to take over."""
        self._keep = True

    async def run(self, task_status: trio.TaskStatus[PlaneInfo] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; then end the plane, unless it was released.

        Says started once the first plane is up. Raises `PlaneStartError` when
        the first one can't be started; later ones are tried for ever.
        """
        ups = 0

        def on_up(info: PlaneInfo) -> None:
            nonlocal ups
            if ups == 0:
                task_status.started(info)
            ups += 1

        backoff_s = BACKOFF_S_MIN
        try:
            while True:
                began_s, ups_before = trio.current_time(), ups
                try:
                    await self._run_once(on_up)
                except PlaneStartError as error:
                    if ups == 0:
                        raise
                    await self._plane.report_down(f"start_failed: {error}", lost=True)
                if ups > ups_before and trio.current_time() - began_s > STEADY_S:
                    backoff_s = BACKOFF_S_MIN
                await trio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)
        finally:
            if not self._keep:
                with trio.CancelScope(shield=True):
                    await self._end_process()
            self._forget_process()

    async def _run_once(self, on_up: Callable[[PlaneInfo], None]) -> None:
        """Find or start a plane, serve one connection, and say how it ended."""
        stream, fresh = await self._find_or_start()
        came_up = False

        def note_up(info: PlaneInfo) -> None:
            nonlocal came_up
            came_up = True
            self._greeted = None if self._process is None else self._process.pid
            on_up(info)

        try:
            reason = await self._plane.serve(stream, fresh=fresh, on_up=note_up)
        except PlaneRefused as refused:
            if not await self._end_process():
                raise PlaneStartError(f"a plane refuses us ({refused}) and does not end") from None
            self._forget_process()
            if fresh:
                raise PlaneStartError(f"the new plane refuses us: {refused}") from None
            return
        assert self._process is not None
        if reason == HELLO_TIMEOUT and not fresh:
            if not await self._end_process(hangs=self._process.pid == self._greeted):
                raise PlaneStartError(f"the plane {self._process.pid} neither answers nor ends")
            reason = "hung"
        if await self._process.wait_dead(DEATH_WAIT_S):
            why = reason if reason == "hung" else self._process.exit_reason or reason
            self._forget_process()
            if fresh and not came_up:
                raise PlaneStartError(f"the plane ended with {why}: {self._last_log_line()}")
            await self._plane.report_down(why, lost=True)
        else:
            await self._plane.report_down(reason, lost=False)

    async def _find_or_start(self) -> tuple[trio.SocketStream, bool]:
        if len(os.fsencode(self._socket_path)) > _UNIX_PATH_BYTES_MAX:
            raise PlaneStartError(
                f"the path of the plane's socket is too long: {self._socket_path}"
            )
        stream = await self._connect()
        if stream is not None:
            self._watch_peer(stream)
            return stream, False
        if self._process is not None:
            # It lives, but can't be reached: nobody can lead it any more.
            if not await self._end_process():
                raise PlaneStartError(f"the plane {self._process.pid} can't be reached or ended")
            await self._plane.report_down("unreachable", lost=True)
            self._forget_process()
        return await self._start(), True

    async def _start(self) -> trio.SocketStream:
        self._socket_path.unlink(missing_ok=True)
        try:
            process = _Process.spawn(self._command, self._env, self._log_path)
        except OSError as error:
            raise PlaneStartError(f"{self._command[0]}: {error.strerror}") from error
        self._process = process
        with trio.move_on_after(START_TIMEOUT_S):
            while True:
                stream = await self._connect()
                if stream is not None:
                    return stream
                if await process.wait_dead(CONNECT_INTERVAL_S):
                    why = process.exit_reason
                    self._forget_process()
                    raise PlaneStartError(f"the plane ended with {why}: {self._last_log_line()}")
        await self._end_process()
        self._forget_process()
        raise PlaneStartError(f"the plane did not answer within {START_TIMEOUT_S:g} s")

    async def _connect(self) -> trio.SocketStream | None:
        """Connect to the socket; None when nobody listens there."""
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await sock.connect(os.fspath(self._socket_path))
        except OSError:
            sock.close()
            return None
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    def _watch_peer(self, stream: trio.SocketStream) -> None:
        """Hold the process behind a connection, whoever started it."""
        size = struct.calcsize("3i")
        credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, uid, _gid = struct.unpack("3i", credentials)
        if uid != os.geteuid():
            raise PlaneStartError(f"the plane's socket belongs to user {uid}")
        if self._process is None or self._process.pid != pid:
            self._forget_process()
            try:
                self._process = _Process(pid, is_child=False)
            except OSError as error:
                raise PlaneStartError(f"the plane {pid} can't be watched: {error}") from error

    async def _end_process(self, *, hangs: bool = False) -> bool:
        """End the process by Quit, SIGTERM and, where we started it, SIGKILL; True: it is dead.

        One that hangs is killed at once: it would hear nothing else.
        """
        process = self._process
        if process is None:
            return True
        if hangs:
            process.send(signal.SIGKILL)
            return await process.wait_dead(QUIT_TIMEOUT_S)
        if await self._tell_quit() and await process.wait_dead(QUIT_TIMEOUT_S):
            return True
        process.send(signal.SIGTERM)
        if await process.wait_dead(QUIT_TIMEOUT_S):
            return True
        if process.is_child:
            process.send(signal.SIGKILL)
            return await process.wait_dead(QUIT_TIMEOUT_S)
        return False

    async def _tell_quit(self) -> bool:
        """Tell the plane to quit, on a connection of its own; False where it does not listen."""
        hello = Hello(protocol=PLANE_PROTOCOL, version="", grace_ms=0)
        with trio.move_on_after(QUIT_TIMEOUT_S):
            stream = await self._connect()
            if stream is None:
                return False
            async with stream:
                try:
                    await stream.send_all(encode_orders(0, [encode_order(hello), _QUIT]))
                    splitter = FrameSplitter()
                    while received := await stream.receive_some(65_536):
                        for body in splitter.handle_bytes(bytes(received)):
                            frame = decode_frame(body)
                            if frame.seq == 0:
                                return not any(r and r.error for r in frame.results)
                except FrameError:
                    return False
                except trio.BrokenResourceError:
                    return True
            return True
        return False

    def _forget_process(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def _last_log_line(self) -> str:
        try:
            with self._log_path.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - 4096))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError as error:
            return f"no log ({error.strerror})"
        return lines[-1] if lines else "it said nothing"
