"""Signaling on real rooms: real actors and a real log, the plane and the clock of the test."""

import time
from contextlib import asynccontextmanager

import msgspec
import trio

from gateway import tokens
from gateway.keys import Secret
from protocol.rtp_parameters import RtpParameters
from protocol.signaling import JSON, MSGPACK, CloseCode
from replay.store.errors import StoreFull
from tests.control.samples import rtp_parameters
from tests.control.stage import Stage
from tests.scenario.signaling_bench import KEYS, signaling


@asynccontextmanager
async def house(**options):
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        await stage.settle()
        async with signaling(in_memory=True, control=stage.system, **options) as bench:
            yield stage, bench, nursery
        await stage.kill()


def wire(parameters: RtpParameters):
    return msgspec.to_builtins(parameters)


async def publish(client, kind="video"):
    transport = (await client.request("createTransport", {"direction": "send"}))["data"]
    data = {"transport": transport["id"], "kind": kind, "rtpParameters": wire(rtp_parameters(kind))}
    answer = await client.request("produce", data)
    assert answer["ok"], answer
    return transport, answer["data"]["id"]


async def test_a_viewer_is_told_of_a_host_in_both_subprotocols(autojump_clock):
    async with house() as (stage, bench, _):
        viewer, host = await bench.connect(JSON), await bench.connect(MSGPACK)
        await viewer.join("room", name="viewer")
        joined = await host.join("room", name="host")
        assert [peer["name"] for peer in joined["peers"]] == ["viewer"]
        transport, producer = await publish(host)
        ice = transport["iceParameters"]
        assert ice["password"] == KEYS.ice_password(ice["usernameFragment"])
        first, second = await viewer.next_told(), await viewer.next_told()
        assert (first["event"], first["data"]["peer"]["name"]) == ("peerJoined", "host")
        assert second["event"] == "producerAdded"
        assert second["data"]["producer"]["id"] == producer
        assert joined["position"] >= first["position"]
        assert (await host.request("leave"))["ok"]
        seen = [(await viewer.next_told())["event"] for _ in range(2)]
        assert sorted(seen) == ["peerLeft", "producerClosed"]
        stage.check_calm()
        written = await stage.log_of()
        assert not any(ice["password"].encode() in envelope.data for envelope in written)


async def test_a_client_sees_each_event_once_whenever_its_socket_breaks(autojump_clock):
    async with house() as (stage, bench, _):
        host = await bench.connect()
        await host.join("room")
        viewer = await bench.connect()
        joined = await viewer.join("room")
        _, producer = await publish(host)
        seen, position = [], joined["position"]
        for number in range(12):
            method = "resumeProducer" if number % 2 else "pauseProducer"
            if number % 3 == 1:
                await viewer.websocket.aclose()
                viewer = await bench.connect()
                await host.request(method, {"producer": producer})
                data = {"session": joined["session"], "position": position}
                assert (await viewer.request("resume", data))["ok"]
            else:
                await host.request(method, {"producer": producer})
            while len(seen) < number + 2:
                told = await viewer.next_told()
                assert told["position"] > position
                position = told["position"]
                seen.append(told["event"])
        assert seen == ["producerAdded", *["producerPaused", "producerResumed"] * 6]
        stage.check_calm()


async def test_a_session_outlives_the_control_process(autojump_clock):
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        async with signaling(in_memory=True, control=stage.system) as bench:
            client = await bench.connect()
            joined = await client.join("room")
        await stage.restart(nursery)
        async with signaling(in_memory=True, control=stage.system) as bench:
            other = await bench.connect()
            await other.join("room", name="other")
            client = await bench.connect()
            data = {"session": joined["session"], "position": joined["position"]}
            answer = await client.request("resume", data)
            assert answer["data"]["peer"] == joined["peer"]
            assert (await client.next_told())["data"]["peer"]["name"] == "other"
        await stage.kill()


async def test_a_peer_that_does_not_come_back_is_gone_after_the_grace_period(autojump_clock):
    async with house() as (stage, bench, _):
        grace_s = stage.settings.resume_grace_ns / 1e9
        stays, goes = await bench.connect(), await bench.connect()
        await stays.join("room")
        joined = await goes.join("room")
        assert (await stays.next_told())["event"] == "peerJoined"
        began_s = trio.current_time()
        await goes.websocket.aclose()
        told = await stays.receive(within_s=100)
        assert (told["event"], told["data"]["peer"]) == ("peerLeft", joined["peer"])
        assert grace_s <= trio.current_time() - began_s < grace_s + 1
        back = await bench.connect()
        data = {"session": joined["session"], "position": joined["position"]}
        answer = await back.request("resume", data)
        assert answer["error"]["code"] == "session_not_found"
        await back.join("room")


async def test_another_peers_things_are_not_ones_own(autojump_clock):
    async with house() as (_, bench, _nursery):
        host, thief = await bench.connect(), await bench.connect()
        await host.join("room")
        await thief.join("room")
        transport, producer = await publish(host)
        for method, data in (
            ("closeTransport", {"transport": transport["id"]}),
            ("restartIce", {"transport": transport["id"]}),
            ("pauseProducer", {"producer": producer}),
            ("closeProducer", {"producer": producer}),
        ):
            answer = await thief.request(method, data)
            assert not answer["ok"]
            assert answer["error"]["code"] in {"forbidden", f"{method[5:].lower()}_not_found"}
        assert (await host.request("pauseProducer", {"producer": producer}))["ok"]


async def test_a_full_disk_refuses_requests_and_the_server_stays(autojump_clock):
    async with house() as (stage, bench, _):
        client = await bench.connect()
        await client.join("room")
        stage.store.fail_next_append(StoreFull("the disk is full"))
        answer = await client.request("createTransport", {"direction": "recv"})
        assert answer["error"]["code"] == "storage_unavailable"
        assert (await client.request("createTransport", {"direction": "recv"}))["ok"]
        await (await bench.connect()).join("another")


async def test_rights_hold_in_the_room(autojump_clock):
    secret = Secret("a secret of at least thirty-two bytes")
    claims = tokens.Claims(room="room", publish=False)
    token = tokens.issue(secret, claims, now_s=time.time(), lifetime_s=60)
    async with house(secret=secret) as (_, bench, _nursery):
        client = await bench.connect()
        await client.join("room", token=token)
        answer = await client.request("createTransport", {"direction": "send"})
        if answer["ok"]:
            data = {
                "transport": answer["data"]["id"],
                "kind": "audio",
                "rtpParameters": wire(rtp_parameters("audio")),
            }
            answer = await client.request("produce", data)
        assert answer["error"]["code"] == "forbidden"


async def test_the_stop_of_the_house_reaches_every_client(autojump_clock):
    async with house() as (stage, bench, _):
        clients = [await bench.connect() for _ in range(5)]
        for number, client in enumerate(clients):
            await client.join(f"room-{number % 2}")
        bench.server.begin_stop()
        await stage.system.shut_down("server_stopped")
        await bench.server.stop()
        for client in clients:
            while (told := await client.next_told())["event"] != "roomClosed":
                pass
            assert told["data"]["reason"] == "server_stopped"
            assert (await client.wait_closed())[0] == CloseCode.GOING_AWAY
