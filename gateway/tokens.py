"""Tokens: who may do what in which room until when, and who may look at sessions.

They are signed with a secret that the server shares with the application's backend.

A token is a JWT (RFC 7519) signed with HS256 and nothing else, with the claims `room`, `exp` and,
where they are wanted, `name`, `publish`, `subscribe` and `nbf`. Missing rights are given: a token
for a room, with nothing else said, lets its bearer do both. An operator's token has `operator` and
`exp`; its bearer may look at all sessions, and join none.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import jwt
import msgspec
from msgspec import Meta, Struct

from gateway.keys import Secret
from protocol.commands import Rights
from protocol.ids import RoomId
from protocol.refusals import Refusal, RefusalCode

ALGORITHM = "HS256"
SECRET_BYTES_MIN = 32
"""HS256 wants a key as long as its hash (RFC 7518, 3.2)."""
LEEWAY_S = 5
"""How far clocks may differ, in seconds."""
LIFETIME_S_MAX = 10 * 365 * 86400
_TOKEN_CHARACTERS_MAX = 4096
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Claims(Struct, frozen=True, kw_only=True):
    """What a valid token says."""

    room: RoomId
    name: Annotated[str, Meta(max_length=128)] | None = None
    publish: bool = True
    subscribe: bool = True

    @property
    def rights(self) -> Rights:
        """What its bearer may do."""
        return Rights(publish=self.publish, subscribe=self.subscribe)


class OperatorClaims(Struct, frozen=True, kw_only=True):
    """What an operator's token says. It names no room, so it is no join token."""

    operator: bool = False


def issue(secret: Secret, claims: Claims, *, now_s: float, lifetime_s: int) -> str:
    """A token that holds from now on, for `lifetime_s` seconds."""
    payload = {
        **{name: value for name, value in msgspec.to_builtins(claims).items() if value is not None},
        "iat": int(now_s),
        "exp": int(now_s) + lifetime_s,
    }
    return jwt.encode(payload, secret.reveal(), algorithm=ALGORITHM)


def check(secret: Secret, token: object, *, room: str) -> Claims | Refusal:
    """What a token allows in `room`; else why it does not count. Never raises."""
    claims = _decoded(secret, token, Claims)
    if isinstance(claims, Refusal):
        return claims
    if claims.room != room:
        return _unauthorized("the token is for another room")
    return claims


def issue_operator(secret: Secret, *, now_s: float, lifetime_s: int) -> str:
    """A token for an operator, who may look at all sessions and join none."""
    payload = {"operator": True, "iat": int(now_s), "exp": int(now_s) + lifetime_s}
    return jwt.encode(payload, secret.reveal(), algorithm=ALGORITHM)


def check_operator(secret: Secret, token: object) -> Refusal | None:
    """Why a token does not make its bearer an operator; None if it does. Never raises."""
    claims = _decoded(secret, token, OperatorClaims)
    if isinstance(claims, Refusal):
        return claims
    if not claims.operator:
        return _unauthorized("the token is not an operator's")
    return None


def secret_of(text: str) -> Secret:
    """A signing secret. Raises `ValueError`, without quoting it, when it is too short."""
    text = text.strip()
    if len(text.encode()) < SECRET_BYTES_MIN:
        raise ValueError(f"the secret is shorter than {SECRET_BYTES_MIN} bytes")
    return Secret(text)


def seconds_of(duration: str) -> int:
    """Seconds in a duration such as `90s`, `15m`, `1h` or `7d`. Raises `ValueError`."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", duration.strip())
    if found is None:
        raise ValueError(f"{duration!r} is no duration such as 90s, 15m, 1h or 7d")
    seconds = int(found[1]) * _UNITS_S[found[2]]
    if not 0 < seconds <= LIFETIME_S_MAX:
        raise ValueError(f"{duration!r} is not between 1s and {LIFETIME_S_MAX // 86400}d")
    return seconds


_SHAPES: dict[type[Struct], str] = {Claims: "a join token", OperatorClaims: "an operator's token"}
_Shape = TypeVar("_Shape", bound=Struct)


def _decoded(secret: Secret, token: object, shape: type[_Shape]) -> _Shape | Refusal:
    """The claims of a token that this secret signed and whose time has come."""
    if token is None or token == "":
        return _unauthorized(
            "a token is needed to join" if shape is Claims else "a token is needed"
        )
    if not isinstance(token, str) or len(token) > _TOKEN_CHARACTERS_MAX:
        return _unauthorized("the token is not valid")
    try:
        payload = jwt.decode(
            token,
            secret.reveal(),
            algorithms=[ALGORITHM],
            leeway=LEEWAY_S,
            options={"require": ["exp"], "verify_aud": False},
        )
        return msgspec.convert(payload, shape)
    except jwt.ExpiredSignatureError:
        return _unauthorized("the token has expired")
    except jwt.ImmatureSignatureError:
        return _unauthorized("the token does not hold yet")
    except jwt.MissingRequiredClaimError:
        return _unauthorized("the token has no expiry")
    except msgspec.ValidationError:
        return _unauthorized(f"the token's claims are not those of {_SHAPES[shape]}")
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        return _unauthorized("the token is not valid")


def _unauthorized(message: str) -> Refusal:
    return Refusal(RefusalCode.UNAUTHORIZED, message)
