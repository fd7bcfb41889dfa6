"""A client's way through signaling: welcome, join, requests, leave, in both subprotocols."""

import pytest

from protocol.commands import Join, Leave, PauseProducer
from protocol.messages import SocketLost
from protocol.refusals import Refusal, RefusalCode
from protocol.signaling import JSON, MSGPACK, CloseCode
from tests.scenario.signaling_bench import KEYS, handshake, signaling


@pytest.mark.parametrize("subprotocol", [MSGPACK, JSON])
async def test_both_subprotocols_speak_the_same_words(subprotocol):
    async with signaling() as bench:
        client = await bench.connect(subprotocol)
        assert client.welcome["data"]["version"] == "1.2.3"
        assert client.welcome["data"]["limits"]["messageBytesMax"] == 262_144
        joined = await client.join("lobby", name="Ada")
        assert set(joined) == {
            "peer",
            "session",
            "routerRtpCapabilities",
            "peers",
            "producers",
            "peerCount",
            "streaming",
            "activeSpeaker",
            "position",
        }
        assert KEYS.session_of(joined["session"]) == ("lobby", joined["peer"])
        assert joined["position"] == 1
        made = await client.request("createTransport", {"direction": "send"})
        ice = made["data"]["iceParameters"]
        assert ice == {
            "usernameFragment": "ufrag",
            "password": KEYS.ice_password("ufrag"),
            "iceLite": True,
        }
        restarted = await client.request("restartIce", {"transport": "t_1"})
        assert restarted["data"]["iceParameters"]["password"] == KEYS.ice_password("other")
        assert (await client.request("leave"))["ok"]
        assert await client.wait_closed() == (CloseCode.NORMAL, "the peer left")


@pytest.mark.parametrize("offered", [[], ["chat"], ["reprise.v2.msgpack"]])
async def test_a_client_without_a_known_subprotocol_is_told_by_http(offered):
    async with signaling() as bench:
        status, body = await bench.rejected(handshake(*offered))
        assert status == 400
        assert "reprise.v1.msgpack and reprise.v1.json" in body


async def test_the_first_known_subprotocol_of_the_client_is_taken():
    async with signaling() as bench:
        client = await bench.connect(["chat", JSON, MSGPACK], welcome=False)
        assert client.websocket.subprotocol == JSON


async def test_requests_bear_peer_and_correlation():
    async with signaling() as bench:
        client = await bench.connect()
        peer = (await client.join())["peer"]
        await client.request("pauseProducer", {"producer": "d_1", "peer": "p_9"}, request_id=77)
        room, command, correlation = bench.control.requests[-1]
        assert (room, command) == ("lobby", PauseProducer(peer=peer, producer="d_1"))
        assert correlation == f"{peer}/77"
        assert isinstance(bench.control.requests[0][1], Join)


async def test_answers_may_overtake_each_other():
    async with signaling() as bench:
        client = await bench.connect()
        await client.join()
        bench.control.held.add("Produce")
        rtp = {"codecs": [{"mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000}]}
        produce = {"transport": "t_1", "kind": "audio", "rtpParameters": rtp}
        await client.send({"id": 50, "method": "produce", "data": produce})
        assert (await client.request("closeTransport", {"transport": "t_2"}))["ok"]
        bench.control.release()
        late = await client.next_answer()
        assert (late["id"], late["ok"]) == (50, True)


async def test_requests_reach_the_control_plane_in_the_order_of_their_frames():
    async with signaling() as bench:
        client = await bench.connect()
        await client.join()
        bench.control.held |= {"PauseProducer", "ResumeProducer"}
        for number in range(40):
            method = "pauseProducer" if number % 2 else "resumeProducer"
            await client.send({"id": number, "method": method, "data": {"producer": f"{number}"}})
        await bench.control.wait_until(lambda: len(bench.control.requests) == 41)
        asked = [int(command.producer) for _, command, _ in bench.control.requests[1:]]
        assert asked == list(range(40))


async def test_what_is_asked_behind_a_join_is_taken_in_order_once_it_is_answered():
    async with signaling() as bench:
        bench.control.held.add("Join")
        client = await bench.connect()
        await client.send({"id": 0, "method": "join", "data": {"room": "lobby"}})
        for number in range(1, 41):
            method = "pauseProducer" if number % 2 else "resumeProducer"
            await client.send({"id": number, "method": method, "data": {"producer": f"{number}"}})
        await client.send({"id": 7, "method": "leave"})
        twice = await client.next_answer()
        assert (twice["id"], twice["error"]["code"]) == (7, "duplicate_request_id")
        assert len(bench.control.requests) == 1, "nothing goes before the join"
        bench.control.release()
        answers = [await client.next_answer() for _ in range(41)]
        assert all(answer["ok"] for answer in answers)
        assert answers[0]["id"] == 0
        assert answers[0]["data"]["peer"] == "p_1"
        asked = [(command.peer, command.producer) for _, command, _ in bench.control.requests[1:]]
        assert asked == [("p_1", f"{number}") for number in range(1, 41)]


async def test_what_is_asked_behind_a_resume_is_taken_once_it_is_answered():
    async with signaling() as bench:
        first = await bench.connect()
        joined = await first.join()
        client = await bench.connect()
        resume = {"session": joined["session"], "position": joined["position"]}
        await client.send({"id": 1, "method": "resume", "data": resume})
        await client.send({"id": 2, "method": "createTransport", "data": {"direction": "recv"}})
        assert [(await client.next_answer())["id"] for _ in range(2)] == [1, 2]


async def test_what_is_asked_behind_a_refused_join_is_refused_and_the_next_join_counts():
    async with signaling() as bench:
        bench.control.held.add("Join")
        bench.control.refusals["Join"] = Refusal(RefusalCode.ROOM_NOT_FOUND, "no such room")
        client = await bench.connect()
        await client.send({"id": 1, "method": "join", "data": {"room": "lobby", "create": False}})
        await client.send({"id": 2, "method": "createTransport", "data": {"direction": "recv"}})
        await client.send({"id": 3, "method": "createTransport"})
        await bench.control.wait_until(lambda: bench.control.requests)
        bench.control.release()
        refused = [await client.next_answer() for _ in range(3)]
        assert [(answer["id"], answer["error"]["code"]) for answer in refused] == [
            (1, "room_not_found"),
            (2, "not_joined"),
            (3, "not_joined"),
        ]
        assert len(bench.control.requests) == 1
        del bench.control.refusals["Join"]
        await client.join()


async def test_so_many_requests_wait_behind_a_join_as_may_wait_for_an_answer():
    async with signaling(limits={"requests_pending_max": 3}) as bench:
        bench.control.held.add("Join")
        client = await bench.connect()
        for number in range(1, 5):
            method = "join" if number == 1 else "createTransport"
            data = {"room": "lobby", "direction": "recv"}
            await client.send({"id": number, "method": method, "data": data})
        refused = await client.next_answer()
        assert (refused["id"], refused["error"]["code"]) == (4, "too_many_requests_pending")
        bench.control.release()
        assert [(await client.next_answer())["id"] for _ in range(3)] == [1, 2, 3]


async def test_a_peer_that_left_is_not_reported_as_lost():
    async with signaling() as bench:
        client = await bench.connect()
        await client.join()
        await client.request("leave")
        await client.wait_closed()
        watcher = await bench.connect()
        await watcher.join()
        await watcher.websocket.aclose()
        await bench.control.wait_until(lambda: bench.control.posted)
        assert isinstance(bench.control.requests[1][1], Leave)
        assert [message.peer for _, message in bench.control.posted] == ["p_3"]


async def test_a_lost_socket_is_reported_with_its_attachment():
    async with signaling() as bench:
        client = await bench.connect()
        peer = (await client.join())["peer"]
        await client.websocket.aclose()
        await bench.control.wait_until(lambda: bench.control.posted)
        assert bench.control.posted == [("lobby", SocketLost(peer=peer, attachment=1))]
        assert not bench.control.feeds["lobby"].subscribers


async def test_a_socket_lost_while_its_join_is_under_way_leaves_no_peer_behind():
    async with signaling() as bench:
        bench.control.held.add("Join")
        client = await bench.connect()
        await client.send({"id": 1, "method": "join", "data": {"room": "lobby"}})
        await bench.control.wait_until(lambda: bench.control.requests)
        await client.websocket.aclose()
        await bench.connect()  # the server has gone on
        bench.control.release()
        await bench.control.wait_until(lambda: bench.control.posted)
        assert bench.control.posted == [("lobby", SocketLost(peer="p_1", attachment=1))]


async def test_a_peer_that_was_removed_is_answered_and_closed():
    async with signaling() as bench:
        client = await bench.connect()
        await client.join()
        refusal = Refusal(RefusalCode.SESSION_NOT_FOUND, "there is no such peer")
        bench.control.refusals["CloseTransport"] = refusal
        answer = await client.request("closeTransport", {"transport": "t_1"})
        assert answer["error"] == {"code": "session_not_found", "message": "there is no such peer"}
        assert (await client.wait_closed())[0] == CloseCode.EVICTED
        assert bench.control.posted == []


async def test_a_peer_that_is_evicted_is_told_and_closed():
    async with signaling() as bench:
        client = await bench.connect()
        peer = (await client.join())["peer"]
        bench.control.feeds["lobby"].publish("peerLeft", {"peer": "p_other", "reason": "requested"})
        bench.control.feeds["lobby"].publish("peerLeft", {"peer": peer, "reason": "evicted"})
        assert (await client.next_told())["data"]["peer"] == "p_other"
        assert (await client.next_told())["data"] == {"peer": peer, "reason": "evicted"}
        assert (await client.wait_closed())[0] == CloseCode.EVICTED
        await (await bench.connect()).join()
        assert bench.control.posted == []


async def test_a_fault_of_ours_is_answered_and_the_session_goes_on():
    async with signaling() as bench:
        client = await bench.connect()
        await client.join()
        bench.control.broken.add("CloseTransport")
        answer = await client.request("closeTransport", {"transport": "t_1"})
        assert answer["error"]["code"] == "internal_error"
        assert "broken on purpose" not in answer["error"]["message"]
        assert (await client.request("restartIce", {"transport": "t_1"}))["ok"]


async def test_a_faulty_join_is_answered_and_may_be_tried_again():
    async with signaling() as bench:
        client = await bench.connect()
        bench.control.broken.add("Join")
        answer = await client.request("join", {"room": "lobby"})
        assert answer["error"]["code"] == "internal_error"
        bench.control.broken.clear()
        await client.join()


async def test_the_room_that_closes_is_told_and_then_the_socket_closes():
    async with signaling() as bench:
        client = await bench.connect()
        await client.join()
        bench.control.feeds["lobby"].publish("roomClosed", {"reason": "empty"})
        told = await client.next_told()
        assert (told["event"], told["data"]) == ("roomClosed", {"reason": "empty"})
        assert await client.wait_closed() == (CloseCode.NORMAL, "the room closed")


async def test_when_the_server_stops_clients_are_told_and_closed_with_going_away():
    async with signaling() as bench:
        in_room = await bench.connect()
        await in_room.join()
        outside = await bench.connect(JSON)
        bench.server.begin_stop()
        bench.control.feeds["lobby"].publish("roomClosed", {"reason": "server_stopped"})
        told = await in_room.next_told()
        assert told["data"]["reason"] == "server_stopped"
        assert (await in_room.wait_closed())[0] == CloseCode.GOING_AWAY
        await bench.server.stop()
        assert (await outside.wait_closed())[0] == CloseCode.GOING_AWAY
        assert bench.server.sockets == 0
