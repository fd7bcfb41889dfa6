"""getStats tells the plane's counters in W3C's words and units."""

import msgspec

from protocol.orders import Stats, StreamStats, TransportStats
from protocol.stats import report_of


def test_a_producer_is_told_as_one_inbound_rtp_entry_a_stream():
    stats = Stats(
        id="d_1",
        kind="producer",
        at_ns=2_500_000_000,
        streams=(
            StreamStats(ssrc=7, rid="q", packets=10, bytes=900, packets_lost=2, jitter_ms=1.5),
            StreamStats(ssrc=8, rid="h", payload_type=96, retransmitted_packets=3),
        ),
    )
    low, high = report_of(stats, kind="video", transport="t_1")
    assert (low["type"], low["kind"], low["transportId"]) == ("inbound-rtp", "video", "t_1")
    assert (low["ssrc"], low["rid"], low["timestamp"]) == (7, "q", 2500.0)
    assert (low["packetsReceived"], low["bytesReceived"], low["packetsLost"]) == (10, 900, 2)
    assert low["jitter"] == 0.0015
    assert "payloadType" not in low
    assert (high["payloadType"], high["retransmittedPacketsReceived"]) == (96, 3)
    assert low["id"] != high["id"]


def test_a_consumer_is_told_as_outbound_rtp_and_what_its_viewer_reports():
    stats = Stats(
        id="c_1",
        kind="consumer",
        at_ns=0,
        streams=(StreamStats(ssrc=9, packets=5, round_trip_time_ms=40.0, fraction_lost=0.25),),
    )
    sent, reported = report_of(stats)
    assert (sent["type"], sent["packetsSent"]) == ("outbound-rtp", 5)
    assert (reported["type"], reported["roundTripTime"]) == ("remote-inbound-rtp", 0.04)
    assert reported["fractionLost"] == 0.25
    assert sent["remoteId"] == reported["id"]
    assert reported["localId"] == sent["id"]
    assert "packetsLost" not in sent


def test_a_viewer_that_never_reported_has_no_round_trip_time():
    stats = Stats(id="c", kind="consumer", at_ns=0, streams=(StreamStats(ssrc=9),))
    assert "roundTripTime" not in report_of(stats)[1]


def test_a_transport_is_told_with_its_selected_pair_and_remote_candidate():
    counted = TransportStats(
        ice_state="connected",
        remote="[2001:db8::1]:5004",
        bytes_sent=3,
        stun_requests=2,
        drops={"srtp_replay": 1},
    )
    transport, pair, remote = report_of(
        Stats(id="t_1", kind="transport", at_ns=0, transport=counted)
    )
    assert (transport["iceState"], transport["bytesSent"]) == ("connected", 3)
    assert transport["packetsDropped"] == {"srtp_replay": 1}
    assert transport["selectedCandidatePairId"] == pair["id"]
    assert (pair["state"], pair["requestsReceived"]) == ("succeeded", 2)
    assert pair["remoteCandidateId"] == remote["id"]
    assert (remote["address"], remote["port"]) == ("2001:db8::1", 5004)


def test_a_transport_without_remote_has_no_pair():
    counted = TransportStats(ice_state="new", remote=None)
    (entry,) = report_of(Stats(id="t", kind="transport", at_ns=0, transport=counted))
    assert "selectedCandidatePairId" not in entry


def test_reports_travel_in_both_subprotocols():
    stats = Stats(id="c", kind="consumer", at_ns=1, streams=(StreamStats(ssrc=9),))
    report = list(report_of(stats, kind="audio"))
    assert msgspec.json.decode(msgspec.json.encode(report)) == report
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(report)) == report
