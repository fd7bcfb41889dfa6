"""What a server needs of its machine: a data directory, two TCP ports, a certificate, open files.

Each function either gives it or raises `StartupError` with one line that names the path or port and
says what to do.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
from pathlib import Path

from gateway.addresses import is_loopback
from gateway.errors import StartupError
from gateway.settings import Settings

FILES_BESIDE_SOCKETS = 256
"""Open files that are no client's."""


def check_access(settings: Settings, host: str) -> None:
    """Refuse to be open to a network by accident. `host` is the address to listen on."""
    access = settings.access
    if is_loopback(host) or access.secret is not None or access.open:
        return
    raise StartupError(
        f"host {settings.network.host} can be reached from other machines: set a secret"
        " (REPRISE_SECRET or --secret-file) so that joining takes a token, or --open to let anyone"
        " join"
    )


def prepare_data_dir(path: Path) -> Path:
    """Make the data directory, for its owner alone, and see that it can be written."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StartupError(f"the disk of data directory {path} is full") from error
        raise StartupError(
            f"data directory {path} cannot be written: {error.strerror}; choose another with --data"
        ) from error
    return path.resolve()


def bind_tcp(host: str, port: int, setting: str) -> socket.socket:
    """Bind a TCP port; whoever serves it listens. `setting` is its name, for the error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        why = {
            errno.EADDRINUSE: "is in use",
            errno.EACCES: "is for root alone",
            errno.EADDRNOTAVAIL: "is not on this machine's addresses",
        }.get(error.errno or 0, error.strerror)
        raise StartupError(
            f"port {port} on {host} {why}: choose another with --{setting}, or end what uses it"
        ) from error
    return bound


def load_tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The TLS context of signaling, None without a certificate; HTTP uses the same files."""
    if certificate is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise StartupError(f"TLS file {path}: {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise StartupError(
            f"tls-cert {certificate} and tls-key {key} are no certificate with its key: {reason}"
        ) from error
    return context


def allow_open_files(sockets_max: int) -> int | None:
    """Raise the limit of open files as far as the sockets need it; what there is if too few."""
    wanted = sockets_max + FILES_BESIDE_SOCKETS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return None if allowed >= wanted else allowed


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; give one without a password")
