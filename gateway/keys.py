"""The server's own key, and everything that is derived from it. Nothing of it is ever logged.

A random key of 256 bits lies in the data directory (`secret.key`, readable by its owner alone).
Subkeys with different labels make session ids unforgeable and give each ICE username fragment its
password. Since the key outlives the process, so do sessions and ICE passwords: neither has to be
stored anywhere, and the log knows none of them.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from gateway.errors import StartupError

KEY_FILE = "secret.key"
_KEY_BYTES = 32
_MAC_BYTES = 16
_SESSION_CHARACTERS_MAX = 256


class Secret:
    """A text that must not be shown: neither its `repr` nor its `str` has it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(
            self._text.encode(), other._text.encode()
        )

    def __hash__(self) -> int:
        return hash(self._text)


class Session(NamedTuple):
    """Whose session it is, as a valid session id says."""

    room: str
    peer: str


class ServerKeys:
    """Session ids and ICE passwords by HMAC-SHA-256, each with a subkey of its own."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == _KEY_BYTES
        self._session_key = _derive(key, "session id")
        self._ice_key = _derive(key, "ice password")

    def session_id(self, room: str, peer: str) -> str:
        """The id with which `peer`, and nobody else, comes back: `room.peer.mac`."""
        return f"{room}.{peer}.{self._session_mac(room, peer)}"

    def session_of(self, session_id: object) -> Session | None:
        """Whose session id this is; None for anything that this server did not make."""
        if not isinstance(session_id, str) or len(session_id) > _SESSION_CHARACTERS_MAX:
            return None
        parts = session_id.split(".")
        if len(parts) != 3:
            return None
        room, peer, mac = parts
        wanted = self._session_mac(room, peer)
        if not hmac.compare_digest(mac.encode("utf-8", "replace"), wanted.encode()):
            return None
        return Session(room, peer)

    def ice_password(self, ufrag: str) -> str:
        """Password of an ICE username fragment: 192 bits in ice-chars (RFC 8839, 5.4)."""
        return b64encode(hmac.digest(self._ice_key, ufrag.encode(), sha256)[:24]).decode()

    def _session_mac(self, room: str, peer: str) -> str:
        text = f"{room}.{peer}".encode("utf-8", "replace")
        mac = hmac.digest(self._session_key, text, sha256)
        return urlsafe_b64encode(mac[:_MAC_BYTES]).rstrip(b"=").decode()


def load_keys(data_dir: Path) -> ServerKeys:
    """The keys of a data directory; at the first start they are made.

    Raises `StartupError` when the file cannot be read or written, is not ours, or can be read by
    others.
    """
    path = data_dir / KEY_FILE
    try:
        key = _read(path)
        if key is None:
            key = _create(path)
    except OSError as error:
        raise StartupError(f"the server's key {path}: {error.strerror or error}") from error
    return ServerKeys(key)


def _read(path: Path) -> bytes | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        mode = stat.S_IMODE(os.fstat(file).st_mode)
        text = os.read(file, 4096)
    finally:
        os.close(file)
    if mode & 0o077:
        raise StartupError(
            f"the server's key {path} can be read by others (mode {mode:04o}): chmod 600 {path}"
        )
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StartupError(
            f"the server's key {path} is damaged: restore it, or remove it to get a new one"
            " (all sessions end then)"
        )
    return key


def _create(path: Path) -> bytes:
    """Write a new key beside its place and link it there, so that it is whole or not there."""
    key = secrets.token_bytes(_KEY_BYTES)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, f"{key.hex()}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key


def _derive(key: bytes, label: str) -> bytes:
    return hmac.digest(key, f"reprise/{label}/1".encode(), sha256)
