"""Which pages may signal: those that came from the host that they signal to, or are listed."""

import pytest
import trio

from protocol.signaling import MSGPACK, CloseCode
from tests.scenario.signaling_bench import handshake, signaling


async def answer_to(bench, host, origin):
    """What a page of `origin` gets that signals to `host`: its first frame."""
    stream = await trio.open_tcp_stream("127.0.0.1", bench.port)
    async with stream:
        await stream.send_all(handshake(MSGPACK, host=host, origin=origin))
        answer = b""
        with trio.fail_after(10):
            while not answer.partition(b"\r\n\r\n")[2]:
                answer += await stream.receive_some()
    head, _, frames = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    return frames


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:3001", "http://localhost:3000"),
        ("127.0.0.1:3001", "http://127.0.0.1:3000"),
        ("[::1]:3001", "https://[::1]"),
    ],
)
async def test_a_page_of_the_same_host_may_signal(host, origin):
    async with signaling() as bench:
        assert b"welcome" in await answer_to(bench, host, origin)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:3001", "http://elsewhere.example"),
        ("elsewhere.example:3001", "http://elsewhere.example:3000"),
        ("localhost:3001", "null"),
    ],
)
async def test_a_page_of_another_host_is_closed_with_the_reason(host, origin):
    async with signaling() as bench:
        frames = await answer_to(bench, host, origin)
        assert b"welcome" not in frames
        assert int(CloseCode.ORIGIN_REFUSED).to_bytes(2) in frames


async def test_a_listed_origin_may_signal_to_any_host():
    async with signaling(allowed_origins=["https://app.example"]) as bench:
        assert b"welcome" in await answer_to(bench, "sfu.example", "https://app.example")
