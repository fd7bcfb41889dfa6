"""Who may come in: pages by their origin, peers by their token, and over TLS where it is set."""

import ssl
import time

import jwt
import pytest

from gateway import tokens
from gateway.keys import Secret
from gateway.premises import load_tls
from protocol.commands import Rights
from protocol.signaling import CloseCode
from tests.scenario.signaling_bench import read_all, signaling
from tests.support.certificate import make_certificate

SECRET = Secret("a secret of at least thirty-two bytes")


def token(*, room="lobby", lifetime_s=86_400, secret=SECRET, **claims):
    """A join token; those of parameters are made at collection, long before their test runs."""
    made = tokens.Claims(room=room, **claims)
    return tokens.issue(secret, made, now_s=time.time(), lifetime_s=lifetime_s)


async def test_a_token_says_who_one_is_and_what_one_may_do():
    async with signaling(secret=SECRET) as bench:
        client = await bench.connect()
        await client.join(token=token(name="Ada", publish=False), name="Eve", rights={})
        _, command, _ = bench.control.requests[0]
        assert command.name == "Ada"
        assert command.rights == Rights(publish=False, subscribe=True)


async def test_without_a_secret_everyone_may_do_everything_whatever_they_claim():
    async with signaling() as bench:
        client = await bench.connect()
        await client.join(name="Eve", rights={"publish": False}, token="nonsense")
        _, command, _ = bench.control.requests[0]
        assert (command.name, command.rights) == ("Eve", Rights())


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (None, "needed"),
        ("", "needed"),
        ("nonsense", "not valid"),
        (7, "not valid"),
        ("x" * 5000, "not valid"),
        (token(room="other"), "another room"),
        (token(lifetime_s=-60), "expired"),
        (token(secret=Secret("another secret of thirty-two bytes")), "not valid"),
        (jwt.encode({"room": "lobby", "exp": 9e9}, None, algorithm="none"), "not valid"),
        (jwt.encode({"room": "lobby"}, SECRET.reveal(), algorithm="HS256"), "no expiry"),
    ],
    ids=range(10),
)
async def test_a_token_that_does_not_count_is_refused_with_a_plain_word(given, word):
    async with signaling(secret=SECRET) as bench:
        client = await bench.connect()
        answer = await client.request("join", {"room": "lobby", "token": given})
        assert answer["error"]["code"] == "unauthorized"
        assert word in answer["error"]["message"]
        assert bench.control.requests == []
        await client.join(token=token())


ALLOWED = [None, "http://localhost:3000", "http://LOCALHOST", "https://localhost:8443"]
REFUSED = [
    "http://evil.example",
    "http://evil.example:3000",
    "null",
    "",
    "http://",
    "http://[",
    "file://localhost",
    "http://localhost.evil.example",
    "http://127.0.0.1:3000",
]


@pytest.mark.parametrize("origin", [origin for origin in ALLOWED if origin is not None])
async def test_pages_of_the_same_host_may_signal(origin):
    async with signaling() as bench:
        await (await bench.connect(headers=[(b"Origin", origin.encode())])).join()


@pytest.mark.parametrize("origin", REFUSED)
async def test_pages_of_other_hosts_are_closed_before_the_welcome(origin):
    async with signaling() as bench:
        client = await bench.connect(headers=[(b"Origin", origin.encode())], welcome=False)
        if not origin:  # as good as none
            assert (await client.receive())["event"] == "welcome"
            return
        assert (await client.wait_closed())[0] == CloseCode.ORIGIN_REFUSED


async def test_allowed_origins_replace_the_rule():
    async with signaling(allowed_origins=["https://app.example"]) as bench:
        good = await bench.connect(headers=[(b"Origin", b"https://app.example")])
        await good.join()
        for origin in (b"http://localhost:3000", b"http://app.example"):
            bad = await bench.connect(headers=[(b"Origin", origin)], welcome=False)
            assert (await bad.wait_closed())[0] == CloseCode.ORIGIN_REFUSED
    async with signaling(allowed_origins=["*"]) as bench:
        await (await bench.connect(headers=[(b"Origin", b"http://evil.example")])).join()


async def test_signaling_speaks_tls(tmp_path):
    certificate, key = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate)
    async with signaling(server_ssl=load_tls(certificate, key), client_ssl=trusting) as bench:
        client = await bench.connect()
        await client.join()
        plain = await bench.open()
        async with plain:
            await plain.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP" not in await read_all(plain)
        assert (await client.request("restartIce", {"transport": "t"}))["ok"]
        assert (await client.request("leave"))["ok"]
        assert (await client.wait_closed())[0] == CloseCode.NORMAL
