"""Join tokens: only what this secret signed for this room counts, and only for its time."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import tokens
from gateway.keys import Secret
from gateway.tokens import Claims
from protocol.refusals import Refusal, RefusalCode

TEXT = "a secret of at least thirty-two bytes"
SECRET = Secret(TEXT)


def signed(algorithm="HS256", key=TEXT, **payload):
    return jwt.encode(payload, key, algorithm=algorithm)


def soon():
    return int(time.time()) + 60


def test_what_is_issued_is_what_is_found():
    claims = Claims(room="lobby", name="Ada", publish=False)
    token = tokens.issue(SECRET, claims, now_s=time.time(), lifetime_s=60)
    assert tokens.check(SECRET, token, room="lobby") == claims


def test_missing_rights_are_given_and_other_claims_ignored():
    token = signed(room="lobby", exp=soon(), sub="x", aud="y", iss="z", foo=[1])
    assert tokens.check(SECRET, token, room="lobby") == Claims(room="lobby")


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        ({"room": "lobby"}, "no expiry"),
        ({"room": "lobby", "exp": 1}, "expired"),
        ({"room": "lobby", "exp": "x"}, "not valid"),
        ({"room": "lobby", "exp": float("inf")}, "not valid"),
        ({"room": "lobby", "exp": 9e9, "nbf": 8e9}, "hold yet"),
        ({"room": "other", "exp": 9e9}, "another room"),
        ({"room": "LOBBY", "exp": 9e9}, "another room"),
        ({"exp": 9e9}, "claims"),
        ({"room": 7, "exp": 9e9}, "claims"),
        ({"room": "lobby", "exp": 9e9, "publish": "yes"}, "claims"),
        ({"room": "lobby", "exp": 9e9, "name": "n" * 129}, "claims"),
    ],
)
def test_wrong_claims_are_refused_with_a_plain_word(payload, word):
    found = tokens.check(SECRET, signed(**payload), room="lobby")
    assert isinstance(found, Refusal)
    assert found.code is RefusalCode.UNAUTHORIZED
    assert word in found.message


def test_a_clock_that_is_a_little_late_is_forgiven():
    token = signed(room="lobby", exp=int(time.time()) - 2, nbf=int(time.time()) + 3)
    assert isinstance(tokens.check(SECRET, token, room="lobby"), Claims)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "none"])
def test_other_algorithms_do_not_count(algorithm):
    key = "" if algorithm == "none" else TEXT * 3
    secret = Secret(TEXT * 3)
    token = signed(algorithm, key, room="lobby", exp=soon())
    assert isinstance(tokens.check(secret, token, room="lobby"), Refusal)
    assert isinstance(
        tokens.check(secret, signed("HS256", TEXT * 3, room="lobby", exp=soon()), room="lobby"),
        Claims,
    )


def test_a_header_that_claims_another_algorithm_over_a_good_signature_does_not_count():
    def part(tree):
        return base64.urlsafe_b64encode(json.dumps(tree).encode()).rstrip(b"=")

    for header in ({"alg": "none"}, {"alg": "RS256"}, {"alg": "hs256"}, {"alg": None}, {}, []):
        body = part(header) + b"." + part({"room": "lobby", "exp": soon()})
        mac = base64.urlsafe_b64encode(hmac.digest(TEXT.encode(), body, hashlib.sha256))
        token = (body + b"." + mac.rstrip(b"=")).decode()
        assert isinstance(tokens.check(SECRET, token, room="lobby"), Refusal)


def test_a_header_of_nothing_but_brackets_is_refused():
    deep = base64.urlsafe_b64encode(b"[" * 2900).decode().rstrip("=")
    assert isinstance(tokens.check(SECRET, f"{deep}.e30.AA", room="lobby"), Refusal)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=50), st.none(), st.integers()))
def test_nothing_that_a_client_sends_raises_or_counts(token):
    assert isinstance(tokens.check(SECRET, token, room="lobby"), Refusal)


@given(st.integers(0, 500), st.integers(1, 255))
def test_a_token_with_any_character_changed_does_not_count(index, shift):
    token = signed(room="lobby", exp=4_000_000_000)
    index %= len(token)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[shift % 64]
    if token[index] in {other, "."} or index == len(token) - 1:  # the last has spare bits
        return
    changed = token[:index] + other + token[index + 1 :]
    assert isinstance(tokens.check(SECRET, changed, room="lobby"), Refusal)


def test_a_short_secret_is_refused_and_not_quoted():
    with pytest.raises(ValueError, match="shorter than 32 bytes") as refused:
        tokens.secret_of("hunter2")
    assert "hunter2" not in str(refused.value)
    assert tokens.secret_of(f"  {TEXT}\n").reveal() == TEXT


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604800), (" 1h ", 3600)]
)
def test_durations(text, seconds):
    assert tokens.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "0s", "-1h", "1y", "1.5h", "9999999d", "1h30m"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is"):
        tokens.seconds_of(text)
