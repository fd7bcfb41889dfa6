"""The signaling client: answers to the right askers, notifications in order, clear endings."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from trio_websocket import open_websocket_url

from load.client import (
    INBOX_MAX,
    RequestRefused,
    SignalingClient,
    SignalingClosed,
    attended,
    connect,
)
from load.endpoint import Endpoint
from protocol.answers import Joined
from protocol.negotiation import router_capabilities
from protocol.signaling import JSON, MSGPACK, Subprotocol
from protocol.transport_parameters import DtlsParameters
from tests.unit.lite_peer import LitePeer
from tests.unit.scripted_signaling import ScriptedSocket, signaling

JOINED = Joined(
    peer="p1",
    session="secret",
    router_rtp_capabilities=router_capabilities(),
    peers=(),
    producers=(),
    position=3,
    streaming=False,
)


async def echo(socket: ScriptedSocket, request: dict[str, Any]) -> None:
    await socket.answer(request, method=request["method"], got=request["data"])


@pytest.mark.parametrize("subprotocol", [MSGPACK, JSON])
async def test_both_subprotocols_carry_requests_and_the_welcome(subprotocol: Subprotocol) -> None:
    async with signaling(echo) as url, connect(url, subprotocol=subprotocol) as client:
        assert client.welcome == {"version": "0", "limits": {"messageBytes": 65536}}
        assert await client.request("x", {"a": [1, None]}) == {
            "method": "x",
            "got": {"a": [1, None]},
        }


async def test_answers_in_another_order_reach_who_asked() -> None:
    held: list[dict[str, Any]] = []

    async def answer(socket: ScriptedSocket, request: dict[str, Any]) -> None:
        held.append(request)
        if len(held) == 3:
            for one in reversed(held):
                await echo(socket, one)

    got: dict[str, Any] = {}
    async with signaling(answer) as url, connect(url) as client, trio.open_nursery() as nursery:

        async def ask(method: str) -> None:
            got[method] = (await client.request(method))["method"]

        for method in ("a", "b", "c"):
            nursery.start_soon(ask, method)
    assert got == {"a": "a", "b": "b", "c": "c"}


async def test_a_refusal_is_raised_with_its_code_also_through_the_connection() -> None:
    async def answer(socket: ScriptedSocket, request: dict[str, Any]) -> None:
        await socket.refuse(request, "room_not_found", "there is none")

    async with signaling(answer) as url:
        with pytest.raises(RequestRefused, match="join: room_not_found: there is none") as caught:
            async with connect(url) as client:
                await client.join("r", create=False)
        assert caught.value.code == "room_not_found"


async def test_a_request_without_an_answer_times_out_and_a_late_one_is_dropped() -> None:
    async def answer(socket: ScriptedSocket, request: dict[str, Any]) -> None:
        if request["method"] == "second":
            await socket.answer({"id": request["id"] - 1})
            await socket.answer(request, fine=True)

    async with signaling(answer) as url, connect(url) as client:
        with pytest.raises(trio.TooSlowError):
            await client.request("first", timeout_s=0.05)
        assert await client.request("second") == {"fine": True}


async def test_notifications_come_in_order_and_raise_the_position() -> None:
    async def answer(socket: ScriptedSocket, request: dict[str, Any]) -> None:
        await socket.notify("peerJoined", 7, peer={"id": "p2", "name": "B"})
        await socket.notify("producerAdded", 9, producer={"id": "v"})
        await socket.notify("producerAdded", 8, producer={"id": "w"})
        await socket.answer(request)

    async with signaling(answer) as url, connect(url) as client:
        await client.request("go")
        assert client.position == 9
        first = await client.next_notification()
        assert (first.event, first.position, first.data["peer"]["id"]) == ("peerJoined", 7, "p2")
        assert (await client.wait_for("producerAdded", producer={"id": "w"})).position == 8
        with pytest.raises(trio.TooSlowError):
            await client.wait_for("roomClosed", timeout_s=0.05)


async def test_a_reader_that_is_too_slow_loses_the_oldest() -> None:
    async def answer(socket: ScriptedSocket, request: dict[str, Any]) -> None:
        for n in range(INBOX_MAX + 2):
            await socket.notify("score", n)
        await socket.answer(request)

    async with signaling(answer) as url, connect(url) as client:
        await client.request("go")
        assert client.notifications_dropped == 2
        assert (await client.next_notification()).position == 2


async def test_a_close_of_the_server_ends_what_waits_and_tells_why() -> None:
    async def answer(socket: ScriptedSocket, request: dict[str, Any]) -> None:
        await socket.notify("roomClosed", 1, reason="gone")
        await socket.socket.aclose(4005, "evicted")

    async with signaling(answer) as url, connect(url) as client:
        with pytest.raises(SignalingClosed) as caught:
            await client.request("go")
        assert (caught.value.code, caught.value.reason) == (4005, "evicted")
        assert (await client.next_notification()).event == "roomClosed"
        with pytest.raises(SignalingClosed):
            await client.next_notification()
        assert (await client.wait_closed()).code == 4005
        with pytest.raises(SignalingClosed):
            await client.request("again")


async def test_a_server_that_never_welcomes_is_given_up() -> None:
    async with (
        signaling(echo, welcome=False) as url,
        open_websocket_url(url, subprotocols=[MSGPACK]) as socket,
    ):
        with pytest.raises(trio.TooSlowError):
            async with attended(SignalingClient(socket, MSGPACK), timeout_s=0.05):
                pytest.fail("no welcome came")


async def test_join_and_resume_send_only_what_is_said() -> None:
    seen: list[dict[str, Any]] = []

    async def answer(socket: ScriptedSocket, request: dict[str, Any]) -> None:
        seen.append({"method": request["method"], "data": request["data"]})
        await socket.answer(request, **msgspec.to_builtins(JOINED))

    async with signaling(answer) as url, connect(url) as client:
        assert await client.join("r", name="A") == JOINED
        assert await client.resume("secret", 42) == JOINED
    assert seen == [
        {"method": "join", "data": {"room": "r", "name": "A"}},
        {"method": "resume", "data": {"session": "secret", "position": 42}},
    ]


async def test_an_endpoint_joins_connects_and_publishes() -> None:
    peer = await LitePeer.open()
    requests: list[str] = []

    async def answer(socket: ScriptedSocket, request: dict[str, Any]) -> None:
        data = request["data"]
        requests.append(request["method"])
        match request["method"]:
            case "join":
                await socket.answer(request, **msgspec.to_builtins(JOINED))
            case "createTransport":
                await socket.answer(request, **msgspec.to_builtins(peer.created()))
            case "connectTransport":
                peer.connect(msgspec.convert(data["dtlsParameters"], DtlsParameters))
                await socket.answer(request)
            case "produce":
                await socket.answer(request, id="producer-1")

    with peer.socket:
        async with signaling(answer) as url, connect(url) as client, trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            endpoint = Endpoint(client, nursery)
            await endpoint.join("r", name="A")
            video = await endpoint.publish("video/VP8")
            audio = await endpoint.publish("audio/opus")
            assert (video.producer, audio.producer) == ("producer-1", "producer-1")
            ssrcs = {video.sender.ssrc, audio.sender.ssrc}
            await peer.until(lambda: {packet.ssrc for packet in peer.rtp} >= ssrcs)
            await endpoint.close()
            nursery.cancel_scope.cancel()
    assert requests == ["join", "createTransport", "connectTransport", "produce", "produce"]
    assert video.rtp_parameters.mid != audio.rtp_parameters.mid
