"""A real `reprise serve` in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.ports import free_port, free_ports
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "gateway.cli")
START_S = 30.0
STOP_S = 20.0
RTC_PORTS = 4


def reprise(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command of `reprise` to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=_environment(env),
        cwd=cwd or ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class Server:
    """`reprise serve` on loopback; the same data directory and ports at every start.

    Output goes to `logs/NAME-N.out` and `.log`, N counting the starts. `close` ends whatever is
    left, the media plane included. What was logged as an error fails the test that calls
    `stop` or `check_log`, unless it is among `expected_errors` (log events by name).
    """

    def __init__(
        self,
        data: Path,
        logs: Path,
        *,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        name: str = "server",
    ) -> None:
        self.data = data
        self.http_port = free_port()
        self.signal_port = free_port()
        self.rtc_port = free_ports(RTC_PORTS)
        self.expected_errors: set[str] = set()
        self._options = tuple(options)
        self._env = _environment(env)
        self._logs = logs
        self._name = name
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://localhost:{self.http_port}"

    @property
    def signaling_url(self) -> str:
        """Where signaling is."""
        return f"ws://localhost:{self.signal_port}/"

    @property
    def pid(self) -> int:
        """The control process."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the control process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        """What the current or last run wrote to standard error."""
        return self._logs / f"{self._name}-{self._starts}.log"

    @property
    def out_path(self) -> Path:
        """What the current or last run wrote to standard output."""
        return self._logs / f"{self._name}-{self._starts}.out"

    def command(self) -> list[str]:
        """The command line that starts it."""
        return [
            *COMMAND,
            "serve",
            f"--data={self.data}",
            f"--http-port={self.http_port}",
            f"--signal-port={self.signal_port}",
            f"--rtc-ports={self.rtc_port}-{self.rtc_port + RTC_PORTS - 1}",
            "--log-format=json",
            *self._options,
        ]

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it says that it is healthy."""
        assert not self.running
        self._starts += 1
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.out_path.open("wb") as out, self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(), env=self._env, cwd=ROOT, stdout=out, stderr=log
            )
        if wait:
            wait_until("the server is healthy", self._healthy_or_dead, START_S)

    def stop(self) -> None:
        """End it by SIGTERM: exit code 0, no plane left behind, no error in the log."""
        self.signal(signal.SIGTERM)
        assert self.wait_exit() == 0, f"exit code {self.wait_exit()}; see {self.log_path}"
        wait_until("the plane ends with the server", lambda: not self.plane_pids())
        self.check_log()

    def kill(self) -> None:
        """End the control process by SIGKILL; the plane stays."""
        self.signal(signal.SIGKILL)
        assert self.wait_exit() == -signal.SIGKILL
        self.check_log()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the control process."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait_exit(self, timeout_s: float = STOP_S) -> int:
        """The exit code of the control process."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def plane_pids(self) -> list[int]:
        """The media planes of this server's data directory that are alive."""
        return [pid for pid in _processes_naming(self.data) if pid != self._pid_or_none()]

    def plane_pid(self) -> int:
        """The one media plane."""
        pids = wait_until("a plane is there", self.plane_pids)
        assert len(pids) == 1, pids
        return pids[0]

    def kill_plane(self) -> int:
        """End the media plane by SIGKILL, and return its pid."""
        pid = self.plane_pid()
        os.kill(pid, signal.SIGKILL)
        return pid

    def log(self) -> list[dict[str, Any]]:
        """The lines of the current or last run's log."""
        return [_line(text) for text in self.log_path.read_text().splitlines()]

    def check_log(self) -> None:
        """Fail for lines of level error, for warnings of Python, and for what is no log line."""
        bad = [
            line
            for line in self.log()
            if (
                line["level"] in {"error", "critical", "none"}
                or line.get("logger") == "py.warnings"
            )
            and line["event"] not in self.expected_errors
        ]
        assert not bad, f"errors in {self.log_path}: {bad}"

    def close(self) -> None:
        """Leave nothing running, whatever happened before."""
        if self.running:
            assert self._process is not None
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
            if self.running:
                self._process.kill()
                self._process.wait(STOP_S)
        for pid in self.plane_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an HTTP request."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def _pid_or_none(self) -> int | None:
        return None if self._process is None else self._process.pid

    def _healthy_or_dead(self) -> bool:
        assert self.running, f"the server ended at its start: {self.log_path.read_text()}"
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REPRISE_")}
    return {**kept, **(extra or {})}


def _processes_naming(data: Path) -> list[int]:
    """Processes whose command line names the data directory, or a file in it."""
    wanted = str(data).encode()
    found = []
    for each in Path("/proc").iterdir():
        if not each.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            parts = (each / "cmdline").read_bytes().split(b"\0")
            if any(part == wanted or wanted + b"/" in part for part in parts):
                found.append(int(each.name))
    return sorted(found)


def _line(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except ValueError:
        tree = None
    return tree if isinstance(tree, dict) else {"level": "none", "event": text}
