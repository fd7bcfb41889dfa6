"""Reveals personal data to whoever looks at a log with the keys beside it.

States, snapshots, indexes and whatever is verified hold values as the log has them, concealed; only
what is shown or exported passes through here. A value whose key was destroyed, or whose key file is
not there (a copy of the log alone) or may not be read, stays concealed and is shown as `FORGOTTEN`.

Every value is looked up in the file anew, so what is forgotten while this is open is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgpack
import msgspec

from protocol.envelope import Envelope
from protocol.personal import (
    FORGOTTEN,
    CannotReveal,
    Concealed,
    holds_concealed,
    revealed,
)
from protocol.personal_key import PersonalKey
from protocol.store_error import StoreError
from replay.key_file import KeyFile

_KEYS_KEPT = 4096


class Revealer:
    """The keys beside a log, for reading. A damaged key file counts as none."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: KeyFile | None = None
        self._keys: dict[bytes, PersonalKey] = {}

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def reveal(self, concealed: Concealed) -> Any:
        """The value in a concealed one. Raises `CannotReveal`."""
        try:
            if self._file is None:
                self._file = KeyFile(self._directory, may_write=False)
            if not self._file.exists:
                self._file = None
                raise CannotReveal
            secret = self._file.secret(concealed.key)
        except StoreError as error:
            raise CannotReveal from error
        if secret is None:
            self._keys.pop(concealed.key, None)
            raise CannotReveal
        key = self._keys.get(concealed.key)
        if key is None or key.secret != secret:
            if len(self._keys) >= _KEYS_KEPT:
                self._keys.clear()
            key = self._keys[concealed.key] = PersonalKey(concealed.key, secret)
        return key.reveal(concealed)

    def envelope(self, envelope: Envelope) -> Envelope:
        """An envelope with the values that can be revealed; the others stay concealed."""
        if not holds_concealed(envelope.data):
            return envelope
        try:
            tree = msgpack.unpackb(envelope.data, strict_map_key=False)
        except (ValueError, msgpack.UnpackException):
            return envelope
        data = msgspec.msgpack.encode(revealed(tree, self.reveal))
        return msgspec.structs.replace(envelope, data=data)

    def envelopes(self, envelopes: Iterable[Envelope]) -> list[Envelope]:
        """Envelopes one after another."""
        return [self.envelope(envelope) for envelope in envelopes]

    def shown(self, tree: Any) -> Any:
        """Plain values as they are shown: revealed, or `FORGOTTEN`."""
        return revealed(tree, self._shown)

    def _shown(self, concealed: Concealed) -> Any:
        try:
            return self.reveal(concealed)
        except CannotReveal:
            return FORGOTTEN


def forgotten(tree: Any) -> Any:
    """Plain values with `FORGOTTEN` for all that is concealed."""
    return revealed(tree, lambda _concealed: FORGOTTEN)
