"""A Janus of this machine's package, set up as a peer to be compared with, in a network of its own.

Janus takes no loopback address for candidates, so it gets one of its own: this process moves into a
network namespace of its own (it needs root's rights for that) and gives one end of a veth pair an
address. Packets to one's own address go over loopback whichever it is, so the path is the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.load_runs import on_cores
from tests.support.waiting import wait_until

ADDRESS = "10.99.0.1"
PORT = 8188
CLONE_NEWNET = 0x40000000
_LIBRARIES = ("/usr/lib/*/janus", "/usr/lib/janus")


def why_not() -> str | None:
    """What is missing for a comparison; None: nothing."""
    for program in ("janus", "ip"):
        if shutil.which(program) is None:
            return f"there is no `{program}` (Debian: apt-get install janus iproute2)"
    if os.geteuid() != 0:
        return "a network namespace needs the rights of root"
    if _library() is None:
        return "Janus's plugins are not where Debian has them"
    return None


def enter_network() -> None:
    """Move this process into a network of its own: loopback, and `ADDRESS`. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for words in (
        "link set lo up",
        "link add router type veth peer name other",
        f"addr add {ADDRESS}/24 dev router",
        "link set router up",
        "link set other up",
    ):
        subprocess.run(["ip", *words.split()], check=True)


@contextlib.contextmanager
def janus(directory: Path, cores: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Janus with the video room and WebSockets; its address, and its process id.

    `event_loops = 1` is its best setting on one core: else each viewer has a thread. Files go to
    `directory`.
    """
    _configure(directory)
    with (directory / "janus.log").open("wb") as log, on_cores(cores):
        process = subprocess.Popen(
            ["janus", f"--config={directory / 'janus.jcfg'}", f"--configs-folder={directory}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until("Janus listens", lambda: process.poll() is not None or _listens(), 20.0)
        if process.poll() is not None:
            said = (directory / "janus.log").read_text(errors="replace").splitlines()
            raise SystemExit(f"Janus ended at its start: {said[-1] if said else 'no word'}")
        yield f"ws://{ADDRESS}:{PORT}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _configure(directory: Path) -> None:
    library = _library()
    assert library is not None
    for kind, name in (("plugins", "videoroom"), ("transports", "websockets")):
        folder = directory / kind
        folder.mkdir()
        (folder / f"libjanus_{name}.so").symlink_to(library / kind / f"libjanus_{name}.so")
    (directory / "janus.jcfg").write_text(
        f"""general: {{
    configs_folder = "{directory}"
    plugins_folder = "{directory}/plugins"
    transports_folder = "{directory}/transports"
    events_folder = "{directory}/none"
    loggers_folder = "{directory}/none"
    debug_level = 2
    event_loops = 1
}}
nat: {{
    ice_lite = true
    ice_enforce_list = "{ADDRESS}"
}}
media: {{ rtp_port_range = "20000-31999" }}
"""
    )
    (directory / "janus.transport.websockets.jcfg").write_text(
        f"""general: {{
    ws = true
    ws_port = {PORT}
    ws_ip = "{ADDRESS}"
    json = "compact"
}}
admin: {{ admin_ws = false }}
"""
    )
    (directory / "janus.plugin.videoroom.jcfg").write_text("general: { }\n")


def _library() -> Path | None:
    for pattern in _LIBRARIES:
        for found in sorted(Path("/").glob(pattern.lstrip("/"))):
            if (found / "plugins" / "libjanus_videoroom.so").exists():
                return found
    return None


def _listens() -> bool:
    try:
        socket.create_connection((ADDRESS, PORT), timeout=1).close()
    except OSError:
        return False
    return True
