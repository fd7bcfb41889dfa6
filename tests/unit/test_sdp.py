"""The load tester's SDP: what it offers, what it understands, and what it answers."""

from __future__ import annotations

import pytest

from load import sdp
from load.streams import VideoWish, audio_publication, video_publication, viewer_capabilities
from protocol.negotiation.router import router_capabilities

OURS = sdp.Credentials(ufrag="ours", pwd="our-password", fingerprint="AA:BB")
OFFER = """v=0
o=- 1 1 IN IP4 192.0.2.2
s=VideoRoom 1
t=0 0
a=group:BUNDLE 0 1
a=ice-lite
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 192.0.2.2
a=sendonly
a=mid:0
a=rtcp-mux
a=ice-ufrag:theirs
a=ice-pwd:their-password
a=fingerprint:sha-256 11:22
a=setup:actpass
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=extmap:12 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=ssrc-group:FID 111 222
a=ssrc:111 cname:x
a=ssrc:222 cname:x
a=candidate:1 1 udp 2015363327 fe80::1 25000 typ host
a=candidate:1 1 udp 2015363327 192.0.2.2 25001 typ host
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:1
a=rtpmap:111 opus/48000/2
a=ssrc:333 cname:x
"""


def test_an_offer_is_understood_line_ends_and_all() -> None:
    for text in (OFFER, OFFER.replace("\n", "\r\n")):
        offered = sdp.parse(text)
        assert offered.attribute("ice-ufrag") == "theirs"
        assert offered.attribute("fingerprint") == "sha-256 11:22"
        assert offered.candidate() == ("192.0.2.2", 25001)
        video, audio = map(sdp.receiver_arguments, offered.sections)
        assert (video["ssrc"], video["rtx_ssrc"], video["mime_type"]) == (111, 222, "video/VP8")
        assert (video["nack"], video["pli"], len(video["extensions"])) == (True, True, 1)
        assert (audio["ssrc"], audio["rtx_ssrc"], audio["clock_rate"]) == (333, None, 48_000)
        assert (audio["nack"], audio["pli"]) == (False, False)


def test_an_answer_takes_all_sections_and_begins_the_handshake() -> None:
    answered = sdp.parse(sdp.answer(sdp.parse(OFFER), OURS))
    assert [section.first("mid") for section in answered.sections] == ["0", "1"]
    assert all("recvonly" in section.lines for section in answered.sections)
    assert answered.attribute("setup") == "active"
    assert answered.attribute("ice-pwd") == "our-password"
    assert answered.sections[0].payload_types == (96, 97)


@pytest.mark.parametrize("simulcast", [False, True])
def test_what_we_offer_is_read_as_it_is_sent(simulcast: bool) -> None:
    router = router_capabilities()
    wish = VideoWish(codec="video/VP8", bitrate_bps=10**6, frame_rate=30, simulcast=simulcast)
    publications = [
        video_publication(router, wish, mid="0"),
        audio_publication(router, mid="1"),
    ]
    offered = sdp.parse(sdp.offer(publications, OURS))
    assert [section.kind for section in offered.sections] == ["video", "audio"]
    audio = sdp.receiver_arguments(offered.sections[1])
    assert audio["ssrc"] == publications[1].senders[0]["ssrc"]
    if not simulcast:
        video = sdp.receiver_arguments(offered.sections[0])
        assert video["ssrc"] == publications[0].senders[0]["ssrc"]
        assert video["rtx_ssrc"] == publications[0].senders[0]["rtx"][0]


@pytest.mark.parametrize(
    "text", ["", "v=0", "m=video", "m=video 9 X 96\na=rtpmap:96 VP8/90000", "m=audio 9 X 0"]
)
def test_what_lacks_something_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"without|malformed"):
        sdp.receiver_arguments(sdp.parse(text).sections[0])


def test_viewers_can_do_without_bandwidth_feedback() -> None:
    router = router_capabilities()
    for transport_cc in (True, False):
        taken = viewer_capabilities(router, transport_cc=transport_cc)
        uris = [one.uri for one in taken.header_extensions]
        feedback = {one.type for codec in taken.codecs for one in codec.rtcp_feedback}
        assert any("transport-wide" in uri for uri in uris) is transport_cc
        assert ("transport-cc" in feedback) is transport_cc
        assert "goog-remb" not in feedback
        assert {"nack", "ccm"} <= feedback
