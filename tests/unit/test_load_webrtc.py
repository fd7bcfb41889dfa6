"""The trio WebRTC client against a small server: connecting, media, feedback, network changes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from aiortc.codecs.h264 import H264Decoder, h264_depayload
from aiortc.codecs.vpx import Vp8Decoder, vp8_depayload
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
    wrap_rtx,
)

from load.media import CodecName, begins_keyframe, media_loop
from load.parameters import publisher_parameters, viewer_capabilities
from load.receiver import StreamReceiver
from load.sender import StreamSender
from load.webrtc import TransportFailed, WebRtcTransport
from media.dtls import DtlsRole
from protocol.negotiation import (
    ProducerNegotiation,
    consumer_parameters,
    negotiate_producer,
    router_capabilities,
)
from protocol.orders import Kind
from protocol.rtp_parameters import RtpParameters
from protocol.transport_parameters import IceParameters
from tests.unit.dtls_pair import contexts
from tests.unit.lite_peer import LitePeer

OTHER: dict[DtlsRole, DtlsRole] = {"client": "server", "server": "client"}
ROUTER = router_capabilities()


@asynccontextmanager
async def pair(role: DtlsRole = "client") -> AsyncIterator[tuple[WebRtcTransport, LitePeer]]:
    peer = await LitePeer.open(OTHER[role])
    transport = WebRtcTransport(peer.created(), role=role, context=contexts()[0])
    peer.connect(transport.dtls_parameters)
    with peer.socket:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            nursery.start_soon(transport.run)
            yield transport, peer
            nursery.cancel_scope.cancel()


def parameters(codec: CodecName = "video/VP8") -> RtpParameters:
    return publisher_parameters(ROUTER, codec, mid="v0")


def viewed(published: RtpParameters) -> RtpParameters:
    """What a viewer would be told of a producer, by the real negotiation."""
    kind: Kind = "audio" if published.codecs[0].mime_type.startswith("audio") else "video"
    negotiated = negotiate_producer(kind, published, ROUTER)
    assert isinstance(negotiated, ProducerNegotiation)
    told = consumer_parameters(
        negotiated.consumable_rtp_parameters,
        viewer_capabilities(ROUTER),
        ssrc=5001,
        rtx_ssrc=5002,
        mid="0",
        cname="cname",
    )
    assert isinstance(told, RtpParameters)
    return told


@pytest.mark.parametrize("role", ["client", "server"])
async def test_it_connects_in_either_dtls_role(role: DtlsRole) -> None:
    async with pair(role) as (transport, peer):
        await transport.wait_connected()
        assert transport.srtp is not None
        await peer.until(lambda: len(peer.checks) >= 2)
    first, second = peer.checks[:2]
    assert "USE-CANDIDATE" not in first.attributes
    assert "USE-CANDIDATE" in second.attributes
    assert all("ICE-CONTROLLING" in check.attributes for check in peer.checks)


async def test_a_wrong_ice_password_is_told_and_nothing_connects() -> None:
    async with pair() as (transport, peer):
        peer.credentials["ufrag1"] = "another-password-000000000"
        with pytest.raises(trio.TooSlowError):
            await transport.wait_connected(timeout_s=0.3)
        assert 401 in transport.ice_errors


async def test_a_wrong_fingerprint_fails() -> None:
    peer = await LitePeer.open()
    created = peer.created()
    other = contexts()[0]
    transport = WebRtcTransport(created, context=other)
    peer.context = other
    peer.connect(transport.dtls_parameters)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run)
        nursery.start_soon(transport.run)
        with pytest.raises(TransportFailed, match="fingerprint_mismatch"):
            await transport.wait_connected()
        nursery.cancel_scope.cancel()
    peer.socket.close()


async def test_close_says_goodbye() -> None:
    async with pair() as (transport, peer):
        await transport.wait_connected()
        await transport.close()
        dtls = peer.dtls
        assert dtls is not None
        await peer.until(lambda: dtls.state == "closed")
        with pytest.raises(TransportFailed):
            await transport.send_rtp(RtpPacket())


async def test_a_goodbye_of_the_server_closes_it() -> None:
    async with pair() as (transport, peer):
        await transport.wait_connected()
        await peer.until(lambda: peer.srtp is not None)
        await peer.close_dtls()
        with trio.fail_after(5):
            assert await transport.wait_ended() == "closed by the server"
        assert transport.state == "closed"


async def test_a_change_of_network_keeps_the_session() -> None:
    async with pair() as (transport, peer):
        await transport.wait_connected()
        before = transport.local_port
        await transport.rebind()
        await peer.until(lambda: len(peer.remotes) == 2)
        assert transport.local_port != before
        await peer.until(lambda: peer.srtp is not None)
        await transport.send_rtp(RtpPacket(ssrc=7, payload=b"after"))
        await peer.until(lambda: peer.rtp)
    assert peer.rtp[0].payload == b"after"


async def test_an_ice_restart_uses_the_new_credentials() -> None:
    async with pair() as (transport, peer):
        await transport.wait_connected()
        peer.credentials = {"ufrag2": "password-of-ufrag2-000000"}
        before = len(peer.checks)
        transport.restart_ice(
            IceParameters(username_fragment="ufrag2", password="password-of-ufrag2-000000")
        )
        await peer.until(lambda: len(peer.checks) >= before + 2)
        assert peer.checks[-1].attributes["USERNAME"].startswith("ufrag2:")
        assert transport.state == "connected"


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264", "audio/opus"])
async def test_what_it_sends_can_be_decoded(codec: CodecName) -> None:
    published = parameters(codec)
    async with pair() as (transport, peer), trio.open_nursery() as nursery:
        await transport.wait_connected()
        await peer.until(lambda: peer.srtp is not None)
        sender = StreamSender(transport, published, media_loop(codec))
        nursery.start_soon(sender.run)
        await peer.until(lambda: len({packet.timestamp for packet in peer.rtp}) > 8)
        nursery.cancel_scope.cancel()
    assert {packet.payload_type for packet in peer.rtp} == {published.codecs[0].payload_type}
    assert {packet.ssrc for packet in peer.rtp} == {sender.ssrc}
    numbers = [packet.sequence_number for packet in peer.rtp]
    assert [(b - a) & 0xFFFF for a, b in itertools.pairwise(numbers)] == [1] * (len(numbers) - 1)
    if codec == "audio/opus":
        return
    assert begins_keyframe(codec, peer.rtp[0].payload)
    depayload = vp8_depayload if codec == "video/VP8" else h264_depayload
    decoder = Vp8Decoder() if codec == "video/VP8" else H264Decoder()
    pictures = 0
    for timestamp in sorted({packet.timestamp for packet in peer.rtp})[:8]:
        payloads = [packet.payload for packet in peer.rtp if packet.timestamp == timestamp]
        data = b"".join(depayload(payload) for payload in payloads)
        pictures += len(decoder.decode(JitterFrame(data=data, timestamp=timestamp)))
    assert pictures >= 6


async def test_a_nack_is_answered_by_rtx_and_a_pli_or_fir_by_a_keyframe() -> None:
    published = parameters()
    async with pair() as (transport, peer), trio.open_nursery() as nursery:
        await transport.wait_connected()
        await peer.until(lambda: peer.srtp is not None)
        sender = StreamSender(transport, published, media_loop("video/VP8"))
        nursery.start_soon(sender.run)
        await peer.until(lambda: len(peer.rtp) > 4)
        lost = [packet.sequence_number for packet in peer.rtp[1:4]]
        nack = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=sender.ssrc, lost=lost)
        await peer.send_rtcp(RtcpRrPacket(ssrc=1), nack)
        rtx = published.encodings[0].rtx
        assert rtx is not None
        await peer.until(lambda: len([p for p in peer.rtp if p.ssrc == rtx.ssrc]) == 3)
        again = [packet for packet in peer.rtp if packet.ssrc == rtx.ssrc]
        assert [int.from_bytes(packet.payload[:2], "big") for packet in again] == lost
        assert {packet.payload_type for packet in again} == {published.codecs[1].payload_type}

        pli = RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender.ssrc)
        await peer.send_rtcp(RtcpRrPacket(ssrc=1), pli)
        await peer.until(lambda: sender.keyframes_sent == 2)
        fir = RtcpPsfbPacket(
            fmt=RTCP_PSFB_FIR,
            ssrc=1,
            media_ssrc=0,
            fci=sender.ssrc.to_bytes(4, "big") + b"\1\0\0\0",
        )
        await peer.send_rtcp(RtcpRrPacket(ssrc=1), fir)
        await peer.until(lambda: sender.keyframes_sent == 3)

        report = RtcpReceiverInfo(
            ssrc=sender.ssrc,
            fraction_lost=5,
            packets_lost=3,
            highest_sequence=9,
            jitter=0,
            lsr=0,
            dlsr=0,
        )
        await peer.send_rtcp(RtcpRrPacket(ssrc=1, reports=[report]))
        await peer.until(lambda: sender.reports == [report])
        await peer.until(lambda: any(isinstance(one, RtcpSrPacket) for one in peer.rtcp))
        await sender.say_bye()
        await peer.until(lambda: any(isinstance(one, RtcpByePacket) for one in peer.rtcp))
        nursery.cancel_scope.cancel()
    assert sender.nacks == 1
    assert sender.keyframe_requests == 2


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[StreamReceiver, LitePeer, RtpParameters]]:
    told = viewed(parameters())
    async with pair() as (transport, peer):
        await transport.wait_connected()
        await peer.until(lambda: peer.srtp is not None)
        yield StreamReceiver(transport, told), peer, told


def packet_of(told: RtpParameters, number: int, payload: bytes = b"x") -> RtpPacket:
    ssrc = told.encodings[0].ssrc
    assert ssrc is not None
    return RtpPacket(
        payload_type=told.codecs[0].payload_type,
        sequence_number=number & 0xFFFF,
        timestamp=(number * 3000) & 0xFFFFFFFF,
        ssrc=ssrc,
        payload=payload,
    )


async def test_a_receiver_counts_gaps_over_the_wrap_and_mends_them() -> None:
    async with receiving() as (receiver, peer, told):
        keyframe = media_loop("video/VP8").frames[0][0]
        for number in (65533, 65534, 65537, 65537, 65538):
            payload = keyframe if number == 65533 else b"\x90\x80\x01\x01"
            packet = packet_of(told, number, payload)
            await peer.send_rtp(packet)
        await receiver.wait_packets(4)
        assert receiver.missing == {65535, 65536}
        assert receiver.gaps == 2
        assert await receiver.send_nack() == [0, 0xFFFF]
        await peer.until(lambda: any(isinstance(one, RtcpRtpfbPacket) for one in peer.rtcp))
        (nack,) = [one for one in peer.rtcp if isinstance(one, RtcpRtpfbPacket)]
        assert (nack.media_ssrc, nack.lost) == (receiver.ssrc, [0, 0xFFFF])

        rtx_ssrc = told.encodings[0].rtx
        assert rtx_ssrc is not None
        mend = wrap_rtx(packet_of(told, 65535), told.codecs[1].payload_type, 1, rtx_ssrc.ssrc)
        await peer.send_rtp(mend)
        await receiver.wait_packets(5)
        assert receiver.missing == {65536}
        assert receiver.retransmissions == 1
        await receiver.send_report()
        await peer.until(lambda: any(getattr(one, "reports", None) for one in peer.rtcp))
        report = [one for one in peer.rtcp if isinstance(one, RtcpRrPacket) and one.reports][-1]
    assert report.reports[0].packets_lost == 1
    assert report.reports[0].highest_sequence == 65538
    assert (receiver.packets, receiver.keyframes, receiver.wrong_payload_type) == (5, 1, 0)


async def test_a_receiver_reports_echo_the_senders_clock_and_it_asks_for_keyframes() -> None:
    async with receiving() as (receiver, peer, told):
        info = RtcpSenderInfo(
            ntp_timestamp=0x0123456789ABCDEF, rtp_timestamp=1, packet_count=1, octet_count=1
        )
        await peer.send_rtcp(RtcpSrPacket(ssrc=receiver.ssrc, sender_info=info))
        await peer.send_rtp(packet_of(told, 5))
        await receiver.wait_packets(1)
        await receiver.send_report()
        await receiver.send_pli()
        await peer.until(lambda: any(isinstance(one, RtcpPsfbPacket) for one in peer.rtcp))
        reports = [one for one in peer.rtcp if isinstance(one, RtcpRrPacket) and one.reports]
        (pli,) = [one for one in peer.rtcp if isinstance(one, RtcpPsfbPacket)]
    assert reports[0].reports[0].lsr == 0x456789AB
    assert (pli.fmt, pli.media_ssrc) == (RTCP_PSFB_PLI, receiver.ssrc)


async def test_forged_and_malformed_packets_are_counted_and_dropped() -> None:
    async with receiving() as (receiver, peer, told):
        assert peer.srtp is not None
        sealed = peer.srtp.protect_rtp(packet_of(told, 9).serialize())
        await peer.send(sealed[:-1] + bytes([sealed[-1] ^ 1]))
        await peer.send(b"\x80" + bytes(40))
        await peer.send(b"\x00\x01junk")
        await peer.send(b"\xff")
        await peer.send(sealed)
        await peer.send(sealed)
        await peer.send_rtp(packet_of(told, 10))
        await receiver.wait_packets(2)
        assert receiver.packets == 2
        assert receiver._transport.srtp is not None
        assert receiver._transport.srtp.dropped == 3


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264", "audio/opus"])
def test_a_viewer_can_consume_what_a_publisher_says(codec: CodecName) -> None:
    told = viewed(parameters(codec))
    assert told.codecs[0].mime_type == codec
    assert told.codecs[0].payload_type != parameters(codec).codecs[0].payload_type
    assert (told.encodings[0].rtx is None) == (codec == "audio/opus")
