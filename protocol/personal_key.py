"""The key of one person: what conceals its values, and alone reveals them.

AES-128-GCM (NIST SP 800-38D). The nonce is an HMAC-SHA-256 of the value by the other half of the
key, cut to 96 bits, so no nonce ever covers two values, and equal values are concealed alike.
"""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.personal import BLOCK_BYTES, KEY_ID_BYTES, CannotReveal, Concealed

SECRET_BYTES = 32
KEY_BYTES = KEY_ID_BYTES + SECRET_BYTES

_NONCE_BYTES = 12
_AES_BYTES = 16
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class PersonalKey:
    """The key of one person. Neither its `repr` nor its `str` has the secret."""

    __slots__ = ("_aes", "_nonces", "id", "secret")

    def __init__(self, key_id: bytes, secret: bytes) -> None:
        assert len(key_id) == KEY_ID_BYTES
        assert len(secret) == SECRET_BYTES
        self.id = key_id
        self.secret = secret
        self._aes = AESGCM(secret[:_AES_BYTES])
        self._nonces = secret[_AES_BYTES:]

    def __repr__(self) -> str:
        return f"PersonalKey({self.id.hex()}, …)"

    def conceal(self, value: Any) -> Concealed:
        """Conceal a plain value: text, numbers, lists and maps of them."""
        plain = _encode(value) + b"\x80"
        plain += bytes(-len(plain) % BLOCK_BYTES)
        nonce = hmac.digest(self._nonces, plain, "sha256")[:_NONCE_BYTES]
        return Concealed(self.id, nonce, self._aes.encrypt(nonce, plain, self.id))

    def reveal(self, concealed: Concealed) -> Any:
        """The value in it. Raises `CannotReveal` for what this key did not conceal."""
        if concealed.key != self.id:
            raise CannotReveal
        try:
            plain = self._aes.decrypt(concealed.nonce, concealed.text, self.id)
            return _decode(plain.rstrip(b"\x00")[:-1])
        except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
            raise CannotReveal from error
